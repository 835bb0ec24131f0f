"""``report.html``: one file that loads nothing, made from one run or several."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from insitu import __version__
from insitu.errors import CommandError, ResourceError
from insitu.report import drawn
from insitu.report.glossary import GLOSSARY
from insitu.report.material import gather
from insitu.report.parts import Part, Shown, clean, part_of, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

REPORT = "report.html"
LARGEST_BYTES = 3_000_000
_TOO_LARGE = "Frames are left out: the page would be too large."
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
        Where to write, with figures beside it in ``NAME_figures/``; ``report.html`` in the run folder by default.
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
        part = part_of(material, folder=None if out is None else figures_of(path))
        return _write(path, Content(part.name, [part]))
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
    parts, beside = [], []
    for k, run in enumerate(runs):
        material = gather(run)
        try:
            parts.append(part_of(material, key=f"run-{k + 1}", brief=True))
            beside.append((f"{k + 1} · {parts[-1].name}", material))
        finally:
            if material.reader is not None:
                material.reader.close()
    made = drawn.together(beside)
    comparison, why = (None, made) if isinstance(made, str) else (shown(made, figures_of(out)), "")
    parts = _apart(parts, runs)
    labels = list(dict.fromkeys(n.label for part in parts for n in part.numbers))
    return _write(out, Content(_joined([p.name for p in parts]), parts, comparison, why, labels))


def figures_of(page: Path) -> Path:
    """Return the folder of the figures of a page that does not lie in a run folder."""
    return page.with_name(f"{page.stem}_figures")


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
        return replace(part, stills=[], no_stills=_TOO_LARGE)
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


def _apart(parts: list[Part], runs: Sequence[str | Path]) -> list[Part]:
    """Name runs whose folders have the same name after the folder that each lies in, too."""
    names = [part.name for part in parts]
    places = [clean(f"{Path(run).absolute().parent.name}/{part.name}") for part, run in zip(parts, runs, strict=True)]
    return [replace(p, name=n) if names.count(p.name) > 1 else p for p, n in zip(parts, places, strict=True)]


def _joined(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return " · ".join(names[:most]) + more


def _style() -> str:
    from markupsafe import Markup

    text = (resources.files("insitu.report") / "page.css").read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - the package's own file
