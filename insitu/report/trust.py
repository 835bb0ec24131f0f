"""The box that says how far a run can be trusted: every line with what it rests on, the worst first."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from insitu.report.numbers import counted, known, percent, said

if TYPE_CHECKING:
    from insitu.report.material import Material

PROBLEM, LOOK, FINE = "problem", "look", "fine"
_ORDER = (PROBLEM, LOOK, FINE)
# nm/px that an electron micrograph has as a rule; s/frame of any camera
_USUAL_NM = (0.005, 5.0)
_MANY_LOST, _MANY_EDGE, _MANY_COMPOSITE, _FAR_DRIFT, _UNSURE, _SHORT = 0.02, 0.3, 0.05, 0.1, 0.5, 3
_SHOWN_PROBLEMS = 3


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the box: how it stands (`problem`, `look`, `fine`), what it is about, and what is so."""

    state: str
    about: str
    text: str


def trust(material: Material) -> list[Line]:
    """Return the lines of the trust box, problems first."""
    found = [
        *_run(material),
        *_calibration(material),
        *_frames(material),
        *_edges(material),
        *_drift(material),
        *_tracking(material),
        *_source(material),
    ]
    return sorted(found, key=lambda line: _ORDER.index(line.state))


# a run may be finished while this page is made of what was safe before
_STATES = {
    "finished": "was still being written",
    "interrupted": "was interrupted",
    "being written": "is still being written",
    "stopped without an end": "stopped without an end (its engine was killed; --resume goes on)",
}


def _run(material: Material) -> list[Line]:
    if material.run.finished:
        return []
    state = _STATES[material.run.state]
    safe = counted(sum(material.run.counts[k] for k in ("ok", "bad", "missing")), "frame")
    return [Line(LOOK, "run", f"The run {state}: this page covers the {safe} that are safe, and tracks are not final.")]


def _calibration(material: Material) -> list[Line]:
    known_of = material.run.calibration
    lines = []
    if known_of.nm_per_px is None:
        lines.append(Line(PROBLEM, "pixel size", "Unknown: every length on this page is in px. Give --nm-per-px."))
    else:
        value = f"{said(known_of.nm_per_px, 'nm/px')}, from {known_of.nm_source}"
        usual = _USUAL_NM[0] <= known_of.nm_per_px <= _USUAL_NM[1]
        doubt = "" if usual else "; unusual for an electron micrograph"
        lines.append(Line(FINE if usual else LOOK, "pixel size", f"{value}{doubt}."))
    if known_of.s_per_frame is None:
        lines.append(Line(PROBLEM, "frame time", "Unknown: time is counted in frames. Give --fps."))
    else:
        lines.append(Line(FINE, "frame time", f"{said(known_of.s_per_frame, 's/frame')}, from {known_of.s_source}."))
    if material.recalibrated:
        text = "The coarsening statistics were made with another pixel size or frame time than the run: they differ."
        lines.append(Line(LOOK, "statistics", text))
    return lines


def _frames(material: Material) -> list[Line]:
    counts = material.run.counts
    total = counts["ok"] + counts["bad"] + counts["missing"]
    if not total:
        return [Line(PROBLEM, "frames", "The run has no frame.")]
    if counts["ok"] == total:
        return [Line(FINE, "frames", f"All {said(total)} could be used.")]
    lost = counts["bad"] + counts["missing"]
    state = PROBLEM if not counts["ok"] else LOOK
    text = (
        f"{said(counts['ok'])} of {said(total)} could be used; {said(counts['bad'])} were unusable and "
        f"{said(counts['missing'])} missing ({percent(lost / total)}). {_reasons(material)}"
    )
    return [Line(state, "frames", text.strip())]


def _reasons(material: Material) -> str:
    bad = material.frames[material.frames["status"] == "bad"]
    if not len(bad):
        return ""
    flags = bad["flags"].explode().dropna().value_counts().head(_SHOWN_PROBLEMS)
    return f"Why: {', '.join(f'{reason} ({n})' for reason, n in flags.items())}." if len(flags) else ""


def _edges(material: Material) -> list[Line]:
    rows = material.rows
    if not len(rows):
        return [Line(PROBLEM, "particles", "No particle was found, so there are no sizes, tracks or events to report.")]
    edge, composite = float(rows["touches_edge"].mean()), float(rows["composite"].mean())
    state = PROBLEM if edge == 1 else LOOK if edge > _MANY_EDGE else FINE
    text = f"{percent(edge)} of the outlines touch the edge of the picture; they are tracked but not in any size."
    if edge == 0:
        text = "No outline touches the edge of the picture."
    lines = [Line(state, "edge", "All outlines touch the edge: no size can be given." if edge == 1 else text)]
    if composite > 0:
        state = LOOK if composite > _MANY_COMPOSITE else FINE
        text = f"{percent(composite)} of the outlines hold several particles in contact; left out of sizes."
        lines.append(Line(state, "contact", text[:1].upper() + text[1:]))
    small = material.used["n_small"].sum()
    share = float(small) / max(1.0, float(small) + float(material.used["n_particles"].sum()))
    if share > _MANY_COMPOSITE:
        text = f"{percent(share)} of what was segmented is below the smallest area that is measured, and left out."
        lines.append(Line(LOOK, "small", text))
    return lines


def _drift(material: Material) -> list[Line]:
    used, unit = material.used, material.units.length
    if len(used) <= 1:
        return []
    path = used[["drift_y_px", "drift_x_px"]].to_numpy(np.float64)
    farthest = float(np.hypot(*path.T).max())
    if not known(farthest):
        return []
    if farthest == 0:
        return [Line(FINE, "drift", "The picture did not drift.")]
    share = farthest / min(material.about["geometry"]["region"])
    text = f"The stage moved by up to {said(farthest * material.per_px, unit)} ({percent(share)} of the field)."
    return [Line(LOOK if share > _FAR_DRIFT else FINE, "drift", text)]


def _tracking(material: Material) -> list[Line]:
    tracks, events = material.tracks, material.events
    lines = []
    if len(tracks):
        brief = float((tracks["length"] <= _SHORT).mean())
        lost = events["kind"].isin(["lost", "appearance"]) & ~events["touches_edge"]
        state = LOOK if brief > 0.2 or int(lost.sum()) > _MANY_LOST * max(50, len(material.used)) else FINE
        text = (
            f"{counted(len(tracks), 'track')}; {percent(brief)} last {_SHORT} frames or fewer; "
            f"{counted(int(lost.sum()), 'appearance or loss', 'appearances or losses')} away from the edge "
            "without a cause that was seen."
        )
        lines.append(Line(state, "tracking", text))
    telling = events[events["kind"].isin(["coalescence", "splitting", "dissolution", "nucleation"])]
    if len(telling):
        unsure = int((telling["confidence"] < _UNSURE).sum())
        text = f"{said(unsure)} of {counted(len(telling), 'event')} with a confidence below {_UNSURE}."
        lines.append(Line(LOOK if unsure > len(telling) / 2 else FINE, "events", text))
    return lines


def _source(material: Material) -> list[Line]:
    source = material.about["source"]
    lines = [Line(LOOK, "source", f"{note[:1].upper()}{note[1:].rstrip('.')}.") for note in source.get("notes") or []]
    if source.get("lossy"):
        lines.append(Line(LOOK, "source", "The movie is compressed with loss: small particles and edges suffer first."))
    path = material.run.path / "problems.jsonl"
    if path.is_file():
        told = [_problem(text) for text in path.read_text(encoding="utf-8").splitlines()]
        told = [t for t in told if t]
        if told:
            more = f" and {len(told) - _SHOWN_PROBLEMS} more" if len(told) > _SHOWN_PROBLEMS else ""
            lines.append(Line(LOOK, "log", f"problems.jsonl: {'; '.join(told[:_SHOWN_PROBLEMS])}{more}."))
    return lines


def _problem(line: str) -> str:
    try:
        told = json.loads(line)
    except ValueError:
        return ""
    message = " ".join(str(told.get(key) or "") for key in ("where", "what")).strip()
    return f"frame {told['frame']}: {message}" if known(told.get("frame")) else message
