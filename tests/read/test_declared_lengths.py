"""Containers that declare more than they hold, or what may not be decoded, are refused before anything is read."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import zarr

from insitu.errors import InputError
from insitu.read import frames, hdf5, open_source
from insitu.read import zarr as zarr_reader

FRAMES = np.random.default_rng(0).integers(1, 60000, (5, 6, 7), dtype=np.uint16)


def refused(path):
    with pytest.raises(InputError) as caught:
        open_source(path)
    assert len(str(caught.value).splitlines()) == 2
    return caught.value.message


def store(path, frames=5):
    array = zarr.create_array(str(path), shape=(frames, 6, 7), chunks=(1, 6, 7), dtype="uint16", zarr_format=3)
    array[:2] = FRAMES[:2]
    return path


def test_a_zarr_array_of_a_million_frames_with_two_written(tmp_path):
    assert "declares 1000000 frames, but its 3 files hold at most 3" in refused(store(tmp_path / "m.zarr", 1_000_000))
    assert open_source(store(tmp_path / "n.zarr", 1010)).info.n_frames == 1010  # left out on purpose, that may be


def test_zarr_chunks_that_are_pickles(tmp_path):
    path = store(tmp_path / "m.zarr") / "zarr.json"
    metadata = json.loads(path.read_text())
    metadata["codecs"].append({"name": "numcodecs.pickle", "configuration": {}})
    path.write_text(json.dumps(metadata))
    assert "stores its chunks as pickles" in refused(path.parent)


def test_zarr_metadata_larger_than_any(tmp_path, monkeypatch):
    monkeypatch.setattr(zarr_reader, "_MAX_METADATA_BYTES", 100)
    assert "zarr.json has" in refused(store(tmp_path / "m.zarr"))


def test_zarr_metadata_that_is_no_object(tmp_path):
    (store(tmp_path / "m.zarr") / "zarr.json").write_text("[1, 2]")
    assert "holds no JSON object" in refused(tmp_path / "m.zarr")


def test_an_hdf5_movie_of_a_million_frames_with_two_written(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        data = file.create_dataset("movie", (1_000_000, 6, 7), "u2", chunks=(1, 6, 7))
        data[:2] = FRAMES[:2]
    assert "declares 1000000 frames, but holds at most 2" in refused(tmp_path / "m.h5")


def test_an_hdf5_movie_without_chunks_that_was_written(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["movie"] = np.zeros((1500, 3, 4), np.uint8)
    assert open_source(tmp_path / "m.h5").info.n_frames == 1500


def test_an_hdf5_filter_that_is_not_there(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("movie", data=FRAMES, chunks=(1, 6, 7), compression="gzip")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda _code: False)
    with h5py.File(tmp_path / "m.h5") as file, pytest.raises(InputError, match="which h5py cannot read") as caught:
        hdf5._check_filters(file["movie"], "m.h5")
    assert "save it again with gzip or lzf" in caught.value.hint


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([1, 1, 1, 1, 1, 1], ()),  # written to the end
        ([1, 1, 1, 0, 0, 0], ("zero tail",)),
        ([0, 0, 0, 0, 0, 0], ()),  # `judge` says that
        ([1, 0, 1, 1, 0, 0], ()),  # such rows are elsewhere, too
        ([0, 0, 1, 1, 0, 0], ()),
        ([1, 1, 1, 1, 1, 0], ()),
    ],
)
def test_a_tail_of_zeros(rows, told):
    assert frames.remarks(np.array(rows, np.uint8)[:, None] * np.ones((1, 4), np.uint8)) == told
