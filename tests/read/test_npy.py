from __future__ import annotations

import json

import numpy as np
import pytest
from mutations import mutations, outcome

from insitu.errors import BadFrame, InputError
from insitu.read import open_source
from insitu.read.npy import NpyReader
from insitu.read.raw import RawReader
from insitu.testing import check_reader

FRAMES = np.random.default_rng(0).integers(0, 60000, (5, 6, 7), dtype=np.uint16)


def refused(path) -> str:
    with pytest.raises(InputError) as caught:
        open_source(path)
    assert len(str(caught.value).splitlines()) == 2
    return str(caught.value)


# ---- npy -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<f4", ">f8", "?", "i1"])
def test_npy_stacks(tmp_path, dtype):
    frames = FRAMES.astype(dtype)
    np.save(tmp_path / "m.npy", frames)
    got = np.array(check_reader(tmp_path / "m.npy"))
    assert (got == np.load(tmp_path / "m.npy")).all()
    assert got.dtype.isnative


@pytest.mark.parametrize("order", ["C", "F"])
def test_one_image_in_either_order(tmp_path, order):
    np.save(tmp_path / "m.npy", np.array(FRAMES[0], order=order))
    assert (check_reader(tmp_path / "m.npy")[0] == FRAMES[0]).all()


def test_a_fortran_ordered_stack_is_refused_with_the_remedy(tmp_path):
    np.save(tmp_path / "m.npy", np.asfortranarray(FRAMES))
    assert "ascontiguousarray" in refused(tmp_path / "m.npy")


def test_objects_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    np.save(tmp_path / "m.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    refused(tmp_path / "m.npy")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("array", [np.zeros(5), np.zeros((2, 2, 2, 2)), np.zeros((3, 4), complex), np.zeros((0, 4, 4))])
def test_what_is_no_movie(tmp_path, array):
    np.save(tmp_path / "m.npy", array)
    refused(tmp_path / "m.npy")


def test_npy_cut_short(tmp_path):
    np.save(tmp_path / "m.npy", FRAMES)
    path = tmp_path / "m.npy"
    path.write_bytes(path.read_bytes()[:-1])
    reader = open_source(path)
    assert any("5 frames declared, 4 complete" in note for note in reader.info.notes)
    with pytest.raises(BadFrame, match="truncated"):
        reader.read_into(4, np.empty((6, 7), np.uint16))


def test_npy_random_damage(tmp_path):
    path = tmp_path / "m.npy"
    np.save(path, FRAMES)
    seen = set()
    for damaged in mutations(path.read_bytes(), 300, head=128):
        path.write_bytes(damaged)
        seen.add(outcome(NpyReader, path))
    assert seen <= {"frames", "bad frames", "refused"}
    assert {"frames", "refused"} <= seen


# ---- raw -------------------------------------------------------------------------------------------------------------


def write_raw(tmp_path, data, **fields):
    (tmp_path / "m.raw").write_bytes(data)
    (tmp_path / "m.json").write_text(json.dumps(fields))
    return tmp_path / "m.raw"


@pytest.mark.parametrize(
    ("stored", "fields"),
    [
        ("<u2", {"dtype": "uint16"}),
        (">u2", {"dtype": "uint16", "byteorder": "big"}),
        (">u2", {"dtype": ">u2"}),
        ("<f4", {"dtype": "float32", "n_frames": 5}),
        ("u1", {"dtype": "uint8"}),
    ],
)
def test_raw_with_its_sidecar(tmp_path, stored, fields):
    frames = (FRAMES % 256).astype(stored)
    path = write_raw(tmp_path, frames.tobytes(), shape=[6, 7], **fields)
    assert (np.array(check_reader(path)) == frames).all()


def test_raw_offset_gap_and_calibration(tmp_path):
    data = b"x" * 100 + b"".join(f.tobytes() + b"gap!" for f in FRAMES)
    path = write_raw(tmp_path, data, shape=[5, 6, 7], dtype="uint16", offset=100, gap=4, nm_per_px=0.2, fps=400)
    assert (np.array(check_reader(path)) == FRAMES).all()
    calibration = open_source(path).info.calibration
    assert calibration.nm_per_px == 0.2
    assert calibration.s_per_frame == pytest.approx(0.0025)
    assert calibration.nm_source == calibration.s_source == "sidecar m.json"
    path.write_bytes(data[:-4])  # no gap behind the last frame
    assert (np.array(check_reader(path)) == FRAMES).all()


def test_raw_cut_short(tmp_path):
    path = write_raw(tmp_path, FRAMES.tobytes()[:-10], shape=[6, 7], dtype="uint16")
    reader = open_source(path)
    assert reader.info.n_frames == 5
    with pytest.raises(BadFrame, match="truncated"):
        reader.read_into(4, np.empty((6, 7), np.uint16))
    path = write_raw(tmp_path, FRAMES.tobytes()[:-90], shape=[5, 6, 7], dtype="uint16")
    assert any("5 frames declared, 3 complete" in note for note in open_source(path).info.notes)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"dtype": "uint16"}, "shape None"),
        ({"shape": [6, 7]}, "dtype None"),
        ({"shape": [6, 7], "dtype": "object"}, "dtype object"),
        ({"shape": [6, 7], "dtype": "uint16", "byteorder": "middle"}, "byteorder middle"),
        ({"shape": [6, 0], "dtype": "uint16"}, "shape"),
        ({"shape": [6, 7.5], "dtype": "uint16"}, "shape"),
        ({"shape": [6, True], "dtype": "uint16"}, "shape"),
        ({"shape": [3, 6, 7], "dtype": "uint16", "n_frames": 5}, "n_frames"),
        ({"shape": [6, 7], "dtype": "uint16", "offset": -1}, "offset is -1"),
        ({"shape": [6, 7], "dtype": "uint16", "nm_per_px": "small"}, "nm_per_px is small"),
        ({"shape": [6, 7], "dtype": "uint16", "fps": 0}, "fps is 0"),
        ({"shape": [6, 7], "dtype": "uint16", "nm_per_pixel": 0.2}, "did you mean 'nm_per_px'"),
        ({"shape": [600, 700], "dtype": "uint16"}, "one frame"),
        ({"shape": [4_000_000_000, 4_000_000_000], "dtype": "uint8"}, "claims frames"),
    ],
)
def test_sidecars_that_do_not_fit(tmp_path, fields, said):
    assert said in refused(write_raw(tmp_path, FRAMES.tobytes(), **fields))


@pytest.mark.parametrize("text", ["", "{", "[]", "nonsense", "[" * 100_000])
def test_sidecars_that_are_no_json_object(tmp_path, text):
    path = write_raw(tmp_path, FRAMES.tobytes())
    (tmp_path / "m.json").write_text(text)
    assert "m.json" in refused(path)


def test_raw_without_a_sidecar_names_the_file_to_write(tmp_path):
    (tmp_path / "m.raw").write_bytes(FRAMES.tobytes())
    assert "no sidecar m.json" in refused(tmp_path / "m.raw")


def test_sidecar_random_damage(tmp_path):
    path = write_raw(tmp_path, FRAMES.tobytes(), shape=[6, 7], dtype="uint16", offset=0, n_frames=5, fps=4.0)
    sidecar = tmp_path / "m.json"
    seen = set()
    for damaged in mutations(sidecar.read_bytes(), 300):
        sidecar.write_bytes(damaged)
        seen.add(outcome(RawReader, path))
    assert seen <= {"frames", "bad frames", "refused"}
    assert "refused" in seen


def test_a_file_of_empty_texts_is_refused(tmp_path):
    np.save(tmp_path / "m.npy", np.zeros((2, 7), "<U0"))
    head = (tmp_path / "m.npy").read_bytes().replace(b"<U1", b"<U0")
    (tmp_path / "m.npy").write_bytes(head)
    with pytest.raises(InputError):
        open_source(tmp_path / "m.npy")
