"""A run folder while it is written: data first, then one fsynced line that names it.

A commit unit is a stretch of frames. Its label shards, table parts and tracker state are written, fsynced and renamed,
and only then does one line in ``commits.jsonl`` name them with their hashes. After a kill at any moment a resumed run
goes on from the last line; what no line names is deleted. Units and label shards are independent of each other, and the
finished tables and label arrays depend neither on the length of the units nor on where a run was interrupted.
"""

from __future__ import annotations

import tomllib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from insitu.errors import (
    EXIT_BUG,
    EXIT_DONE,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_RESOURCE,
    CommandError,
    InputError,
    ResourceError,
)
from insitu.store import layout, place
from insitu.store.about import begin, check_same, encode, now, plain, read_about
from insitu.store.disk import Disk, failpoint
from insitu.store.lock import Lock
from insitu.store.log import Log, damaged, finish_line, read_log
from insitu.store.tables import read_columns
from insitu.store.unit import UnitWriter, compact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from insitu.options import StoreOptions
    from insitu.types import Event, FrameResult, RunInfo


class RunFolder:
    """The run folder that one engine writes; made by `create` or `resume`.

    Attributes
    ----------
    state : dict of str to ndarray
        The tracker's state at the last commit, after `resume`; empty in a new run.
    about : dict
        What ``run.json`` says.
    notes : list of str
        Sentences a user must see (a stale lock taken over, a run that was finished already).
    finished : bool
        The run is complete; nothing can be added.
    """

    def __init__(self, info: RunInfo, options: StoreOptions, *, disk: Disk, lock: Lock, about: dict[str, Any]) -> None:
        self.info, self.options, self.about = info, options, about
        self.state: dict[str, NDArray[Any]] = {}
        self.notes = [f"took over the lock of {lock.stale}, which has ended"] if lock.stale else []
        self.finished = False
        self._disk, self._lock = disk, lock
        self._unit = UnitWriter(info, options, disk, Log())
        self._failed = False

    @classmethod
    def create(
        cls,
        info: RunInfo,
        *,
        settings_text: str,
        about: Mapping[str, Any],
        options: StoreOptions,
        overwrite: bool = False,
        disk: Disk | None = None,
    ) -> Self:
        """Begin a new run in ``info.out``.

        Parameters
        ----------
        info : RunInfo
            Where, and what the numbers mean.
        settings_text : str
            The resolved settings as TOML; written to ``settings.toml``.
        about : mapping
            More for ``run.json``: ``source`` (``size``, ``fingerprint``), ``identity`` (whatever must be equal for a
            resumed run to give the same bytes: device type, versions, model), host, reference, …
        options : StoreOptions
        overwrite : bool
            Replace a run that is there.
        disk : Disk, optional
            Where file operations go (tests make them fail).

        Raises
        ------
        CommandError
            The folder exists (with `overwrite`: and is not a run), cannot be made, or another engine works in it.
        ResourceError
            The disk is full or fails.
        """
        disk = disk or Disk(fsync=options.fsync)
        with _opening(info.out):
            lock = place.claim(info.out, disk, overwrite=overwrite)
            with lock.released_on_error():
                folder = cls(info, options, disk=disk, lock=lock, about=begin(info, options, about))
                disk.write(info.out / layout.SETTINGS, settings_text.encode())
                folder._unit.begin()
                failpoint("mid-create")
                disk.write(info.out / layout.COMMITS, b"")
                folder._write_about()
                failpoint("after-create")
        return folder

    @classmethod
    def resume(
        cls,
        info: RunInfo,
        *,
        settings_text: str,
        about: Mapping[str, Any],
        options: StoreOptions,
        disk: Disk | None = None,
    ) -> Self:
        """Go on with the run in ``info.out`` from its last commit; begin a new one where there is none.

        A run that was interrupted while finishing is finished here; one that was finished is left alone. Both come back
        with `finished` true. Parameters as in `create`.

        Raises
        ------
        CommandError
            It is another run (settings, source, calibration, schema), or another engine works in it.
        InputError
            The folder is damaged.
        ResourceError
            The disk is full or fails.
        """
        disk = disk or Disk(fsync=options.fsync)
        stored = read_about(info.out)
        if stored is None:
            if read_log(info.out).units:
                raise InputError(f"the run '{info.out}' has lost its {layout.RUN}", "restore it from a copy")
            folder = cls.create(
                info, settings_text=settings_text, about=about, options=options, overwrite=True, disk=disk
            )
            folder.notes.append(f"nothing to resume in '{info.out}': began a new run")
            return folder
        with _opening(info.out):
            lock = Lock(info.out)
        with lock.released_on_error():
            check_same(info.out, stored, begin(info, options, about), settings_text, _settings(info.out))
            folder = cls(info, options, disk=disk, lock=lock, about=stored)
            folder._restore(read_log(info.out))
        return folder

    def _restore(self, log: Log) -> None:
        """Bring the folder and this object back to the last line of the log."""
        self._unit = UnitWriter(self.info, self.options, self._disk, log)
        if log.finished is not None:
            self.notes.append(f"'{self.path}' is finished ({log.planes} frames): nothing to do")
            self._end()
            return
        with self._writing():
            self.state = self._unit.restore(log)
            if log.closing is not None:
                self._complete()
                self.notes.append(f"'{self.path}' had all its frames: finished its tables")
            else:
                self._write_about(status="running", finished=None, exit=None)

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.info.out

    @property
    def committed(self) -> int:
        """Planes (frames of the analysed range, bad and missing ones included) that are safe."""
        return self._unit.planes

    @property
    def counts(self) -> dict[str, int]:
        """Of the safe frames: `ok`, `bad`, `missing`; rows: `particles`, `events`."""
        return dict(self._unit.counts)

    @property
    def next_frame(self) -> int:
        """Index, in the source's timeline, of the frame that `add` expects next."""
        return self._unit.next_frame

    @property
    def due(self) -> bool:
        """Whether ``options.unit_frames`` frames wait for a commit."""
        return len(self._unit.waiting) >= self.options.unit_frames

    @property
    def uncommitted(self) -> int:
        """Frames added since the last commit."""
        return len(self._unit.waiting)

    def rows(self, table: str) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the committed rows of a table, a part at a time (to rebuild running sums after `resume`)."""
        for part in read_log(self.path).parts(table):
            yield read_columns(self.path / part)

    def add(self, result: FrameResult, plane: bytes | None = None) -> None:
        """Take the result of the next frame. It is safe after the next `commit`, not before.

        `plane` is its label plane where another process has packed it (`insitu.store.labels.PlanePacker`).

        Raises
        ------
        ValueError
            Not the frame that is next (`next_frame`): a fault of the caller.
        """
        self._unit.add(result, plane)

    write = add  # its name in the protocol `Sink`

    def problem(self, frame: int | None, where: str, what: str) -> None:
        """Note what was wrong with a frame (None: with the run) in ``problems.jsonl``; any thread may call this.

        The note is written by the commit that makes the frame safe, so that a resumed run does not repeat it.
        """
        self._unit.problems.note(frame, where, what)

    def commit(self, state: Mapping[str, NDArray[Any]]) -> int:
        """Make everything added so far safe, with the tracker's state after it; return the number of safe planes.

        Raises
        ------
        ResourceError
            The disk is full or fails; what was committed before is safe, and `resume` goes on from there.
        """
        if len(self._unit.waiting):
            with self._writing():
                self._unit.write(state)
                self._unit.merge_small()
        return self.committed

    def finish(
        self, tracks: Mapping[str, Any], *, about: Mapping[str, Any] | None = None, events: Sequence[Event] = ()
    ) -> None:
        """End the run: write what waits, merge the parts into the final tables, say in ``run.json`` how it went.

        Parameters
        ----------
        tracks : mapping
            Columns of `schema.TRACKS` without the calibrated twins, in order of `particle`; empty where there are none.
        about : mapping, optional
            More for ``run.json``: ``exit`` (default 0, or 5 with bad or missing frames), ``metrics``, …
        events : sequence of Event
            Events decided after the last frame.

        Raises
        ------
        ResourceError
            As `commit`; a later `resume` completes the run.
        """
        if self.finished:
            return
        with self._writing():
            self._unit.write({}, tracks, events, dict(about or {}))
            self._complete()

    def close(self, about: Mapping[str, Any] | None = None) -> None:
        """Leave the folder to a later `resume`: say in ``run.json`` where it stands and let go of the lock.

        Frames added since the last `commit` are not kept. After `finish`, and the second time, this does nothing.
        """
        if not self._lock.held:
            return
        try:
            said = {"status": "interrupted", **(about or {}), "counts": self.counts}
            if self._failed:
                with suppress(OSError):  # the log is right whatever becomes of this; a disk that is full has no room
                    self._write_about(**said)
            else:
                with self._writing():
                    self._write_about(**said)
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close({"exit": _exit_code(error)} if error is not None else None)

    def _complete(self) -> None:
        """Make the final tables and end the run; every step can be repeated after a kill."""
        log = read_log(self.path)
        files = compact(self.path, log, self.info.calibration, self._disk)
        failpoint("after-compaction")
        incomplete = log.counts["bad"] + log.counts["missing"]
        done = {"exit": EXIT_INCOMPLETE if incomplete else EXIT_DONE, **(log.closing or {})}
        self._write_about(**{**done, "status": "finished", "finished": now(), "counts": log.counts})
        failpoint("before-finish-line")
        self._disk.append(self.path / layout.COMMITS, finish_line(files))
        failpoint("after-finish-line")
        self._end()

    def _end(self) -> None:
        place.clean(self.path, self._disk, (layout.PARTS,))
        failpoint("mid-clean")
        place.clean(self.path, self._disk, (layout.STATE, layout.RANGES))
        self.finished = True
        self._lock.release()

    def _write_about(self, **changes: Any) -> None:  # noqa: ANN401 - any JSON value
        self.about |= plain(changes)
        self._disk.write(self.path / layout.RUN, encode(self.about))
        self._disk.sync_folder(self.path)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn a failure of the disk into what a user can act on; after one, nothing more is committed."""
        if self._failed:
            raise ResourceError(f"'{self.path}' failed before; {self.committed} frames are safe", "go on with --resume")
        self._failed = True
        try:
            yield
        except OSError as error:
            raise _failure(self.path, error, self.committed) from error
        self._failed = False


@contextmanager
def _opening(out: Path) -> Iterator[None]:
    """Turn a folder that cannot be used into what a user can act on."""
    try:
        yield
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise CommandError(
            f"cannot write the run folder '{out}': {error.strerror}", "choose another folder with -o OTHER"
        ) from error
    except OSError as error:
        raise _failure(out, error, 0) from error


def _settings(out: Path) -> str:
    try:
        text = (out / layout.SETTINGS).read_text("utf-8")
        tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise damaged(out, f"{layout.SETTINGS} cannot be read ({error})") from error
    return text


def _exit_code(error: BaseException) -> int:
    """Return the code with which the command line ends after `error`."""
    own = {KeyboardInterrupt: EXIT_INTERRUPTED, MemoryError: EXIT_RESOURCE}
    return int(getattr(error, "exit_code", own.get(type(error), EXIT_BUG)))


def _failure(out: Path, error: OSError, safe: int) -> ResourceError:
    return ResourceError(
        f"cannot write to '{out}': {error.strerror or error}; {safe} frames are safe",
        "free space or mend the disk, then give the same command with --resume",
    )
