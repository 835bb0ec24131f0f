"""Normalised frames → the row runs of each frame's mask, with their sums of counts and probability.

The model sees one frame at a time on a CPU, where a batch gains nothing, and a batch of fixed shape on a GPU (the tail
is padded by repeating its last frame), so that a mask depends neither on how a movie was split nor on its neighbours.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import CommandError
from insitu.models.batching import halved, largest_batch
from insitu.models.inputs import seen
from insitu.pixels import compiled
from insitu.types import Segmented

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from numpy.typing import NDArray

    from insitu.options import SegmentOptions
    from insitu.types import Model, Prepared, Runs

# Probabilities are summed as integers round(65535 p): no order of summation can change them.
PROBABILITY_STEPS = 65_535
_OWN = threading.local()
PREVIEW = "preview: outlines are coarse, not for sizes"


def resolve_device(name: str) -> str:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into a device that exists.

    Raises
    ------
    CommandError
        The name is none of these, or the GPU is not there.
    """
    import torch

    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return name
    kind, _, number = name.partition(":")
    if kind != "cuda" or (number and not number.isdecimal()) or name.endswith(":"):
        raise CommandError(f"no device '{name}'", "choose auto, cpu, cuda or cuda:N")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= found:
        raise CommandError(f"device '{name}' is not there: {found} GPUs are usable", "use --device auto or cpu")
    return f"cuda:{int(number or 0)}"


def resolve_precision(name: str, device: str, model: Model) -> str:
    """Return the arithmetic that a model computes in: ``"float32"`` or ``"bfloat16"``.

    ``auto`` is bfloat16 for a network where the processor multiplies in it (masks differ from float32's by less than
    2e-4 of the pixels, see docs/performance.md), and float32 for everything else: a method without weights measures
    noise in steps that bfloat16 does not have.
    """
    if name != "auto":
        return name
    if not getattr(model, "reduced", False):
        return "float32"
    return "bfloat16" if not device.startswith("cpu") or cpu_has_bfloat16() else "float32"


@cache
def cpu_has_bfloat16() -> bool:
    """Whether this processor has instructions for products of bfloat16 (AVX-512 BF16, AMX, Arm BF16)."""
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split())
    except OSError:
        return False
    return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})


def segment(prepared: Prepared, model: Model, options: SegmentOptions) -> list[Segmented]:
    """Find the particles' pixels in a batch of frames.

    Parameters
    ----------
    prepared : Prepared
        ``input`` (B, H, W) float32 on the model's device.
    model : Model
    options : SegmentOptions
        `threshold` none = the model's own; `batch` is the network's batch shape on a GPU. A model whose `sees` is
        ``"counts"`` is shown the raw counts, averaged over a bin, in place of normalised frames.

    Returns
    -------
    list of Segmented
        One per frame: unlabelled runs with sums of counts and of ``round(65535 p)``. Where the model has a `seed`,
        only pieces with a pixel above it are kept.
    """
    import torch

    threshold = options.threshold if options.threshold is not None else float(getattr(model, "threshold", 0.5))
    seed = float(getattr(model, "seed", 0.0))
    images = seen(prepared, str(getattr(model, "sees", "prepared")))
    found: list[Segmented] = []
    precision = resolve_precision(options.precision, images.device.type, model)
    with torch.inference_mode(), _arithmetic(images.device.type, precision):
        step = largest_batch(model, _batch_shape(images.device.type, options))
        flags: tuple[str, ...] = ()
        while len(found) < len(images):
            chunk = images[len(found) : len(found) + step]
            try:
                coarse = _blocks(_padded_batch(chunk, step), options.preview)
                probability = _full(probabilities(model, coarse), options.preview, images.shape[-2:])[: len(chunk)]
            except torch.OutOfMemoryError:
                step = halved(model, step)
                flags = (f"memory ran out: {step} frames at a time from here on",)
                continue
            counts = prepared.counts[len(found) : len(found) + len(chunk)]
            new = _runs(probability, counts, threshold, seed, prepared)
            new[0], flags = replace(new[0], flags=flags), ()
            found += new
    return found if options.preview == 1 else [replace(one, flags=(*one.flags, PREVIEW)) for one in found]


def _batch_shape(device: str, options: SegmentOptions) -> int:
    """Return the frames of a network call: one on a CPU, where more gain nothing."""
    return 1 if device == "cpu" else options.batch


def _blocks(images: torch.Tensor, side: int) -> torch.Tensor:
    """Average over side×side px, those at the far borders over what is there."""
    from torch.nn import functional

    if side == 1:
        return images
    return functional.avg_pool2d(images.unsqueeze(1), side, ceil_mode=True, count_include_pad=False).squeeze(1)


def _full(probability: torch.Tensor, side: int, shape: torch.Size) -> torch.Tensor:
    """Interpolate between the blocks' centres back to all pixels."""
    from torch.nn import functional

    if side == 1:
        return probability
    wide = functional.interpolate(probability.unsqueeze(1), scale_factor=side, mode="bilinear", align_corners=False)
    return wide.squeeze(1)[:, : shape[0], : shape[1]]


@contextmanager
def own_stream(device: str) -> Iterator[None]:
    """On a GPU, queue the block's work on a stream of this thread: uploads and kernels of two lanes overlap."""
    if not device.startswith("cuda"):
        yield
        return
    import torch

    stream = getattr(_OWN, "stream", None)
    if stream is None:
        stream = _OWN.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    with torch.cuda.device(device), torch.cuda.stream(stream):
        yield
        stream.synchronize()


def _padded_batch(images: torch.Tensor, size: int) -> torch.Tensor:
    """Repeat the last frame until the batch has the one shape the kernels were chosen for."""
    import torch

    short = size - len(images)
    return images if short <= 0 else torch.cat([images, images[-1:].expand(short, *images.shape[1:])])


def probabilities(model: Model, images: torch.Tensor) -> torch.Tensor:
    """Call the model on frames padded (borders repeated) to the multiple of px it needs; (B, H, W) float32 in 0…1."""
    from torch.nn import functional

    height, width = images.shape[-2:]
    multiple = int(getattr(model, "multiple", 1))
    down, right = -height % multiple, -width % multiple
    if down or right:
        images = functional.pad(images.unsqueeze(1), (0, right, 0, down), mode="replicate").squeeze(1)
    probability: torch.Tensor = model.probabilities(images)[:, :height, :width].float()
    return probability


def _runs(
    probability: torch.Tensor,
    counts: Any,  # noqa: ANN401 - array or tensor
    threshold: float,
    seed: float,
    prepared: Prepared,
) -> list[Segmented]:
    """Cut at the threshold and extract the runs where the probabilities are."""
    import torch

    from insitu.runs import find_runs, find_runs_torch

    if probability.device.type == "cpu" and compiled():
        return [
            Segmented(_runs_on_cpu(one.numpy(), raw, threshold, seed, prepared), threshold)
            for one, raw in zip(probability, counts, strict=True)
        ]
    probability = torch.nan_to_num(probability, nan=0.0)
    masks = probability > threshold
    sure = probability > max(seed, threshold)
    quantised = (probability * PROBABILITY_STEPS).round().to(torch.int32)
    if probability.device.type != "cpu":
        runs = find_runs_torch(masks, counts, quantised, origin=prepared.origin, bin=prepared.bin)
    else:
        steps = quantised.numpy().astype(np.uint16)
        runs = [
            find_runs(mask.numpy(), raw, step, origin=prepared.origin, bin=prepared.bin)
            for mask, raw, step in zip(masks, counts, steps, strict=True)
        ]
    if seed > threshold:
        runs = [_seeded(r, s.cpu().numpy()) for r, s in zip(runs, sure, strict=True)]
    return [Segmented(runs=r, threshold=threshold) for r in runs]


def _runs_on_cpu(
    probability: NDArray[np.float32], counts: NDArray[Any], threshold: float, seed: float, prepared: Prepared
) -> Runs:
    """Do what `_runs` does for one frame in one pass over its pixels and one over its runs."""
    from insitu.pixels import masks
    from insitu.runs import components, find_runs

    image = np.ascontiguousarray(probability)
    runs = find_runs(masks.above(image, np.float32(threshold)), counts, origin=prepared.origin, bin=prepared.bin)
    total, most = masks.over_runs(runs.row, runs.start, runs.stop, image, np.float32(PROBABILITY_STEPS))
    runs = replace(runs, probability_sum=total)
    if seed <= threshold or not len(runs):
        return runs
    labelled = components(runs)
    keep = np.zeros(labelled.n_labels, np.bool_)
    keep[labelled.label[most > np.float32(seed)] - 1] = True
    return _kept(labelled, keep)


def _seeded(runs: Runs, mask: NDArray[np.bool_]) -> Runs:
    """Keep the 8-connected pieces that reach into `mask`, the pixels of high probability (hysteresis); unlabelled.

    A faint border that hovers about the threshold falls into splinters; none of them is a particle by itself.
    """
    from insitu.runs import components, find_runs, overlaps

    labelled = components(runs)
    if not labelled.n_labels:
        return runs
    sure = components(find_runs(mask, origin=runs.origin, bin=runs.bin))
    keep = np.zeros(labelled.n_labels, np.bool_)
    if sure.n_labels:
        keep[overlaps(labelled, sure)[0] - 1] = True
    return _kept(labelled, keep)


def _kept(labelled: Runs, keep: NDArray[np.bool_]) -> Runs:
    """Return the runs of the components that are kept, unlabelled again."""
    from insitu.runs import select

    kept = select(labelled, keep)
    return replace(kept, label=np.zeros(len(kept), np.int32), n_labels=0)


@contextmanager
def _arithmetic(device: str, precision: str) -> Iterator[None]:
    """Deterministic kernels and the chosen precision for this block only; nothing global is left changed."""
    import torch

    cudnn = torch.backends.cudnn.flags(
        enabled=True,
        benchmark=False,
        deterministic=True,
        allow_tf32=False,
    )
    with cudnn, torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        yield
