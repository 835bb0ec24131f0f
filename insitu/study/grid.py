"""The whole study: cells in order, what is done stays done, then tables and figures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from insitu.errors import CommandError
from insitu.study.cells import Work, cells_of
from insitu.study.config import read_study, shipped
from insitu.study.sets import Sets
from insitu.study.tables import columns_of, rows_of, summary_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


CONFIG, SCORES, SUMMARY = "study.toml", "scores.csv", "summary.csv"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a study has come to: its cells, how many were done before and now, the files written."""

    cells: int
    before: int
    now: int
    summary: Sequence[Mapping[str, Any]]
    files: Sequence[str]


def named(text: str) -> Path:
    """Return the file of a study: a path, or the name of one that comes with insitu."""
    from pathlib import Path

    path = Path(text).expanduser()
    return path if path.is_file() else shipped().get(text, path)


def run(
    config: Path,
    out: Path,
    *,
    redo: bool = False,
    least: int = 0,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    report: Callable[[str], None] = lambda _text: None,
) -> Outcome:
    """Do what is left of a study, and write its tables and figures.

    Parameters
    ----------
    config : Path
    out : Path
        Made if it is not there; may hold the same study, stopped.
    redo : bool
        Do cells again whose settings have changed.
    least : int
        Stop after so many cells (0 = all); tables and figures are of what is done.
    progress : callable
        Called with (cells done, all cells).
    report : callable
        Called with what is being done, in words.

    Raises
    ------
    CommandError
        A study that is not valid, or a folder of something else.
    InputError
        Images or labels that cannot be used.
    """
    study = read_study(config)
    _make_room(out)
    work = Work(study, Sets(study.data), out, redo=redo)
    cells = cells_of(study)
    left = [cell for cell in cells if work.left(cell)]
    (out / CONFIG).write_text(config.read_text(encoding="utf-8"), encoding="utf-8")
    before = len(cells) - len(left)
    for k, cell in enumerate(left[: least or None]):
        progress(before + k, len(cells))
        work.do(cell, report)
    done = min(len(left), least or len(left))
    progress(before + done, len(cells))
    summary, files = write_tables(work, out)
    return Outcome(len(cells), before, done, summary, files)


def write_tables(work: Work, out: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Write scores.csv, summary.csv, summary.json and the figures of what is done; return the summary and the files."""
    from insitu.figures.style import write_csv
    from insitu.study.drawing import draw

    cells = cells_of(work.study)
    rows = rows_of(work, cells)
    if not rows:
        return [], []
    summary = summary_of(rows)
    write_csv(out / SCORES, columns_of(rows))
    write_csv(out / SUMMARY, columns_of(summary))
    text = {"about": work.study.about, "seeds": list(work.study.seeds), "rows": summary}
    (out / "summary.json").write_text(json.dumps(text, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    drawn = draw(work, rows, out / "figures")
    return summary, [SCORES, SUMMARY, "summary.json", *(f"figures/{name}.png" for name in drawn)]


def _make_room(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise CommandError(f"'{out}' is not a folder", "choose another -o")
    if out.is_dir() and any(out.iterdir()) and not (out / CONFIG).is_file() and not (out / "cells").is_dir():
        raise CommandError(f"'{out}' exists and is no study", "choose another -o")
    out.mkdir(parents=True, exist_ok=True)
