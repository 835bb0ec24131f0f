"""``report.html``: one file that loads nothing, made from one run or several."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insitu import __version__, figures
from insitu.errors import CommandError, ResourceError
from insitu.report import drawn, facts, origin, pictures, tracked
from insitu.report.glossary import GLOSSARY
from insitu.report.material import Material, gather
from insitu.report.numbers import counted, said
from insitu.report.trust import trust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from insitu.figures import Drawn, Strip
    from insitu.report.numbers import Number
    from insitu.report.origin import Changed
    from insitu.report.pictures import Picture
    from insitu.report.tracked import Track
    from insitu.report.trust import Line

REPORT, FIGURES = "report.html", "figures"
LARGEST_BYTES = 3_000_000
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
_HALVES = ("pair_correlation", "msd")
_GENERATOR = '<meta name="generator" content="insitu '
_SECTIONS = (
    ("trust", "trust"),
    ("stills", "frames"),
    ("figures", "figures"),
    ("events", "events"),
    ("tracks", "tracks"),
    ("origin", "where it comes from"),
    ("glossary", "words"),
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure in a page."""

    title: str
    caption: str
    files: str
    half: bool  # narrow enough for two beside each other
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


@dataclass(frozen=True, slots=True)
class Content:
    """A page before it is written."""

    title: str
    parts: list[Part]
    comparison: Shown | None = None
    no_comparison: str = ""
    labels: list[str] = field(default_factory=list)


def write_report(run: str | Path, out: Path | None = None, *, source: str | Path | None = None) -> Path:
    """Write the report of one run, and its figures into ``figures/`` of the run folder.

    Parameters
    ----------
    run : path
        The run folder.
    out : Path, optional
        Where to write; ``report.html`` in the run folder by default.
    source : path, optional
        Where the movie is now, if it was moved.

    Raises
    ------
    InputError
        `run` is no run, or `source` cannot be read.
    CommandError
        `out` exists and is no report.
    """
    material = gather(run, source)
    try:
        path = out or material.run.path / REPORT
        _check_place(path)
        part = part_of(material)
        return _write(path, Content(f"{part.name}", [part]))
    finally:
        if material.reader is not None:
            material.reader.close()


def write_comparison(runs: Sequence[str | Path], out: Path) -> Path:
    """Write one page that lays several runs side by side, with their figure beside it in ``NAME_figures/``.

    Raises
    ------
    InputError
        One of `runs` is no run.
    CommandError
        `out` exists and is no report.
    """
    _check_place(out)
    parts, lines, units = [], [], set()
    for k, run in enumerate(runs):
        material = gather(run)
        try:
            parts.append(part_of(material, key=f"run-{k + 1}", brief=True))
            units.add(material.units)
            if len(material.used) > 1 and len(material.rows):
                lines.append((f"{k + 1} · {parts[-1].name}", drawn.frame_columns(material)))
        finally:
            if material.reader is not None:
                material.reader.close()
    shown, why = None, ""
    if len(units) > 1:
        why = "The runs cannot be drawn together: some are calibrated and others are not."
    elif not lines:
        why = "No run has two frames with particles, so there is nothing to draw."
    else:
        shown = _shown(figures.compared(lines, units.pop()), out.with_name(f"{out.stem}_figures"), out.parent)
    labels = list(dict.fromkeys(n.label for part in parts for n in part.numbers))
    return _write(out, Content(_joined([p.name for p in parts]), parts, shown, why, labels))


def part_of(material: Material, *, key: str = "run", brief: bool = False) -> Part:
    """Return what a page says of a run; a brief one has one frame, no figures and no gallery."""
    strips = [] if brief else pictures.strips(material)
    drawings, absent = ([], []) if brief else drawn.draw(material)
    folder = material.run.path / FIGURES
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
        name=_clean(material.run.path.name),
        meta=_meta(material),
        sentence=facts.sentence(material),
        numbers=facts.numbers(material),
        trust=trust(material),
        verdict=[str(sentence)] if sentence else [],
        stills=pictures.stills(material, 1 if brief else pictures.STILLS),
        figures=[_shown(d, folder, material.run.path) for d in drawings],
        strips=[(strip, pictures.panels(strip)) for strip in strips],
        tracks=[] if brief else tracked.longest(material),
        changed=origin.changed(material),
        versions=origin.versions(material),
        command=_clean(origin.command(material)),
        statistics=_clean(origin.statistics_command(material)),
        script=_clean(origin.script(material)),
        absent=absent,
        caveats=[str(c) for c in summary.get("caveats") or []],
        no_stills=_no_stills(material),
        no_source=material.missing.get("source", ""),
        no_strips=_no_strips(material),
        no_tracks=material.missing.get("tracks", "No particle was followed."),
    )


def render(content: Content) -> str:
    """Return the page as HTML; every text is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("insitu.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    several = len(content.parts) > 1
    sections = [("together", "together"), *((p.key, p.name) for p in content.parts), ("glossary", "words")]
    return environment.get_template("page.html").render(
        title=content.title,
        runs=content.parts,
        comparison=content.comparison,
        no_comparison=content.no_comparison,
        labels=content.labels,
        sections=sections if several else _SECTIONS,
        glossary=GLOSSARY,
        style=_style(),
        version=__version__,
        today=f"{datetime.now(UTC):%Y-%m-%d}",
    )


def fitted(content: Content, limit: int = LARGEST_BYTES) -> str:
    """Return a page of at most `limit` bytes: events, then frames, are left out from the end until it fits."""
    page = render(content)
    while len(page.encode()) > limit:
        parts = [_smaller(part) for part in content.parts]
        if parts == content.parts:
            break
        content = replace(content, parts=parts)
        page = render(content)
    return page


def _smaller(part: Part) -> Part:
    if len(part.strips) > 1:
        return replace(part, strips=part.strips[:-1], strips_left_out=part.strips_left_out + 1)
    if len(part.stills) > 1:
        return replace(part, stills=part.stills[:-1])
    biggest = max(part.figures, key=lambda f: len(f.svg), default=None)
    if biggest is None:
        return part
    kept = [f for f in part.figures if f is not biggest]
    return replace(part, figures=kept, absent=[*part.absent, (biggest.title, "too large for this page; see figures/")])


def _write(path: Path, content: Content) -> Path:
    page = fitted(content)
    partial = path.with_name(f".{path.name}.tmp")
    try:
        partial.write_text(page, encoding="utf-8", errors="replace")
        partial.replace(path)
    except OSError as error:
        raise ResourceError(f"cannot write '{path}': {error.strerror}", "choose another place with -o") from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def _check_place(path: Path) -> None:
    """Refuse a place that has something else than a report, or cannot be written."""
    if not path.parent.is_dir():
        raise CommandError(f"there is no folder '{path.parent}'", "make it first, or choose another place with -o")
    if path.is_dir():
        raise CommandError(f"'{path}' is a folder", f"give a file: -o {path / REPORT}")
    if path.exists() and _GENERATOR not in path.read_bytes()[:2000].decode(errors="replace"):
        raise CommandError(f"'{path}' exists and is no report of insitu", "choose another name with -o")


def _shown(made: Drawn, folder: Path, beside: Path) -> Shown:
    """Write a figure and return it as a page shows it."""
    from markupsafe import Markup

    svg = figures.save(made, folder)
    stem = (folder / made.name).relative_to(beside).as_posix()
    # what matplotlib wrote is markup: it escapes the texts that are in it
    markup = Markup(figures.inline(svg, made.name, made.alt))  # noqa: S704 - made here, not taken from a file
    return Shown(made.title, made.caption, f"{stem}.svg, .png, .csv", made.name in _HALVES, markup)


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
        _clean(Path(str(source["path"]).partition("::")[0]).name),
        str(source["format"]),
        f"{said(source['width'])} × {said(source['height'])} px",
        counted(total, "frame"),
        f"analysed {finished} UTC" if finished else "not finished",
    ]
    return " · ".join(p for p in parts if p)


def _no_stills(material: Material) -> str:
    if "labels" in material.missing:
        return f"No frame can be shown: {material.missing['labels']}."
    return "No frame could be used, so there is none to show."


def _no_strips(material: Material) -> str:
    if "labels" in material.missing:
        return f"Events cannot be shown: {material.missing['labels']}."
    return "No merger, split, dissolution or nucleation was seen."


def _joined(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return " · ".join(names[:most]) + more


def _clean(text: str) -> str:
    """Return a name as UTF-8 can hold it: file names of other encodings have bytes that are no text."""
    return text.encode("utf-8", "replace").decode()


def _style() -> str:
    from markupsafe import Markup

    text = (resources.files("insitu.report") / "page.css").read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - the package's own file
