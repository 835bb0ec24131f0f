"""Label images of a movie without a hand, beside the frames they belong to: to learn from, or to correct.

What is written is what `insitu train --images OUT/images --labels OUT/labels` takes.
"""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from insitu.errors import CommandError, InputError, ResourceError
from insitu.intake import Intake, Selection
from insitu.pseudolabels import BLUR_PX, LEAST_SIDE_PX, OPENING_PX, pseudo_mask

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from insitu.types import Calibration, Frame, Reader

IMAGES, LABELS, ABOUT = "images", "labels", "labels.json"
OURS = (IMAGES, LABELS, ABOUT)
_REFERENCE_FRAMES = 8
# Where more than this is particle, it is more likely that support and particle were taken for one another.
_MOST_COVERED = 0.5


@dataclass(frozen=True, slots=True)
class LabelOptions:
    """How pseudo-labels are made.

    Attributes
    ----------
    polarity : {"auto", "dark", "bright"}
        Particles darker or brighter than the support; auto: as a run would judge from the first frames.
    blur_px : float
        Width of the Gaussian.
    min_area_px : int
        Smaller pieces are left out.
    split : bool
        Cut particles apart that touch (`insitu.runs.split`).
    """

    polarity: Literal["auto", "dark", "bright"] = "auto"
    blur_px: float = BLUR_PX
    min_area_px: int = 20
    split: bool = False


@dataclass(slots=True)
class Labelled:
    """What was labelled: how many particles each frame has, which frames could not be used, what a user must know."""

    polarity: str
    particles: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    unusable: dict[int, str] = field(default_factory=dict)
    covered: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def label_movie(
    reader: Reader,
    out: Path,
    options: LabelOptions,
    selection: Selection,
    *,
    calibration: Calibration,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Labelled:
    """Write frames and their pseudo-labels.

    Parameters
    ----------
    reader : Reader
    out : Path
        Gets ``images/frame_000000.tif`` (counts as they are), ``labels/frame_000000.tif`` (uint16: 0, and 1…n for the
        particles in raster order) and ``labels.json``, which says which frame of the source each of them is.
    options : LabelOptions
    selection : Selection
        Which frames.
    calibration : Calibration
        Its pixel size is written into the images.
    overwrite : bool
        Replace labels made before; nothing else is ever removed.
    progress : callable, optional
        Called with the number of frames done.

    Raises
    ------
    CommandError
        No frame is selected, frames are too small, or `out` is in use.
    InputError
        No frame could be used.
    ResourceError
        The disk is full.
    """
    total = _planes(reader, selection)
    intake = Intake(reader, calibration, selection)
    done = Labelled(_polarity(intake, options, total))
    make_room(out, overwrite=overwrite)
    with closing(intake.batches(0, total)) as batches:
        for batch, _ in batches:
            for frame in batch.frames:
                _label(frame, out, options, calibration, done)
                if progress:
                    progress(len(done.frames) + len(done.unusable))
    if not done.frames:
        reason = next(iter(done.unusable.values()), "there is none")
        raise InputError(f"no frame of '{reader.info.path}' can be used: {reason}", "look at it with `insitu info`")
    _judge(done)
    about = {"source": reader.info.path, "options": asdict(options), "opening_px": OPENING_PX, **asdict(done)}
    (out / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
    return done


def _planes(reader: Reader, selection: Selection) -> int | None:
    """Return how many frames are selected, or refuse what cannot be labelled."""
    total = selection.planes(reader.info.n_frames)
    if total == 0:
        message = f"no frames to label: '{reader.info.path}' has {reader.info.n_frames}"
        raise CommandError(message, "choose frames that exist: --frames START:STOP:STEP")
    if min(reader.info.shape) < LEAST_SIDE_PX:
        height, width = reader.info.shape
        message = (
            f"frames of {height}×{width} px in '{reader.info.path}' are smaller than the disc they are opened with"
        )
        raise CommandError(message, f"give frames of at least {LEAST_SIDE_PX}×{LEAST_SIDE_PX} px")
    return total


def labels_of(image: NDArray[Any], options: LabelOptions, polarity: Literal["dark", "bright"]) -> NDArray[np.uint16]:
    """Return the label image (H, W) of one frame: 0 outside, 1…n in raster order, at most 65 535 (the largest)."""
    from insitu.measure import measure
    from insitu.options import MeasureOptions
    from insitu.runs import components, find_runs, paint

    mask = pseudo_mask(image, polarity=polarity, blur_px=options.blur_px)
    measuring = MeasureOptions(
        min_area_px=options.min_area_px, perimeter=False, split="watershed" if options.split else "none"
    )
    return np.asarray(paint(measure(components(find_runs(mask)), measuring).runs), np.uint16)


def make_room(out: Path, *, overwrite: bool) -> None:
    """Make the folder, or empty it of labels made before.

    Raises
    ------
    CommandError
        It holds something else, or labels and `overwrite` is false.
    """
    if out.exists():
        if not out.is_dir():
            raise CommandError(f"'{out}' is not a folder", "choose another name with -o OTHER")
        held = {p.name for p in out.iterdir()}
        if held - set(OURS):
            strange = min(held - set(OURS))
            raise CommandError(f"'{out}' exists and holds '{strange}'", "choose another folder with -o OTHER")
        if held and not overwrite:
            raise CommandError(f"'{out}' exists and holds labels", "--overwrite to replace them, or -o OTHER")
        for name in (IMAGES, LABELS):
            shutil.rmtree(out / name, ignore_errors=True)
        (out / ABOUT).unlink(missing_ok=True)
    try:
        for name in (IMAGES, LABELS):
            (out / name).mkdir(parents=True)
    except OSError as error:
        raise CommandError(
            f"cannot make the folder '{out}': {error.strerror}", "choose another with -o OTHER"
        ) from error


def _polarity(intake: Intake, options: LabelOptions, total: int | None) -> Literal["dark", "bright"]:
    if options.polarity != "auto":
        return options.polarity
    from insitu.options import PrepareOptions
    from insitu.prepare import reference

    return reference(intake.reference(_REFERENCE_FRAMES, total), PrepareOptions(), "auto").polarity


def _label(frame: Frame, out: Path, options: LabelOptions, calibration: Calibration, done: Labelled) -> None:
    """Write one frame and its labels, or the reason why it has none."""
    if frame.image is None:
        done.unusable[frame.index] = frame.detail or ", ".join(frame.flags)
        return
    labels = labels_of(frame.image, options, "bright" if done.polarity == "bright" else "dark")
    # counted without gaps: a reader of a folder takes a number that is not there for a frame that is missing
    name = f"frame_{len(done.frames):06d}.tif"
    try:
        _write(out / IMAGES / name, frame.image, calibration)
        _write(out / LABELS / name, labels, calibration)
    except OSError as error:
        raise ResourceError(
            f"cannot write '{out / name}': {error.strerror or error}", "free some space, or choose another disk with -o"
        ) from error
    done.frames.append(frame.index)
    done.particles.append(int(labels.max()))
    done.covered.append(float(np.count_nonzero(labels) / labels.size))


def _write(path: Path, image: NDArray[Any], calibration: Calibration) -> None:
    """Write one image, as ImageJ has it where it knows the dtype: with its pixel size where that is known."""
    import tifffile

    known = image.dtype in (np.uint8, np.uint16, np.float32)
    more: dict[str, Any] = {"imagej": True, "metadata": {"axes": "YX"}} if known else {}
    if known and calibration.nm_per_px:
        per_um = 1e3 / calibration.nm_per_px
        more |= {"resolution": (per_um, per_um), "metadata": {"axes": "YX", "unit": "um"}}
    tifffile.imwrite(path, image, photometric="minisblack", **more)


def _judge(done: Labelled) -> None:
    """Note what is likely to be wrong with the labels."""
    empty = [frame for frame, n in zip(done.frames, done.particles, strict=True) if n == 0]
    if empty:
        done.notes.append(f"{len(empty)} of {len(done.frames)} frames have no particle, the first is frame {empty[0]}")
    if np.median(done.covered) > _MOST_COVERED:
        other = "dark" if done.polarity == "bright" else "bright"
        done.notes.append(
            f"particles cover {100 * np.median(done.covered):.0f} % of the frames: if the support was taken for them, "
            f"give --polarity {other}"
        )


def spread(n_frames: int | None, number: int) -> Selection:
    """Return a selection of about `number` frames, evenly spread over a movie; the first ones where it has no end."""
    if n_frames is None:
        return Selection(0, number)
    step = max(1, n_frames // number)
    return Selection(0, min(n_frames, step * number), step)


def in_words(done: Labelled) -> str:
    """Return the outcome in one line."""
    few = sorted(done.particles)
    middle = few[len(few) // 2]
    unusable = f" · {len(done.unusable)} could not be used" if done.unusable else ""
    return (
        f"{len(done.frames)} frames · {sum(done.particles)} particles, {middle} in the middle frame · "
        f"{100 * float(np.mean(done.covered)):.1f} % covered · {done.polarity} particles{unusable}"
    )
