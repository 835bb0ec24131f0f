"""What a page shows of a run: summaries that the engine leaves here in passing, and that any number of pages fetch."""

from __future__ import annotations

import shutil
import threading
import time
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from insitu.errors import CommandError
from insitu.live.marks import write_mark
from insitu.live.pictures import around, take
from insitu.live.series import Point, Series, sizes
from insitu.live.state import Pace, Signs, Word, state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from insitu.live.pictures import Around, Shot
    from insitu.live.series import Part
    from insitu.progress import Progress
    from insitu.types import Event, FrameResult, Particles

# Copying pixels for the page takes so little (s) of small frames that all are kept. Of larger ones it may take this
# share of the run's time: of those that come faster, some are not shown.
_LITTLE_S, _SHARE = 0.0003, 0.05
# kept pictures, among which an event finds the one of its frame
_SHOTS = 16
_KEPT_EVENTS = 48
_MOST_CUT = 8
# ends and beginnings that say nothing about the particle: counted, not shown
_UNSHOWN = {"lost", "entering", "leaving"}
_DISK_S = 1.0
# frames whose times are known when an event or a mark is about one of them: more than the longest look-ahead
_REMEMBERED = 2048


@dataclass(slots=True, eq=False)
class Happened:
    """An event or mark as it is shown; `number` counts them."""

    number: int
    kind: str
    frame: int
    time_s: float | None
    y: float | None = None
    x: float | None = None
    confidence: float | None = None
    note: str = ""
    around: Around | None = None


@dataclass(slots=True)
class Seen:
    """What one page has: how far it need not be told again, and what it wants."""

    shot: int = 0
    epoch: int = -1
    points: int = 0
    event: int = 0
    movie: int = -1
    traces: int = -1
    picture: bool = True
    outlines: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class News:
    """What a page has not been told: `number` counts shots, `facts` are plain values."""

    facts: dict[str, Any]
    part: Part
    happened: list[Happened]
    shot: Shot | None
    number: int


@dataclass(slots=True)
class _Movie:
    """All that is reset when the next movie begins."""

    title: str = ""
    out: Path | None = None
    began: float = 0.0
    opened: bool = False
    ended: tuple[Word, str] | None = None
    last: float | None = None
    newest: tuple[int, float | None] | None = None
    timed: bool = False
    x: float = 0.0
    counts: dict[str, Any] = field(default_factory=dict)
    diameters: Any = field(default_factory=lambda: np.empty(0))
    histogram_frame: int | None = None
    series: Series = field(default_factory=Series)
    pace: Pace = field(default_factory=Pace)
    lagged: bool = False
    times: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def time_of(self, frame: int) -> float | None:
        """Return the time of a frame not long ago, in s."""
        place = bisect_left(self.times, (frame, float("-inf")))
        return self.times[place][1] if place < len(self.times) else None


class Sensing(Protocol):
    """Whoever reads a log of sensors: a curve of each, in s of the movie, and what is wrong with the log."""

    traces: tuple[dict[str, Any], ...]
    version: int
    says: str


class Board:
    """Takes what a run says in passing; never waits, never raises into the run.

    Parameters
    ----------
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._shots: deque[Shot] = deque(maxlen=_SHOTS)
        self._happened: deque[Happened] = deque(maxlen=_KEPT_EVENTS)
        self._movies = self._taken = self._events = 0
        self._movie = _Movie(began=clock())
        self._costs: deque[float] = deque(maxlen=8)
        self._disk: tuple[float, int | None] = (-1.0, None)
        self.broken = ""
        self.sensors: Sensing | None = None

    def begin(self, title: str, out: Path) -> None:
        """Begin a movie: it is waited for from now on."""
        with self._lock:
            self._movie = _Movie(title=title, out=out, began=self._clock())
            self._movies += 1
            self._shots.clear()
            self._happened.clear()

    def opened(self) -> None:
        """Note that there is something to read."""
        with self._lock:
            self._movie.opened = True

    def end(self, word: Word, sentence: str) -> None:
        """Note that the movie's run has ended, and how."""
        with self._lock:
            self._movie.ended = word, sentence

    def on_result(self, result: FrameResult) -> None:
        """Take a result; its pixels are copied while the call lasts."""
        self._safely(lambda: self._result(result))

    def on_progress(self, progress: Progress) -> None:
        """Take the counts of a run."""
        self._safely(lambda: self._progress(progress))

    def _safely(self, work: Callable[[], None]) -> None:
        """Do what a page needs; a page that fails is given up, and the run goes on."""
        if self.broken:
            return
        try:
            with self._lock:
                work()
        except Exception as error:
            self.broken = f"this page stopped following the run ({type(error).__name__}: {error}); the run goes on"

    def _result(self, result: FrameResult) -> None:
        movie, now, frame = self._movie, self._clock(), result.frame
        movie.pace.result(now)
        if movie.last is None:
            movie.timed = frame.time_s is not None
        movie.last, movie.newest = now, (frame.index, frame.time_s)
        step = frame.time_s if movie.timed else float(frame.index)
        movie.x = movie.x if step is None else step
        if frame.time_s is not None:
            movie.times.append((frame.index, frame.time_s))
        if frame.status == "ok":
            movie.diameters, movie.histogram_frame = _whole(result.particles), frame.index
        movie.series.add(_point(result, movie.x, movie.diameters))
        # the least of eight: others count what else the machine did
        cost = min(self._costs) if len(self._costs) == 8 else 0.0
        if cost <= _LITTLE_S or not self._shots or now - self._shots[-1].taken >= cost / _SHARE:
            shot = take(result, now)
            if shot is not None:
                self._shots.append(shot)
                self._taken += 1
                self._costs.append(self._clock() - now)
        for k, event in enumerate(result.events):
            self._event(event, cut=k < _MOST_CUT)

    def _event(self, event: Event, *, cut: bool) -> None:
        time_s = self._movie.time_of(event.frame)
        self._movie.series.happened(float(event.frame) if time_s is None else time_s)
        if event.kind in _UNSHOWN:
            return
        shot = min(self._shots, key=lambda s: abs(s.frame - event.frame), default=None) if cut else None
        self._add(
            Happened(
                0, event.kind, event.frame, time_s, event.y, event.x, event.confidence, event.note,
                around=None if shot is None else around(shot, event),
            )
        )  # fmt: skip

    def _add(self, happened: Happened) -> None:
        self._events += 1
        happened.number = self._events
        self._happened.append(happened)

    def _progress(self, progress: Progress) -> None:
        lag_s = progress.lag_s
        self._movie.counts = {
            "total": progress.total,
            "incoming": progress.done + (progress.lag_frames or 0),
            "done": progress.done,
            "used": progress.used,
            "bad": progress.bad,
            "missing": progress.missing,
            "particles": progress.particles,
            "events": progress.events,
            "frames_per_s": round(progress.frames_per_s, 3),
            "lag_frames": progress.lag_frames,
            "lag_s": None if lag_s is None else round(lag_s, 2),
        }

    @property
    def taken(self) -> int:
        """How many pictures have been kept so far: rises when there is a newer one."""
        return self._taken

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of the movie that is shown."""
        return self._movie.ended is not None

    def news(self, seen: Seen) -> News:
        """Return what a page has not seen, and note in `seen` that it has."""
        disk = self._free()
        with self._lock:
            movie = self._movie
            if seen.movie != self._movies:
                seen.movie, seen.event, seen.epoch, seen.points, seen.traces = self._movies, 0, -1, 0, -1
            part = movie.series.since(seen.epoch, seen.points)
            seen.epoch, seen.points = part.epoch, part.first + len(part.x)
            happened = [h for h in self._happened if h.number > seen.event]
            seen.event = self._events
            newer = seen.picture and self._taken > seen.shot and bool(self._shots)
            facts = self._facts(movie) | {"disk": disk}
            diameters = movie.diameters
            shot, number = (self._shots[-1], self._taken) if newer else (None, seen.shot)
        facts["sizes"] = {"frame": movie.histogram_frame, **sizes(diameters)}
        if self.sensors is not None and seen.traces != (version := self.sensors.version):
            facts["sensors"], facts["sensors_say"], seen.traces = self.sensors.traces, self.sensors.says, version
        return News(facts, part, happened, shot, number)

    def _facts(self, movie: _Movie) -> dict[str, Any]:
        now = self._clock()
        signs = Signs(
            quiet_s=now - (movie.began if movie.last is None else movie.last),
            started=movie.last is not None,
            opened=movie.opened,
            limit_s=movie.pace.limit_s,
            lag_frames=movie.counts.get("lag_frames"),
            lag_s=movie.counts.get("lag_s"),
            lagged=movie.lagged,
            ended=movie.ended,
        )
        word, sentence = state(signs)
        movie.lagged = word == "LAGGING"
        return {
            "movie": self._movies,
            "title": movie.title,
            "out": "" if movie.out is None else str(movie.out),
            "state": word,
            "says": self.broken or sentence,
            "timed": movie.timed,
            "age_s": None if movie.last is None else round(now - movie.last, 2),
            "counts": movie.counts,
        }

    def _free(self) -> int | None:
        """Return the free bytes where the run is written, looked up once a second."""
        out, now = self._movie.out, self._clock()
        if out is None or (self._disk[0] >= 0 and now - self._disk[0] < _DISK_S):
            return self._disk[1]
        place = next((p for p in (out, *out.absolute().parents) if p.exists()), None)
        try:
            free = None if place is None else shutil.disk_usage(place).free
        except OSError:
            free = None
        self._disk = now, free
        return free

    @property
    def out(self) -> Path | None:
        """The run folder that is shown, once it has a first frame."""
        return self._movie.out if self._movie.last is not None else None

    def mark(self, note: str, frame: int | None) -> dict[str, Any]:
        """Write a note at `frame`, or at the newest one.

        Raises
        ------
        CommandError
            There is no frame yet, or it has not been reached.
        OSError
            It cannot be written.
        """
        with self._lock:
            out, newest = self._movie.out, self._movie.newest
        if out is None or newest is None:
            raise CommandError("no frame has come yet, so there is nothing to mark", "wait for the first frame")
        at, time_s = newest
        if frame is not None and frame != at:
            if not 0 <= frame < at:
                raise CommandError(f"frame {frame} has not been reached", "mark a frame that is shown")
            at, time_s = frame, self._movie.time_of(frame)
        mark = write_mark(out, note, at, time_s)
        with self._lock:
            self._add(Happened(0, "mark", at, time_s, note=mark["note"]))
        return mark


def _whole(particles: Particles) -> Any:  # noqa: ANN401 - a float64 array
    """Return the diameters that size statistics take: of particles wholly in the picture, and single ones."""
    return particles.equivalent_diameter_px[~(particles.touches_edge | particles.composite)]


def _point(result: FrameResult, x: float, diameters: Any) -> Point:  # noqa: ANN401 - a float64 array
    if result.frame.status != "ok":
        return Point(x)
    particles, runs = result.particles, result.runs
    region = runs.shape[0] * runs.shape[1] * runs.bin**2
    mean = float(diameters.mean()) if len(diameters) else None
    return Point(x, len(particles), mean, int(particles.area_px.sum(dtype=np.int64)) / region if region else None)
