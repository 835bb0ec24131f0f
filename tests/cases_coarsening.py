"""Tables of particles whose sizes are known, built without the code under test."""

from __future__ import annotations

import numpy as np
import pandas as pd

from insitu.coarsening.source import MemoryTables, StudyInfo
from insitu.types import Calibration

CALIBRATED = Calibration(0.2, "test", 0.1, "test")
UNKNOWN = Calibration()
REGION = (1000, 1200)


def info(calibration=CALIBRATED, region=REGION, finished=True, name="movie"):
    return StudyInfo(region, calibration, 1, name, finished)


def particle_rows(frame, particle, radius_px, *, y=None, x=None, edge=None, composite=None, region=REGION, seed=0):
    """Columns of `particles` for discs; boxes follow from places and radii."""
    rng = np.random.default_rng(seed)
    n = len(frame)
    radius = np.asarray(radius_px, float)
    y = rng.uniform(0.3, 0.7, n) * region[0] if y is None else np.asarray(y, float)
    x = rng.uniform(0.3, 0.7, n) * region[1] if x is None else np.asarray(x, float)
    edge = np.zeros(n, bool) if edge is None else edge
    composite = np.zeros(n, bool) if composite is None else composite
    box = {
        "bbox_y0": np.floor(y - radius), "bbox_x0": np.floor(x - radius),
        "bbox_y1": np.ceil(y + radius), "bbox_x1": np.ceil(x + radius),
    }  # fmt: skip
    return {
        "frame": np.asarray(frame, np.int32),
        "particle": np.asarray(particle, np.int64),
        "y": y,
        "x": x,
        # a float area keeps the radius exact; stored areas are whole numbers
        "area_px": np.pi * radius**2,
        "equivalent_diameter_px": 2 * radius,
        "touches_edge": edge,
        "composite": composite,
        **{k: v.astype(np.int32) for k, v in box.items()},
    }


def frame_rows(n_frames, calibration=CALIBRATED, bad=()):
    frame = np.arange(n_frames)
    status = np.where(np.isin(frame, bad), "bad", "ok")
    rows = {"frame": frame, "status": status.astype(object), "drift_y_px": 0.0, "drift_x_px": 0.0}
    if calibration.s_per_frame is not None:
        rows["time_s"] = frame * calibration.s_per_frame
    return pd.DataFrame(rows)


def event_rows(rows=(), calibration=CALIBRATED):
    """Events from (frame, kind, parents, children)."""
    names = ("frame", "kind", "parents", "children")
    columns = {n: [row[i] for row in rows] for i, n in enumerate(names)}
    table = pd.DataFrame(columns, columns=names)
    table["frame"] = table["frame"].astype(np.int32)
    for name in ("y", "x"):
        table[name] = 100.0
    table["touches_edge"] = False
    if calibration.s_per_frame is not None:
        table["time_s"] = table["frame"] * calibration.s_per_frame
    return table


def track_rows(particles):
    table = pd.DataFrame({k: particles[k] for k in ("particle", "frame", "equivalent_diameter_px")})
    grouped = table.groupby("particle")
    tracks = pd.DataFrame({
        "first_frame": grouped["frame"].min().astype(np.int32),
        "last_frame": grouped["frame"].max().astype(np.int32),
        "length": grouped.size().astype(np.int32),
        "equivalent_diameter_px_first": grouped["equivalent_diameter_px"].first(),
        "equivalent_diameter_px_last": grouped["equivalent_diameter_px"].last(),
        "equivalent_diameter_px_mean": grouped["equivalent_diameter_px"].mean(),
    }).reset_index()  # fmt: skip
    tracks["origin"], tracks["fate"] = "start", "end"
    for name in ("parents", "children"):
        tracks[name] = pd.Series([[] for _ in range(len(tracks))], dtype=object)
    return tracks


def world(particles, n_frames, *, calibration=CALIBRATED, events=(), region=REGION, finished=True, batch=1000, bad=()):
    return MemoryTables(
        info(calibration, region, finished),
        particles,
        track_rows(particles),
        event_rows(events, calibration),
        frame_rows(n_frames, calibration, bad),
        batch,
    )


def growing(*, n_frames=40, n=60, exponent=3, growth=2.0, noise=0.0, seed=1, r0=10.0, spread=0.2):
    """Every particle grows by the same law r = factor·(1 + (growthⁿ − 1) t/T)^(1/n)."""
    rng = np.random.default_rng(seed)
    factor = rng.lognormal(0, spread, n)
    share = np.arange(n_frames) / (n_frames - 1)
    mean = r0 * (1 + (growth**exponent - 1) * share) ** (1 / exponent)
    radius = mean[:, None] * factor[None] * (1 + noise * rng.normal(size=(n_frames, 1)))
    frame, particle = np.indices(radius.shape)
    rows = particle_rows(frame.ravel(), particle.ravel(), radius.ravel(), seed=seed)
    return rows, mean * factor.mean()
