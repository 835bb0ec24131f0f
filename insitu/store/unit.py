"""The data of one commit unit, and the line that makes it count."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.store import layout, place, tables
from insitu.store.about import plain
from insitu.store.disk import Stored, failpoint
from insitu.store.labels import LabelStack
from insitu.store.log import Unit, read_log
from insitu.store.problems import Problems
from insitu.store.state import pack, pack_planes, unpack, unpack_planes
from insitu.store.waiting import Waiting
from insitu.types import Runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from insitu.options import StoreOptions
    from insitu.store.disk import Disk
    from insitu.store.log import Log
    from insitu.types import Calibration, Event, FrameResult, RunInfo

Files = dict[str, Stored]

_REPLACED_LINES = 2048

_NONE = np.empty(0, np.int32)
_NO_RUNS = Runs((0, 0), _NONE, _NONE, _NONE, _NONE)


class UnitWriter:
    """Collects frames and writes them as units; knows what is safe.

    Attributes
    ----------
    planes : int
        Planes committed.
    counts : dict
        Of the committed frames: `ok`, `bad`, `missing`; rows: `particles`, `events`.
    waiting : Waiting
        Frames added since.
    problems : Problems
    """

    def __init__(self, info: RunInfo, options: StoreOptions, disk: Disk, log: Log) -> None:
        self._info, self._options, self._disk = info, options, disk
        self.planes, self.counts = log.planes, log.counts
        self.waiting = Waiting(info)
        self.problems = Problems(info.out / layout.PROBLEMS, log.units[-1].problems if log.units else 0, disk)
        self._labels: LabelStack | None = None
        self._live: list[str] = []
        self._small: list[Unit] = []
        self._replaced = 0

    def begin(self, stored: int = 0, waiting: Sequence[bytes] = ()) -> None:
        """Make the label array with `stored` planes in shards, and packed planes that wait for theirs."""
        if self._options.labels:
            self._labels = LabelStack(self._info, self._options.shard_frames, self._disk, stored, waiting)
            self._labels.write_metadata()

    def restore(self, log: Log) -> dict[str, NDArray[Any]]:
        """Verify what the log names, delete the rest, take up the planes that wait; return the tracker's state."""
        out, shard = self._info.out, self._options.shard_frames
        stored = log.planes if log.closing is not None else log.planes // shard * shard
        self._live = place.verify(out, log, stored)
        place.discard(out, log, stored, self._disk)
        self.begin(stored, [p for n in self._live if layout.holds_planes(n) for p in unpack_planes(out / n)])
        _restore_clock(out, log, self.waiting)
        trackers = [n for n in self._live if not layout.holds_planes(n)]
        return unpack(out / trackers[-1]) if trackers else {}

    @property
    def next_frame(self) -> int:
        """Index, in the source's timeline, of the frame that is next."""
        return self._info.first_frame + (self.planes + len(self.waiting)) * self._info.step

    def add(self, result: FrameResult, plane: bytes | None = None) -> None:
        """Take the next frame, with its label plane where that is packed already; its runs and pixels are not held."""
        if result.frame.index != self.next_frame:
            raise ValueError(f"frame {result.frame.index} given where frame {self.next_frame} is next")
        if self._labels is not None:
            self._labels.add(result.runs if result.frame.status == "ok" else None, plane)
        self.waiting.add(replace(result, runs=_NO_RUNS, frame=replace(result.frame, image=None)))

    def write(
        self,
        state: Mapping[str, NDArray[Any]],
        tracks: Mapping[str, Any] | None = None,
        events: Sequence[Event] = (),
        closing: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the data, then the line. With `closing` this is the last unit: no frame follows it.

        Nothing of this object changes before the line is safe, but after a failure the object is not to be used again.
        """
        out, first, last = self._info.out, self.planes, closing is not None
        planes = first + len(self.waiting)
        files = self._labels.write_shards(last=last) if self._labels else {}
        failpoint("after-shard")
        columns = {**self.waiting.columns(events, self.counts["events"]), "tracks": tracks or {}}
        parts, rows = write_parts(out, first, columns, self._info.calibration, self._disk)
        failpoint("after-parts")
        states = write_state(out, {} if last else self._states(state, first, planes), self._disk)
        failpoint("after-state")
        self.problems.write(None if last else self.next_frame)
        failpoint("before-closing-line" if last else "before-line")
        counts = self._counted(rows)
        said = None if closing is None else plain(closing)
        unit = Unit(first, planes, counts, rows, files | parts | states, self.problems.size, said)
        self._disk.append(out / layout.COMMITS, unit.line())
        failpoint("after-closing-line" if last else "after-line")
        self.planes, self.counts = planes, counts
        self.waiting.clear()
        self._forget_state(list(states))
        self._small = [*self._small, unit] if planes - first < self._options.unit_frames and not last else []

    def merge_small(self) -> None:
        """Make one unit of those that were closed before they were full, once they are as long as a full one.

        A kill leaves the small units or the merged one; what the log does not name is deleted by the next resume.
        """
        units = self._small
        if not units or units[-1].planes - units[0].first < self._options.unit_frames:
            return
        out = self._info.out
        merged = merged_unit(out, units, self._info.calibration, self._disk)
        failpoint("before-merged-line")
        self._disk.append(out / layout.COMMITS, merged.line())
        failpoint("after-merged-line")
        place.clean(out, self._disk, [n for u in units for n in u.files if is_part(n) and n not in merged.files])
        self._small = []
        self._replaced += len(units) + 1
        if self._replaced >= _REPLACED_LINES:
            self._shorten_log()

    def _shorten_log(self) -> None:
        """Write the commit log without the lines that others have replaced."""
        out = self._info.out
        lines = [unit.line() for unit in read_log(out).units]
        self._disk.write(out / layout.COMMITS, b"".join(lines))
        self._disk.sync_folder(out)
        self._replaced = 0

    def _states(self, state: Mapping[str, NDArray[Any]], first: int, planes: int) -> dict[str, bytes]:
        """Return the state files of a unit: the tracker's, and those of its planes that are in no shard yet."""
        files = {layout.tracker_state(planes): pack(state)}
        if self._labels and (packed := self._labels.waiting(first)):
            files[layout.pending_planes(max(first, self._labels.stored))] = pack_planes(packed)
        return files

    def _forget_state(self, fresh: list[str]) -> None:
        """Remove the state files that the new line has made useless."""
        known = self._live + fresh
        live = place.live_state(known, self._labels.stored if self._labels else self.planes)
        place.clean(self._info.out, self._disk, [n for n in known if n not in live])
        self._live = [n for n in known if n in live]

    def _counted(self, rows: Mapping[str, int]) -> dict[str, int]:
        counts = dict(self.counts)
        for result in self.waiting.results:
            counts[result.frame.status] += 1
        for table in ("particles", "events"):
            counts[table] += rows.get(table, 0)
        return counts


def is_part(name: str) -> bool:
    """Return whether a file of a unit holds rows of a table."""
    return name.startswith(f"{layout.PARTS}/")


def merged_unit(out: Path, units: Sequence[Unit], calibration: Calibration, disk: Disk) -> Unit:
    """Write the rows of successive units as one part a table; return the unit that takes their place."""
    first, last = units[0].first, units[-1]
    files = {name: stored for unit in units for name, stored in unit.files.items() if not is_part(name)}
    rows: dict[str, int] = {}
    for table in layout.TABLES:
        named = {n: s for u in units for n, s in u.files.items() if n.startswith(f"{layout.PARTS}/{table}-")}
        if len(named) == 1:
            files |= named
        elif named:
            name = layout.merged_part(table, first, last.planes)
            with disk.writing(out / name) as file:
                tables.merge_parts([out / n for n in named], file, tables.run_schema(table, calibration))
            files[name] = file.stored()
        if named:
            rows[table] = sum(unit.rows.get(table, 0) for unit in units)
    disk.sync_folder(out / layout.PARTS)
    return Unit(first, last.planes, last.counts, rows, files, last.problems)


def write_parts(
    out: Path, first: int, columns: Mapping[str, Mapping[str, Any]], calibration: Calibration, disk: Disk
) -> tuple[Files, dict[str, int]]:
    """Write a unit's rows, one part a table that has any; return the files and each table's number of rows."""
    files: Files = {}
    rows: dict[str, int] = {}
    disk.make_folders(out / layout.PARTS, out)
    for table, given in columns.items():
        if not given:
            continue
        wanted = tables.run_columns(table, calibration)
        part = tables.arrow_table(table, tables.with_twins(table, given, calibration), wanted)
        if part.num_rows:
            name = layout.part(table, first)
            files[name] = disk.write(out / name, tables.table_bytes(part))
            rows[table] = part.num_rows
    disk.sync_folder(out / layout.PARTS)
    return files, rows


def write_state(out: Path, files: Mapping[str, bytes], disk: Disk) -> Files:
    """Write the tracker's state and the planes that wait for their shard."""
    disk.make_folders(out / layout.STATE, out)
    stored = {name: disk.write(out / name, data) for name, data in files.items()}
    disk.sync_folder(out / layout.STATE)
    return stored


def compact(out: Path, log: Log, calibration: Calibration, disk: Disk) -> Files:
    """Write each finished table from its parts, in bounded memory; return the files."""
    files: Files = {}
    for table in layout.TABLES:
        name = layout.table(table)
        parts = (out / part for part in log.parts(table))
        with disk.writing(out / name) as file:
            tables.merge_parts(parts, file, tables.run_schema(table, calibration))
        files[name] = file.stored()
        failpoint("mid-compaction")
    disk.sync_folder(out)
    return files


def _restore_clock(out: Path, log: Log, waiting: Waiting) -> None:
    """Give the clock the times of the last committed frames, as an uninterrupted run would know them."""
    clock = waiting.clock
    for part in log.parts("frames")[-clock.memory :]:
        rows = tables.read_columns(out / part, ("frame", "time_s"))
        for index, time_s in zip(rows["frame"].tolist(), rows["time_s"].tolist(), strict=True):
            if time_s == time_s:  # noqa: PLR0124 - false for NaN: the time is unknown
                clock.remember(index, time_s)
