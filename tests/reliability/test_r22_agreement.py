"""Any way of cutting a movie gives the same bytes: stops, units, shards, batches, prefetch, containers."""

from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.soak.world import Stub, digest, discs
from insitu.pipeline import process
from insitu.settings import Settings

FRAMES = 30
BASE = Settings().replace({"segment.model": "classical", "store.fsync": False, "store.shard_frames": 8}, "test")
IMAGES = [np.zeros_like(image) if k in {9, 17} else image for k, image in enumerate(discs(FRAMES))]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agreement")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("insitu.models.load", lambda *_, **__: Stub())
        (folder / "images").mkdir()
        with tifffile.TiffWriter(folder / "movie.tif") as writer:
            for k, image in enumerate(IMAGES):
                writer.write(image, contiguous=False, metadata=None)
                tifffile.imwrite(folder / "images" / f"f{k}.tif", image)
        process(folder / "movie.tif", folder / "whole", BASE)
        yield folder


def in_pieces(source, out, options, stops):
    """Analyse as far as each stop, then to the end."""
    for at in [*stops, None]:
        stop = threading.Event()

        def look(progress, at=at, stop=stop):
            if at is not None and progress.done >= at:
                stop.set()

        process(source, out, options, progress=look, stop=stop, resume=True)


WAYS = {
    "stops": st.lists(st.integers(1, FRAMES - 1), max_size=3).map(sorted),
    "unit": st.integers(1, 40),
    "prefetch": st.integers(1, 12),
}


def agree(place, stops, unit, prefetch, *, folder=False):
    options = BASE.replace({"store.unit_frames": unit, "read.prefetch_frames": prefetch}, "test")
    out = place / "out"
    shutil.rmtree(out, ignore_errors=True)
    in_pieces(place / ("images" if folder else "movie.tif"), out, options, stops)
    whole, now = digest(place / "whole"), digest(out)
    if folder:  # its frames have other names
        whole.pop("frames.parquet"), now.pop("frames.parquet")
    assert now == whole


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(**WAYS)
def test_any_stops_units_and_prefetch(place, stops, unit, prefetch):
    agree(place, stops, unit, prefetch)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(**WAYS, folder=st.booleans())
def test_two_hundred_ways(place, stops, unit, prefetch, folder):
    agree(place, stops, unit, prefetch, folder=folder)


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_batches_change_nothing_but_the_record_of_them(place, batch):
    out = place / "batch"
    process(place / "movie.tif", out, BASE.replace({"segment.batch": batch}, "test"), overwrite=True)
    assert digest(out) == digest(place / "whole")


def test_shards_change_the_files_of_the_labels_and_not_the_labels(place):
    import insitu

    whole = np.asarray(insitu.open(place / "whole").labels[:])
    for shard in (1, 5, 64):
        out = place / "shard"
        process(place / "movie.tif", out, BASE.replace({"store.shard_frames": shard}, "test"), overwrite=True)
        np.testing.assert_array_equal(np.asarray(insitu.open(out).labels[:]), whole)
        tables = {k: v for k, v in digest(out).items() if k.endswith(".parquet")}
        assert tables == {k: v for k, v in digest(place / "whole").items() if k.endswith(".parquet")}
