"""A run on one card, as HTML for notebooks: what it is, how it is calibrated, what happened, and a picture.

`card` is a pure function of plain values, which `facts_of` gathers from a run. It takes its colours from the page, so
that it suits light and dark ones, loads nothing, and stays below 50 kB whatever the run.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from insitu.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from insitu.results import Run

_POINTS = 120  # of a line: more cannot be told apart
_SIDE = 200  # px of the picture, at most
_WIDTH, _HEIGHT = 180, 40
# Okabe and Ito without black and dark blue
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167))


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A quantity over the frames: NaN where a frame has none."""

    name: str
    unit: str
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What a card says.

    Attributes
    ----------
    name, state : str
    rows : mapping
        Short facts, name → text.
    events : mapping
        Kind → number.
    lines : sequence of Line
    particles : int array (H, W), optional
        Label image of one frame with a number ≥ 0 for each particle and −1 elsewhere.
    caption : str
        What the picture shows.
    """

    name: str
    state: str
    rows: Mapping[str, str]
    events: Mapping[str, int]
    lines: Sequence[Line] = ()
    particles: NDArray[np.int64] | None = None
    caption: str = ""


def facts_of(run: Run) -> Facts:
    """Gather what the card of a run says."""
    info, known, counts = run.info, run.calibration, run.counts
    size = "mean_equivalent_diameter_" + ("px" if known.nm_per_px is None else "nm")
    columns = run.frames.to_arrow(("frame", "status", "n_particles", size))
    ok = np.array([s == "ok" for s in columns["status"].to_pylist()], bool)
    lines = [
        Line(name, unit, np.where(ok, columns[column].to_numpy().astype(np.float64), np.nan))
        for name, unit, column in (("mean diameter", size[-2:], size), ("particles", "", "n_particles"))
    ]
    plane = _last_plane(run, ok)
    frame = None if plane is None else int(columns["frame"][plane].as_py())
    source = info["source"]
    return Facts(
        name=run.path.name,
        state="finished" if run.finished else f"not finished ({run.state}): what is safe so far",
        rows={
            "movie": str(source["path"]).rsplit("/", 1)[-1],
            "frames": f"{counts['ok']} used, {counts['bad']} bad, {counts['missing']} missing",
            "frame size": f"{source['height']} × {source['width']} px",
            "pixel size": _known(known.nm_per_px, "nm", known.nm_source),
            "frame time": _known(known.s_per_frame, "s", known.s_source),
            "particle rows": f"{counts['particles']:,}".replace(",", " "),
            **({"tracks": f"{len(run.tracks):,}".replace(",", " ")} if run.finished else {}),
        },
        events=_counted(run),
        lines=lines,
        particles=None if plane is None else run.labels_by_particle()[plane],
        caption="" if frame is None else f"particles of frame {frame}",
    )


def _known(value: float | None, unit: str, source: str) -> str:
    return "unknown" if value is None else f"{value:.6g} {unit} ({source})"


def _counted(run: Run) -> dict[str, int]:
    """Return how many events of each kind there are, in the order in which kinds appear."""
    found: dict[str, int] = {}
    for batch in run.events.batches(["kind"]):
        for kind in batch["kind"].to_pylist():
            found[kind] = found.get(kind, 0) + 1
    return found


def _last_plane(run: Run, ok: NDArray[np.bool_]) -> int | None:
    """Return the last plane that is ok and has a label image; None where there is none."""
    try:
        stored = int(run.labels.shape[0])
    except InputError:
        return None
    planes = np.flatnonzero(ok[:stored])
    return int(planes[-1]) if len(planes) else None


def card(facts: Facts) -> str:
    """Return the card as one HTML element."""
    muted = "opacity:.7"
    rows = "".join(
        f'<tr><td style="{muted};padding:1px 10px 1px 0;text-align:left">{escape(name)}</td>'
        f'<td style="padding:1px 0;text-align:left">{escape(text)}</td></tr>'
        for name, text in facts.rows.items()
    )
    events = " · ".join(f"{number} {escape(kind)}" for kind, number in facts.events.items()) or "none"
    lines = "".join(_sparkline(line) for line in facts.lines)
    picture = "" if facts.particles is None else _picture(facts.particles, facts.caption)
    return (
        '<div style="display:inline-flex;flex-wrap:wrap;gap:18px;padding:12px 14px;font-size:13px;line-height:1.45;'
        'border:1px solid rgba(127,127,127,.45);border-radius:6px;max-width:100%">'
        f'<div><div style="font-weight:600;font-size:15px">{escape(facts.name)}</div>'
        f'<div style="{muted}">{escape(facts.state)}</div>'
        f'<table style="font-size:inherit;color:inherit;border-collapse:collapse;margin:6px 0 0;background:none">{rows}'
        f'<tr><td style="{muted};padding:1px 10px 1px 0;text-align:left">events</td>'
        f'<td style="text-align:left;padding:1px 0">{events}</td></tr></table></div>'
        f"<div>{lines}</div>{picture}</div>"
    )


def _sparkline(line: Line) -> str:
    values = thinned(line.values)
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return ""
    low, high = float(values[known].min()), float(values[known].max())
    span = high - low or 1.0
    x = known / max(1, len(values) - 1) * (_WIDTH - 4) + 2
    y = _HEIGHT - 4 - (values[known] - low) / span * (_HEIGHT - 8)
    # a line does not run over frames that have no value
    pieces = np.split(np.arange(len(known)), np.flatnonzero(np.diff(known) > 1) + 1)
    path = "".join("M" + "L".join(f"{x[i]:.1f} {y[i]:.1f}" for i in [*piece, piece[-1]]) for piece in pieces)
    said = f"{line.name}: {_short(values[known][0])} → {_short(values[known][-1])} {line.unit}".rstrip()
    return (
        f'<div style="margin-bottom:6px"><div style="opacity:.7">{escape(said)}</div>'
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f"<title>{escape(said)}; from {_short(low)} to {_short(high)}</title>"
        f'<path d="{path}" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round"/></svg></div>'
    )


def thinned(values: NDArray[np.float64], most: int = _POINTS) -> NDArray[np.float64]:
    """Return at most `most` means of equal stretches, NaN where a stretch has no value."""
    values = np.asarray(values, np.float64)
    if len(values) <= most:
        return values
    edges = np.linspace(0, len(values), most + 1).astype(np.int64)
    known = np.isfinite(values)
    sums = np.add.reduceat(np.where(known, values, 0.0), edges[:-1])
    counts = np.add.reduceat(known.astype(np.int64), edges[:-1])
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _short(value: float) -> str:
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e6 else f"{value:.3g}"


def _picture(particles: NDArray[np.int64], caption: str) -> str:
    """Return particles in colour on nothing, as an inline PNG."""
    from PIL import Image

    step = max(1, -(-max(particles.shape) // _SIDE))
    small = particles[::step, ::step]
    painted = np.zeros((*small.shape, 4), np.uint8)
    colours = np.array([(*c, 255) for c in _COLOURS], np.uint8)
    painted[small >= 0] = colours[small[small >= 0] % len(colours)]
    packed = io.BytesIO()
    Image.fromarray(painted).quantize(len(colours) + 1).save(packed, "PNG", optimize=True)
    data = base64.b64encode(packed.getvalue()).decode("ascii")
    return (
        f'<div><img alt="{escape(caption)}" src="data:image/png;base64,{data}" '
        f'style="max-width:{_SIDE}px;border:1px solid rgba(127,127,127,.45)">'
        f'<div style="opacity:.7">{escape(caption)}</div></div>'
    )
