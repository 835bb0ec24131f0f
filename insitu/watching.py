"""Analyse a source while it is being filled, go on after a stop, and take in what came late."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import BadFrame, InputError
from insitu.pipeline import process
from insitu.read import open_source
from insitu.read.watch import GrowingFile, Past, WatchedFolder
from insitu.results import open_run
from insitu.store.place import is_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from insitu.intake import Selection
    from insitu.progress import RunSummary
    from insitu.read.watch import Live, Until
    from insitu.read.watch.movies import Kind
    from insitu.results import Run
    from insitu.settings import Settings


def watch(
    path: str | Path,
    out: str | Path,
    settings: Settings,
    until: Until,
    *,
    kind: Kind = "frames",
    selection: Selection | None = None,
    resume: bool = False,
    from_late: bool = False,
    overwrite: bool = False,
    begun: Callable[[Live], None] | None = None,
    **hooks: Any,  # noqa: ANN401 - as `process`
) -> RunSummary:
    """Analyse what comes into `path` until watching ends.

    Parameters
    ----------
    path : path
        A folder of numbered images, or a movie file that grows; it may not exist yet.
    out : path
        The run folder.
    settings : Settings
    until : Until
        When watching ends.
    kind : {"frames", "file", "movies"}
        What `path` is: a folder of frames, a file, or one of several files: it ends when its writer closes it.
    selection : Selection, optional
        Frames to analyse.
    resume : bool
        Go on after the last committed frame.
    from_late : bool
        With `resume`: where files came too late for their place, or were incomplete for too long, analyse the folder
        anew with them.
    overwrite : bool
        Replace the run that is there.
    begun : callable, optional
        Called with the reader once the first frame is there.
    **hooks
        `progress`, `on_result` and `stop` of `insitu.pipeline.process`.

    Raises
    ------
    InsituError
        As `process`; `InputError` where nothing came.
    SourceStopped
        The user stopped waiting for the first frame.
    """
    path, out = Path(path), Path(out)
    if resume and from_late and outdated(path, out):
        resume, overwrite = False, True
    past = committed(out) if resume else None
    reader: Live
    if kind == "frames":
        reader = WatchedFolder(path, until, exclude=(out,), past=past)
    else:
        reader = GrowingFile(path, until, past=past, until_released=kind == "movies")
    if begun:
        begun(reader)
    return process(reader, out, settings, selection=selection, resume=resume, overwrite=overwrite, **hooks)


def committed(out: Path) -> Past | None:
    """Return what the run in `out` has made of its source; None where there is no run.

    The places of frames that were not selected are not known: then only the fingerprint is.
    """
    if not is_run(out):
        return None
    run = open_run(out)
    fingerprint = run.info.get("source", {}).get("fingerprint") or {}
    selection = run.info.get("selection") or {}
    if (selection.get("start", 0), selection.get("step", 1)) != (0, 1):
        return Past(fingerprint=fingerprint)
    rows = run.frames.to_arrow(("source", "source_number", "status"))
    sources = zip(rows["source"].to_pylist(), rows["status"].to_pylist(), strict=True)
    return Past(
        tuple(None if status == "missing" else source for source, status in sources),
        tuple(rows["source_number"].to_pylist()),
        fingerprint,
    )


def outdated(path: Path, out: Path) -> int | None:
    """Return the first frame of a run that the folder, as it is now, would give otherwise; None where there is none.

    Raises
    ------
    InputError
        The folder is no movie, or files of the run are no longer there: it cannot be analysed anew.
    """
    if not is_run(out):
        return None
    run, reader = open_run(out), open_source(path)
    try:
        return _first_change(run, reader)
    finally:
        reader.close()


def _first_change(run: Run, reader: Any) -> int | None:  # noqa: ANN401 - an opened source
    slot = np.empty(reader.info.shape, reader.info.dtype)
    now = {reader.header(k).source for k in range(reader.info.n_frames)}
    rows = run.frames.to_pandas(("frame", "source", "source_number", "status"))
    gone = sorted(set(rows["source"][rows["status"] != "missing"]) - now)
    if gone:
        raise InputError(
            f"{len(gone)} files of this run are no longer there, first '{gone[0]}'",
            "go on without --from-late; what came late stays out",
        )
    for frame, source, number, status in rows.itertuples(index=False):
        if frame >= reader.info.n_frames:
            return int(frame)
        header = reader.header(int(frame))
        if (header.source, header.source_number) != (source, number):
            return int(frame)
        if status == "bad":
            try:
                reader.read_into(int(frame), slot)
            except BadFrame:
                continue
            if slot.any():
                return int(frame)
    return None
