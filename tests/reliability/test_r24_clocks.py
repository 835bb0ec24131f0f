"""Clocks that jump, files dated in the future or before the epoch: times of frames come from the source alone."""

from __future__ import annotations

import os
import time

import pandas as pd

from benchmarks.soak.world import digest, write_movie
from insitu.pipeline import process
from insitu.settings import Settings

SETTINGS = Settings().replace(
    {"segment.model": "classical", "store.fsync": False, "store.unit_frames": 8, "calibration.fps": 400.0}, "test"
)


def test_dates_of_files_and_a_clock_that_jumps_change_no_byte(tmp_path, monkeypatch, stub):
    movie = write_movie(tmp_path / "movie", frames=50)
    process(movie, tmp_path / "whole", SETTINGS)
    for k, path in enumerate(sorted(movie.iterdir())):
        stamp = (4e9, 86_400, 1.0)[k % 3] + k
        os.utime(path, (stamp, stamp))
    real, calls = time.time, [0]

    def jumping():
        calls[0] += 1
        return real() + (-3600 if calls[0] % 2 else 86_400)  # the end of summer time, and a battery that was empty

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        process(movie, tmp_path / "out", SETTINGS)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")
    frames = pd.read_parquet(tmp_path / "out" / "frames.parquet")
    assert (frames["time_s"] == frames["frame"] * (1 / 400)).all()
