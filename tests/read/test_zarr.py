from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

from insitu.errors import CalibrationError, InputError
from insitu.read import calibrated, open_source
from insitu.testing import check_reader

FRAMES = np.random.default_rng(0).integers(0, 60000, (5, 6, 7), dtype=np.uint16)
AXES = [
    {"name": "t", "type": "time", "unit": "second"},
    {"name": "y", "type": "space", "unit": "nanometer"},
    {"name": "x", "type": "space", "unit": "nanometer"},
]


def refused(source) -> InputError:
    with pytest.raises(InputError) as caught:
        open_source(source)
    assert len(str(caught.value).splitlines()) == 2
    return caught.value


def ome(path, data=FRAMES, axes=AXES, scale=(0.04, 0.2, 0.2), *, version="0.5", overall=None):
    """An OME-Zarr image with two levels, written with zarr alone."""
    image = {
        "axes": axes,
        "datasets": [
            {"path": f"s{k}", "coordinateTransformations": [{"type": "scale", "scale": list(scale)}]} for k in range(2)
        ],
    }
    if overall:
        image["coordinateTransformations"] = [{"type": "scale", "scale": list(overall)}]
    attributes = {"ome": {"version": "0.5", "multiscales": [image]}} if version == "0.5" else {"multiscales": [image]}
    group = zarr.create_group(path, zarr_format=3 if version == "0.5" else 2, attributes=attributes)
    for k in range(2):
        level = data[..., :: k + 1, :: k + 1]
        group.create_array(f"s{k}", data=level, chunks=(*(1,) * (data.ndim - 2), *level.shape[-2:]))
    return path


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "f4", "bool"])
def test_plain_arrays(tmp_path, version, dtype):
    array = zarr.create_array(tmp_path / "m.zarr", data=FRAMES.astype(dtype), chunks=(1, 6, 7), zarr_format=version)
    got = np.array(check_reader(tmp_path / "m.zarr"))
    assert (got == array[:]).all()
    assert got.dtype.isnative
    assert open_source(tmp_path / "m.zarr").info.calibration.nm_per_px is None


def test_sharded_and_odd_chunks(tmp_path):
    zarr.create_array(tmp_path / "s.zarr", data=FRAMES, chunks=(1, 6, 7), shards=(4, 6, 7))
    assert (np.array(check_reader(tmp_path / "s.zarr")) == FRAMES).all()
    zarr.create_array(tmp_path / "o.zarr", data=FRAMES, chunks=(3, 4, 4))
    assert (np.array(check_reader(tmp_path / "o.zarr")) == FRAMES).all()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_reads_the_full_resolution_with_its_scale(tmp_path, version):
    path = ome(tmp_path / "m.zarr", version=version)
    assert (np.array(check_reader(path)) == FRAMES).all()
    info = open_source(path).info
    assert info.format == "OME-Zarr"
    assert info.calibration.nm_per_px == pytest.approx(0.2)
    assert info.calibration.s_per_frame == pytest.approx(0.04)
    assert info.calibration.nm_source == info.calibration.s_source == "OME-Zarr scale"


def test_scales_multiply(tmp_path):
    found = open_source(ome(tmp_path / "m.zarr", scale=(1, 0.5, 0.5), overall=(0.1, 0.4, 0.4))).info.calibration
    assert found.nm_per_px == pytest.approx(0.2)
    assert found.s_per_frame == pytest.approx(0.1)


def test_a_scale_without_a_unit_is_unknown(tmp_path):
    found = open_source(ome(tmp_path / "m.zarr", axes=[{"name": a["name"]} for a in AXES])).info.calibration
    assert found.nm_per_px is None
    assert found.s_per_frame is None
    assert found.nm_source == "unknown"


def test_other_units_and_pixels_that_are_not_square(tmp_path):
    axes = [AXES[0], {**AXES[1], "unit": "micrometer"}, {**AXES[2], "unit": "angstrom"}]
    info = open_source(ome(tmp_path / "m.zarr", axes=axes, scale=(1, 0.0002, 2.0))).info
    assert calibrated(info).nm_per_px == pytest.approx(0.2)
    info = open_source(ome(tmp_path / "n.zarr", scale=(1, 0.3, 0.2))).info
    with pytest.raises(CalibrationError, match="along y"):
        calibrated(info)


@pytest.mark.parametrize(
    ("names", "shape", "note"),
    [
        ("tcyx", (5, 1, 6, 7), ""),
        ("tczyx", (5, 1, 1, 6, 7), ""),
        ("zyx", (5, 6, 7), "axis z read as time"),
        ("cyx", (5, 6, 7), "axis c read as time"),
    ],
)
def test_axes_of_length_one_and_other_names(tmp_path, names, shape, note):
    axes = [{"name": n} for n in names]
    path = ome(tmp_path / "m.zarr", FRAMES.reshape(shape), axes, (1,) * len(names))
    assert (np.array(check_reader(path)) == FRAMES).all()
    assert note in "".join(open_source(path).info.notes)


def test_the_first_of_several_channels(tmp_path):
    two = np.stack([FRAMES, FRAMES + 1], axis=1)
    path = ome(tmp_path / "m.zarr", two, [{"name": n} for n in "tcyx"], (1,) * 4)
    assert (np.array(check_reader(path)) == FRAMES).all()
    assert "2 channels: the first is used" in open_source(path).info.notes


def test_what_is_not_one_movie(tmp_path):
    many = np.zeros((2, 3, 4, 5), np.uint8)
    assert "not one movie" in refused(ome(tmp_path / "m.zarr", many, [{"name": n} for n in "tzyx"], (1,) * 4)).message
    assert "axes" in refused(ome(tmp_path / "n.zarr", FRAMES, [{"name": n} for n in "yxt"], (1,) * 3)).message
    zarr.create_array(tmp_path / "v.zarr", data=np.zeros(5))
    refused(tmp_path / "v.zarr")


def test_a_group_of_arrays_names_them(tmp_path):
    group = zarr.create_group(tmp_path / "g.zarr")
    group.create_array("one", data=FRAMES)
    assert (np.array(check_reader(tmp_path / "g.zarr")) == FRAMES).all()
    group.create_array("two", data=FRAMES + 1)
    assert f"'{tmp_path / 'g.zarr'}::two'" in refused(tmp_path / "g.zarr").hint
    assert (np.array(check_reader(f"{tmp_path / 'g.zarr'}::two")) == FRAMES + 1).all()
    refused(f"{tmp_path / 'g.zarr'}::three")


@pytest.mark.parametrize("member", ["../other.zarr", "one/../../other.zarr"])
def test_a_member_cannot_lead_out_of_the_store(tmp_path, member):
    zarr.create_group(tmp_path / "g.zarr").create_array("one", data=FRAMES)
    zarr.create_array(tmp_path / "other.zarr", data=FRAMES)
    assert "leads out of the store" in refused(f"{tmp_path / 'g.zarr'}::{member}").message


def test_a_level_cannot_lead_out_of_the_store(tmp_path):
    zarr.create_array(tmp_path / "other.zarr", data=FRAMES)
    path = ome(tmp_path / "g.zarr")
    text = (path / "zarr.json").read_text().replace('"s0"', '"../other.zarr"')
    (path / "zarr.json").write_text(text)
    assert "outside the store" in refused(path).message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": [10, 400_000, 400_000]}, "claims frames"),
        ({"shape": [-1, 6, 7]}, "shape"),
        ({"shape": "many"}, "shape"),
        ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 400_000, 400_000]}}}, "chunks"),
        ({"data_type": "nonsense"}, "no readable zarr array"),
        ({"codecs": [{"name": "nonsense"}]}, "no readable zarr array"),
    ],
)
def test_hostile_metadata(tmp_path, change, said):
    zarr.create_array(tmp_path / "m.zarr", data=FRAMES, chunks=(1, 6, 7))
    file = tmp_path / "m.zarr" / "zarr.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    assert said in refused(tmp_path / "m.zarr").message


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a":' * 20000 + "1" + "}" * 20000])
def test_metadata_that_are_no_json_object(tmp_path, text):
    zarr.create_array(tmp_path / "m.zarr", data=FRAMES)
    (tmp_path / "m.zarr" / "zarr.json").write_text(text)
    assert "zarr" in refused(tmp_path / "m.zarr").message


def test_a_damaged_chunk_is_one_bad_frame(tmp_path):
    zarr.create_array(tmp_path / "m.zarr", data=FRAMES, chunks=(1, 6, 7))
    (tmp_path / "m.zarr" / "c" / "2" / "0" / "0").write_bytes(b"damaged")
    got = check_reader(tmp_path / "m.zarr")
    assert got[2] == "unreadable"
    assert (np.array([got[k] for k in (0, 1, 3, 4)]) == FRAMES[[0, 1, 3, 4]]).all()


def test_a_chunk_that_was_never_written_is_the_fill_value(tmp_path):
    zarr.create_array(tmp_path / "m.zarr", data=FRAMES, chunks=(1, 6, 7))
    (tmp_path / "m.zarr" / "c" / "2" / "0" / "0").unlink()
    assert (check_reader(tmp_path / "m.zarr")[2] == 0).all()
