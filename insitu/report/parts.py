"""What a page says of one run: all of it text, pictures and markup, nothing left to compute."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insitu import figures
from insitu.report import drawn, facts, origin, pictures, tracked
from insitu.report.numbers import counted, said
from insitu.report.trust import trust

if TYPE_CHECKING:
    from insitu.figures import Drawn, Strip
    from insitu.report.material import Material
    from insitu.report.numbers import Number
    from insitu.report.origin import Changed
    from insitu.report.pictures import Picture
    from insitu.report.tracked import Track
    from insitu.report.trust import Line

FIGURES = "figures"
_NAMES = (
    "counts",
    "distributions",
    "event_gallery",
    "events",
    "growth",
    "kinetics",
    "kymograph",
    "msd",
    "number_balance",
    "pair_correlation",
    "sensors",
    "survival",
    "track_map",
)
_WIDE_INCHES = 5.0
_HALVES = ("pair_correlation", "msd", "track_map", "events")


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure in a page."""

    title: str
    caption: str
    files: str
    layout: str  # half (two beside each other), narrow, or wide
    svg: Any  # markup that is not to be escaped again


@dataclass(frozen=True, slots=True)
class Part:
    """What a page says of one run; all of it text, pictures and markup, nothing left to compute."""

    key: str
    name: str
    meta: str
    sentence: str
    numbers: list[Number]
    trust: list[Line]
    verdict: list[str]
    stills: list[Picture]
    figures: list[Shown]
    strips: list[tuple[Strip, list[Picture]]]
    tracks: list[Track]
    changed: list[Changed] | str
    versions: list[tuple[str, str]]
    command: str
    statistics: str
    script: str
    absent: list[tuple[str, str]]
    caveats: list[str]
    no_stills: str = ""
    no_source: str = ""
    no_strips: str = ""
    no_tracks: str = ""
    strips_left_out: int = 0


def part_of(material: Material, *, folder: Path | None = None, key: str = "run", brief: bool = False) -> Part:
    """Return what a page says of a run; a brief one has two frames, no figures and no gallery.

    Figures are written into `folder`, by default ``figures/`` of the run.
    """
    strips = [] if brief else pictures.strips(material)
    drawings, absent = ([], []) if brief else drawn.draw(material)
    folder = folder or material.run.path / FIGURES
    if strips:  # a file for a paper; the page shows the same events one by one
        figures.save(figures.gallery(strips), folder)
    if not brief:
        _forget(folder, {d.name for d in drawings} | ({"event_gallery"} if strips else set()))
    summary = material.summary
    sentence = (summary.get("verdict") or {}).get("sentence") if isinstance(summary.get("verdict"), dict) else None
    absent += [(str(a.get("what", "")), str(a.get("why", ""))) for a in summary.get("not_computed") or []]
    if "coarsening" in material.missing and not brief:
        absent.insert(0, ("coarsening statistics", material.missing["coarsening"]))
    return Part(
        key=key,
        name=clean(material.run.path.name),
        meta=_meta(material),
        sentence=facts.sentence(material),
        numbers=facts.numbers(material),
        trust=trust(material),
        verdict=[str(sentence)] if sentence else [],
        stills=pictures.stills(material, 2 if brief else pictures.STILLS),
        figures=[shown(d, folder) for d in drawings],
        strips=[(strip, pictures.panels(strip)) for strip in strips],
        tracks=[] if brief else tracked.longest(material),
        changed=origin.changed(material),
        versions=origin.versions(material),
        command=clean(origin.command(material)),
        statistics=clean(origin.statistics_command(material)),
        script=clean(origin.script(material)),
        absent=absent,
        caveats=[str(c) for c in summary.get("caveats") or []],
        no_stills=_no_stills(material),
        no_source=material.missing.get("source", ""),
        no_strips=_no_strips(material),
        no_tracks=material.missing.get("tracks", "No particle was followed."),
    )


def shown(made: Drawn, folder: Path) -> Shown:
    """Write a figure and return it as a page shows it."""
    from markupsafe import Markup

    svg = figures.save(made, folder)
    wide = made.figure.get_figwidth() > _WIDE_INCHES
    layout = "half" if made.name in _HALVES else "wide" if wide else "narrow"
    stem = f"{clean(folder.name)}/{made.name}"
    # what matplotlib wrote is markup: it escapes the texts that are in it
    markup = Markup(figures.inline(svg, made.name, made.alt))  # noqa: S704 - made here, not taken from a file
    return Shown(made.title, made.caption, f"{stem}.svg, .png, .csv", layout, markup)


def _forget(folder: Path, drawn_now: set[str]) -> None:
    """Remove figures of an earlier report that were not drawn again: they would show what is no longer so."""
    for name in set(_NAMES) - drawn_now:
        for suffix in (".svg", ".png", ".csv"):
            (folder / f"{name}{suffix}").unlink(missing_ok=True)


def _meta(material: Material) -> str:
    source, counts = material.about["source"], material.run.counts
    total = sum(counts[k] for k in ("ok", "bad", "missing"))
    finished = str(material.about.get("finished") or "")[:16].replace("T", " ")
    parts = [
        clean(Path(str(source["path"]).partition("::")[0]).name),
        str(source["format"]),
        f"{said(source['width'])} × {said(source['height'])} px",
        counted(total, "frame"),
        f"analysed {finished} UTC" if finished else "not finished",
    ]
    return " · ".join(p for p in parts if p)


def _no_stills(material: Material) -> str:
    if "labels" in material.missing:
        return f"No frame can be shown: {material.missing['labels']}."
    if len(material.used):
        return "No frame can be shown yet: label images are written some frames behind the tables."
    return "No frame could be used, so there is none to show."


def _no_strips(material: Material) -> str:
    if "labels" in material.missing:
        return f"Events cannot be shown: {material.missing['labels']}."
    return "No merger, split, dissolution or nucleation was seen."


def clean(text: str) -> str:
    """Return a name as UTF-8 can hold it: file names of other encodings have bytes that are no text."""
    return text.encode("utf-8", "replace").decode()
