"""A run in a folder whose name is no text reads as any other."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from store_cases import analyse, info

from insitu.errors import InputError
from insitu.results import open_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("odd") / "run"
    analyse(info(path, frames=40), frames=40, unit=10, shard=16, fsync=False)
    return path


@pytest.fixture
def odd(run, tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/run\xff\xe9"))
    try:
        shutil.copytree(run, path)
    except OSError:
        pytest.skip("THIS FILE SYSTEM TAKES TEXT ONLY: names of other bytes cannot be tested")
    return path


@pytest.mark.parametrize("name", ["particles", "frames", "events", "tracks"])
def test_tables(run, odd, name):
    here, there = getattr(open_run(odd), name).to_arrow(), getattr(open_run(run), name).to_arrow()
    assert here.schema.equals(there.schema)
    pd.testing.assert_frame_equal(here.to_pandas(), there.to_pandas())


def test_some_frames_and_labels(run, odd):
    here, there = open_run(odd), open_run(run)
    assert here.particles.to_arrow(("frame", "y"), frames=(3, 9)).equals(
        there.particles.to_arrow(("frame", "y"), frames=(3, 9))
    )
    assert (np.asarray(here.labels[5]) == np.asarray(there.labels[5])).all()


def test_damage_is_told(odd):
    table = odd / "particles.parquet"
    table.write_bytes(table.read_bytes()[:100])
    with pytest.raises(InputError, match="no whole parquet file"):
        open_run(odd).particles.to_arrow()
