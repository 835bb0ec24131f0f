"""What a run would read, do and write: for ``--dry-run``, and as the first line of every run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insitu.cli.console import counted, size
from insitu.errors import CommandError

if TYPE_CHECKING:
    from insitu.cli.parameters import FrameRange
    from insitu.cli.sources import Target
    from insitu.settings import Settings
    from insitu.types import SourceInfo

# Measured on simulated movies at 40 e⁻/px: a row of the tables, the noisy outline of a particle in compressed labels, a
# label plane without any; and how densely particles usually lie, which nobody knows before.
_BYTES_PER_ROW = 130
_BYTES_PER_OUTLINE = 110
_BYTES_PER_PX = 0.001
_PX_PER_PARTICLE = 8000


def expected(target: Target, settings: Settings, frames: FrameRange | None, *, device: bool = True) -> dict[str, Any]:
    """Return what a run of `target` would do, as plain values; nothing is written.

    Parameters
    ----------
    target : Target
    settings : Settings
    frames : tuple, optional
        (start, stop or None, step).
    device : bool
        Resolve the device, which imports torch.

    Raises
    ------
    InputError, CalibrationError
        As the run itself would.
    """
    from insitu.read import calibrated, open_source

    reader = open_source(target.source)
    try:
        info = reader.info
    finally:
        reader.close()
    calibration = calibrated(info, settings.calibration.nm_per_px, settings.calibration.fps)
    count = _selected(info.n_frames, frames)
    return {
        "source": target.source,
        "out": str(target.out.resolve()),
        "format": info.format,
        "frames": count,
        "source_frames": info.n_frames,
        "height": info.height,
        "width": info.width,
        "dtype": str(info.dtype),
        "nm_per_px": calibration.nm_per_px,
        "nm_source": calibration.nm_source,
        "s_per_frame": calibration.s_per_frame,
        "s_source": calibration.s_source,
        "notes": _notes(info, calibration.nm_per_px),
        "settings": {k: {"value": v, "origin": settings.origin(k)} for k, v in settings.changed().items()},
        "device": _device(settings) if device else settings.segment.device,
        "expected_bytes": _bytes(info, count, settings),
        "free_bytes": free_bytes(target.out),
    }


def rehearse(plan: dict[str, Any], settings: Settings) -> None:
    """Do what else a run would do before its first frame, so that it would not be refused after this preview.

    Raises
    ------
    CommandError
        No frame is selected, the crop does not lie in the frame, or there is no such model.
    InputError
        The weights cannot be read.
    """
    from insitu import models
    from insitu.engine import region

    if plan["frames"] == 0:
        message = f"no frames to analyse: '{plan['source']}' has {plan['source_frames']}"
        raise CommandError(message, "choose frames that exist: --frames START:STOP:STEP")
    _, _, height, width = region((plan["height"], plan["width"]), settings.prepare.crop)
    model = models.load(settings.segment.model, plan["device"])
    plan["notes"] += models.remarks(model, (height // settings.prepare.bin, width // settings.prepare.bin))


def in_words(plan: dict[str, Any]) -> str:
    """Return a plan as text, one fact a line."""
    from insitu.settings.catalogue import to_toml

    changed = [f"{k} = {to_toml(v['value'])}  ({v['origin']})" for k, v in plan["settings"].items()]
    about = "unknown" if plan["expected_bytes"] is None else f"about {size(plan['expected_bytes'])}"
    rows = [
        ("movie", plan["source"]),
        ("format", plan["format"]),
        ("frames", _frames_in_words(plan)),
        ("frame", f"{plan['height']}×{plan['width']} px, {plan['dtype']}"),
        ("pixel size", pixel_in_words(plan)),
        ("frame time", time_in_words(plan)),
        *(("note", note) for note in plan["notes"]),
        *(("setting", line) for line in changed or ["all as base"]),
        ("device", plan["device"]),
        ("would write", f"{plan['out']}  ({about}; {size(plan['free_bytes'])} free)"),
    ]
    return "\n".join(f"{name:<12} {text}" for name, text in rows)


def in_one_line(plan: dict[str, Any]) -> str:
    """Return the movie of a plan as one line."""
    frame = f"{plan['height']}×{plan['width']} {plan['dtype']}"
    pixel, time = pixel_in_words(plan), time_in_words(plan)
    calibration = [
        f"{what} {text}" if text.startswith("unknown") else text
        for what, text in (("pixel size", pixel), ("frame time", time))
    ]
    return " · ".join([plan["source"], plan["format"], _frames_in_words(plan), frame, *calibration])


def pixel_in_words(facts: dict[str, Any]) -> str:
    """Return the pixel size and where it came from."""
    if facts["nm_per_px"] is None:
        return str(facts["nm_source"])
    return f"{facts['nm_per_px']:.6g} nm/px ({facts['nm_source']})"


def time_in_words(facts: dict[str, Any]) -> str:
    """Return the time from frame to frame and where it came from."""
    step = facts["s_per_frame"]
    if step is None:
        return str(facts["s_source"])
    return f"{step:.6g} s/frame ({facts['s_source']})"


def free_bytes(place: Path) -> int:
    """Return the free space of the disk on which `place` lies or would lie."""
    here = Path(place).resolve()
    while not here.exists():
        here = here.parent
    return shutil.disk_usage(here).free


def _notes(info: SourceInfo, nm_per_px: float | None) -> list[str]:
    """Return the sentences a user must see before a run."""
    from insitu.read.calibration import unusual

    notes = list(info.notes)
    if nm_per_px is None:
        notes.append("no pixel size is known: results are in px only; add --nm-per-px to get nm")
    elif remark := unusual(nm_per_px):
        notes.append(remark)
    return notes


def _frames_in_words(plan: dict[str, Any]) -> str:
    if plan["frames"] is None:
        return "unknown number of frames"
    if plan["frames"] != plan["source_frames"]:
        return f"{plan['frames']} of {plan['source_frames']} frames"
    return counted(plan["frames"], "frame")


def _selected(n_frames: int | None, frames: FrameRange | None) -> int | None:
    start, stop, step = frames or (0, None, 1)
    end = n_frames if stop is None else stop if n_frames is None else min(stop, n_frames)
    return None if end is None else len(range(start, end, step))


def _bytes(info: SourceInfo, count: int | None, settings: Settings) -> int | None:
    """Return about how much a run writes: right within a factor of three for usual movies."""
    if count is None:
        return None
    area = info.height * info.width
    particles = area / _PX_PER_PARTICLE
    labels = _BYTES_PER_OUTLINE * particles + _BYTES_PER_PX * area if settings.store.labels else 0.0
    return round(count * (labels + _BYTES_PER_ROW * particles))


def _device(settings: Settings) -> str:
    from insitu.segment import resolve_device

    return resolve_device(settings.segment.device)
