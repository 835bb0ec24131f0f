from __future__ import annotations

import h5py
import numpy as np
import pytest
from mutations import mutations, outcome

from insitu.errors import BadFrame, InputError
from insitu.read import open_source
from insitu.read.hdf5 import Hdf5Reader
from insitu.testing import check_reader

FRAMES = np.random.default_rng(0).integers(0, 60000, (5, 6, 7), dtype=np.uint16)


def write(path, attributes=None, **datasets):
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file.create_dataset(name.replace("__", "/"), data=data)
            file[name.replace("__", "/")].attrs.update(attributes or {})
    return path


def refused(source) -> InputError:
    with pytest.raises(InputError) as caught:
        open_source(source)
    assert len(str(caught.value).splitlines()) == 2
    return caught.value


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "f4", ">f8", "?", "i4"])
def test_the_only_stack_is_the_movie(tmp_path, dtype):
    path = write(tmp_path / "m.h5", entry__data=FRAMES.astype(dtype), dark=FRAMES[0], times=np.arange(5.0), name="text")
    assert (np.array(check_reader(path)) == FRAMES.astype(dtype)).all()
    assert open_source(path).header(0).source == "/entry/data"


def test_a_single_image(tmp_path):
    assert (check_reader(write(tmp_path / "m.h5", image=FRAMES[0]))[0] == FRAMES[0]).all()


@pytest.mark.parametrize("shape", [(5, 1, 6, 7), (1, 5, 6, 7), (1, 1, 5, 6, 7)])
def test_axes_of_length_one(tmp_path, shape):
    path = write(tmp_path / "m.h5", data=FRAMES.reshape(shape))
    assert (np.array(check_reader(path)) == FRAMES).all()


def test_several_stacks_are_named_in_the_hint_and_each_can_be_chosen(tmp_path):
    path = write(tmp_path / "m.h5", raw__images=FRAMES, filtered=FRAMES + 1)
    error = refused(path)
    assert "2 datasets" in error.message
    assert f"'{path}::/filtered'" in error.hint
    assert f"'{path}::/raw/images'" in error.hint
    assert (np.array(check_reader(f"{path}::/filtered")) == FRAMES + 1).all()
    assert (np.array(check_reader(f"{path}::raw/images")) == FRAMES).all()
    missing = refused(f"{path}::/nothing")
    assert "no dataset '/nothing'" in missing.message
    assert "::/filtered" in missing.hint


def test_nothing_that_could_be_a_movie(tmp_path):
    assert "no dataset" in refused(write(tmp_path / "m.h5", t=np.arange(5))).message
    refused(f"{write(tmp_path / 'n.h5', four=np.zeros((2, 3, 4, 5)))}::/four")


def test_calibration_from_attributes(tmp_path):
    path = write(tmp_path / "m.h5", {"nm_per_px": 0.2, "fps": 25.0}, data=FRAMES)
    found = open_source(path).info.calibration
    assert (found.nm_per_px, found.s_per_frame) == (0.2, 0.04)
    assert found.nm_source == "HDF5 attribute nm_per_px"
    path = write(tmp_path / "m.h5", {"element_size_um": [1.0, 0.0002, 0.0002]}, data=FRAMES)
    assert open_source(path).info.calibration.nm_per_px == pytest.approx(0.2)
    path = write(tmp_path / "m.h5", {"nm_per_px": "small", "fps": -1.0}, data=FRAMES)
    assert open_source(path).info.calibration.nm_per_px is None
    assert open_source(path).info.calibration.s_per_frame is None


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_compressed_chunks_and_a_damaged_one(tmp_path, compression):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("m", data=FRAMES, chunks=(1, 6, 7), compression=compression, fletcher32=True)
        offset = data.id.get_chunk_info(2).byte_offset
    assert (np.array(check_reader(path)) == FRAMES).all()
    content = bytearray(path.read_bytes())
    content[offset + 4] ^= 0xFF
    path.write_bytes(content)
    got = check_reader(path)
    assert got[2] == "unreadable"
    assert (np.array([got[k] for k in (0, 1, 3, 4)]) == FRAMES[[0, 1, 3, 4]]).all()


def test_a_chunk_too_large_to_decode_is_refused(tmp_path):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("m", shape=(40, 16000, 16000), chunks=(10, 16000, 16000), dtype="u1", compression="gzip")
    assert "chunks" in refused(path).message


def test_a_missing_compression_plug_in_is_named_at_once(tmp_path):
    path = tmp_path / "m.h5"
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((1, 6, 7))
    plan.set_filter(32008, h5py.h5z.FLAG_OPTIONAL, (0, 2))
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple((5, 6, 7))
        h5py.h5d.create(file.id, b"m", h5py.h5t.NATIVE_UINT16, space, dcpl=plan)
    if h5py.h5z.filter_avail(32008):
        pytest.skip("bitshuffle is installed here")
    assert "bitshuffle" in refused(path).message


def test_a_file_cut_short(tmp_path):
    path = write(tmp_path / "m.h5", data=FRAMES)
    path.write_bytes(path.read_bytes()[:-200])
    assert "not a readable HDF5 file" in refused(path).message


def test_a_frame_after_closing_is_a_bad_frame_not_a_crash(tmp_path):
    reader = open_source(write(tmp_path / "m.h5", data=FRAMES))
    reader.close()
    with pytest.raises((BadFrame, ValueError)):
        reader.read_into(0, np.empty((6, 7), np.uint16))


def test_random_damage(tmp_path):
    path = write(tmp_path / "m.h5", data=FRAMES)
    seen = set()
    for damaged in mutations(path.read_bytes(), 150, head=2048):
        path.write_bytes(damaged)
        seen.add(outcome(Hdf5Reader, path))
    assert seen <= {"frames", "bad frames", "refused"}
    assert {"frames", "refused"} <= seen
