"""A small run whose whole history is written down: who was where, what happened, which links there are."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise

import numpy as np
from cases_events import measured_of

from insitu.options import StoreOptions
from insitu.results import Run, open_run
from insitu.store.commit import RunFolder
from insitu.tracks import TrackSummary
from insitu.types import Calibration, Event, Frame, FrameResult, Header, Particles, RunInfo, Runs, SourceInfo

SHAPE = (120, 160)
MOVIE = "film & co.tif"
CALIBRATED = Calibration(0.5, "test", 0.1, "test")
BAD = 6
# particle: place, radius, frames in which it is seen
PARTICLES = {
    0: ((30.0, 30.0), 9.0, {0, 1, 2, 3, 4, 5, 7, 8, 9}),  # takes up 1, then 5 splits off from it
    1: ((30.0, 52.0), 5.0, {0, 1, 2, 3}),
    2: ((80.0, 30.0), 7.0, {0, 1, 2, 3, 4}),  # merges with 3 into 4
    3: ((80.0, 50.0), 6.0, {0, 1, 2, 3, 4}),
    4: ((80.0, 40.0), 8.0, {5, 7, 8, 9}),
    5: ((30.0, 52.0), 4.0, {7, 8, 9}),
    6: ((60.0, 110.0), 5.0, {0, 1, 2, 4, 5, 7, 8, 9}),  # not seen in frame 3
    7: ((100.0, 110.0), 5.0, {8}),  # seen once
}
EVENTS = (
    Event("coalescence", 4, 5, 30.0, 30.0, (0, 1), (0,)),
    Event("coalescence", 5, 7, 80.0, 40.0, (2, 3), (4,)),
    Event("splitting", 7, 8, 30.0, 52.0, (0,), (0, 5)),
    Event("appearance", 8, 9, 100.0, 110.0, (), (7,)),
)
# links that no track makes: (particle, frame) before and after
ACROSS = {((1, 3), (0, 4)), ((2, 4), (4, 5)), ((3, 4), (4, 5)), ((0, 5), (5, 7))}
TREES = [{0, 1, 5}, {2, 3, 4}, {6}]


def links() -> set[tuple[tuple[int, int], tuple[int, int]]]:
    """All links, as pairs of (particle, frame)."""
    found = set(ACROSS)
    for particle, (_, _, seen) in PARTICLES.items():
        frames = sorted(seen)
        found |= {((particle, a), (particle, b)) for a, b in pairwise(frames)}
    return found


def write_movie(folder, *, shape=SHAPE, frames=10, dtype=np.uint16, offset=0):
    """Write the movie of a run beside it; every frame is another one."""
    import tifffile

    movie = np.random.default_rng(1).integers(0, 1000, (frames, *shape)).astype(dtype) + dtype(offset)
    tifffile.imwrite(folder / MOVIE, movie, photometric="minisblack", metadata=None)
    return movie


def make_run(
    out,
    *,
    calibration=CALIBRATED,
    first=0,
    step=1,
    finish=True,
    labels=True,
    frames=10,
    origin=(0, 0),
    side=1,
    fingerprint=None,
) -> Run:
    """Write the run; frame k of the story is frame first + k·step of the source.

    With an origin or a binning the story is told in (binned) pixels of the region, and its rows are too.
    """
    last = first + frames * step
    region = (SHAPE[0] * side, SHAPE[1] * side)
    full = SHAPE if origin == (0, 0) else (region[0] + origin[0] + 20, region[1] + origin[1] + 30)
    source = SourceInfo(str(out.parent / MOVIE), "tiff", *full, np.dtype(np.uint8), last, calibration)
    info = RunInfo(out, source, calibration, region, first, step, origin, side)
    about = {"source": {"fingerprint": fingerprint}}
    options = StoreOptions(unit_frames=4, shard_frames=4, labels=labels, fsync=False)
    folder = RunFolder.create(info, settings_text="", about=about, options=options)
    summary = TrackSummary()
    events = [_at(e, first, step) for e in EVENTS]
    for k in range(frames):
        result = _result(k, first + k * step, tuple(e for e in events if e.decided_frame == first + k * step))
        folder.add(result)
        n = len(result.ids)
        columns = {name: getattr(result.particles, name) for name in ("y", "x", "equivalent_diameter_px")}
        summary.add({"frame": np.full(n, result.frame.index), "particle": result.ids, **columns})
        if k % 4 == 3:
            folder.commit({})
    if finish:
        folder.finish(summary.rows(events))
    else:
        folder.close()
    return open_run(out)


def _at(event, first, step):
    changes = {"frame": first + event.frame * step, "decided_frame": first + event.decided_frame * step}
    return Event(**{f.name: getattr(event, f.name) for f in fields(Event)} | changes)


def _result(k, index, events):
    header = Header("film.tif", index)
    here = [p for p, (_, _, seen) in PARTICLES.items() if k in seen]
    if k == BAD:
        frame = Frame(index, None, "bad", ("truncated",), header, index * 0.1)
        return FrameResult(frame, Runs.empty(SHAPE), Particles.empty(), np.empty(0, np.int64), events)
    measured = measured_of([(*PARTICLES[p][0], PARTICLES[p][1]) for p in here], SHAPE)
    places = np.array([PARTICLES[p][0] for p in here]).reshape(-1, 2)
    centres = np.column_stack([measured.particles.y, measured.particles.x])
    distances = np.linalg.norm(centres[:, None] - places, axis=2)
    nearest = distances.argmin(axis=1) if here else np.empty(0, int)
    ids = np.array(here, np.int64)[nearest]
    assert len(set(ids.tolist())) == len(here)
    return FrameResult(
        Frame(index, None, "ok", (), header, index * 0.1), measured.runs, measured.particles, ids, events
    )
