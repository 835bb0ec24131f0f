"""Label arrays: the bytes zarr-python would write, metadata OME-Zarr readers understand, the right place in space."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import zarr
from store_cases import SHAPE, UNKNOWN, analyse, image, info, runs_of
from zarr.codecs import ZstdCodec

from insitu.store.disk import Disk
from insitu.store.labels import LabelStack, array_metadata, crc32c, group_metadata, plane_shape
from insitu.types import Calibration


def stack(tmp_path, planes, shard=8, **where):
    run = info(tmp_path / "run", **where)
    run.out.mkdir()
    labels = LabelStack(run, shard, Disk(fsync=False))
    labels.write_metadata()
    for plane in planes:
        labels.add(None if plane is None else runs_of(plane))
    labels.write_shards(last=True)
    return run.out / "labels.ome.zarr"


def by_zarr(path, planes, shard=8):
    array = zarr.create_array(
        path, shape=(len(planes), *SHAPE), shards=(shard, *SHAPE), chunks=(1, *SHAPE), dtype="uint16", fill_value=0,
        compressors=[ZstdCodec(level=1, checksum=True)], dimension_names=["t", "y", "x"],
        config={"write_empty_chunks": True},
    )  # fmt: skip
    array[:] = np.stack(planes)
    return path


@pytest.mark.parametrize("count", [8, 16])
def test_shards_have_the_bytes_that_zarr_writes(tmp_path, count):
    planes = [image(k) for k in range(count)]
    own = stack(tmp_path, planes) / "0"
    other = by_zarr(tmp_path / "zarr", planes)
    for shard in range(count // 8):
        name = f"c/{shard}/0/0"
        assert (own / name).read_bytes() == (other / name).read_bytes()
    assert json.loads((own / "zarr.json").read_text()) == json.loads((other / "zarr.json").read_text())


def test_partial_last_shard_reads_back(tmp_path):
    planes = [image(k) for k in range(19)]
    array = zarr.open_array(stack(tmp_path, planes) / "0", mode="r")
    assert array.shape == (19, *SHAPE)
    assert array.dtype == np.uint16
    assert np.array_equal(array[:], np.stack(planes))
    assert np.array_equal(array[17, 3:9], planes[17][3:9])


def test_planes_of_unusable_frames_are_zero(tmp_path):
    array = zarr.open_array(stack(tmp_path, [image(0), None, image(2), image(3, density=0)]) / "0", mode="r")
    assert np.array_equal(array[0], image(0))
    assert not array[1].any()
    assert np.array_equal(array[2], image(2))
    assert not array[3].any()


def test_largest_label_survives(tmp_path):
    plane = np.zeros(SHAPE, np.uint16)
    plane[4, 5:9] = 65_535
    assert np.array_equal(zarr.open_array(stack(tmp_path, [plane]) / "0", mode="r")[0], plane)


def test_damaged_plane_is_noticed_on_reading(tmp_path):
    path = stack(tmp_path, [image(k) for k in range(8)]) / "0"
    shard = path / "c/0/0/0"
    data = bytearray(shard.read_bytes())
    data[-3] ^= 1
    shard.write_bytes(data)
    with pytest.raises(Exception, match=r"(?i)checksum|crc"):
        zarr.open_array(path, mode="r")[0]


def test_crc32c_of_the_standard_vector():
    google_crc32c = pytest.importorskip("google_crc32c")
    assert crc32c(b"123456789") == 0xE3069283
    data = np.random.default_rng(0).bytes(1024)
    assert crc32c(data) == google_crc32c.value(data)


def multiscale(run):
    return group_metadata(run)["attributes"]["ome"]["multiscales"][0]


def transformations(run):
    scale, translation = multiscale(run)["datasets"][0]["coordinateTransformations"]
    return scale["scale"], translation["translation"]


def test_calibrated_axes_have_units_and_scale(tmp_path):
    run = info(tmp_path, calibration=Calibration(0.2, "test", 0.0025, "test"))
    axes = multiscale(run)["axes"]
    assert [(a["name"], a["type"], a["unit"]) for a in axes] == [
        ("t", "time", "second"), ("y", "space", "nanometer"), ("x", "space", "nanometer"),
    ]  # fmt: skip
    assert transformations(run) == ([0.0025, 0.2, 0.2], [0, 0, 0])
    assert "calibration" not in group_metadata(run)["attributes"]


def test_unknown_calibration_is_scale_one_without_a_unit(tmp_path):
    run = info(tmp_path, calibration=UNKNOWN)
    assert all("unit" not in axis for axis in multiscale(run)["axes"])
    assert transformations(run) == ([1, 1, 1], [0, 0, 0])
    attributes = group_metadata(run)["attributes"]
    assert (attributes["calibration"], attributes["time_calibration"]) == ("unknown", "unknown")


def test_known_pixel_size_with_unknown_frame_time(tmp_path):
    run = info(tmp_path, calibration=Calibration(nm_per_px=0.5))
    assert [axis.get("unit") for axis in multiscale(run)["axes"]] == [None, "nanometer", "nanometer"]
    attributes = group_metadata(run)["attributes"]
    assert "calibration" not in attributes
    assert attributes["time_calibration"] == "unknown"


def test_crop_and_binning_put_planes_where_the_camera_pixels_are(tmp_path):
    run = info(tmp_path, calibration=UNKNOWN, binned=4, origin=(10, 20), first=6, step=3)
    assert plane_shape(run) == SHAPE
    scale, translation = transformations(run)
    assert scale == [3, 4, 4]
    # camera coordinate of the binned pixel p: (p + 0.5)·bin − 0.5 + origin
    p = np.array([0, 7])
    assert np.array_equal(translation[1] + scale[1] * p, (p + 0.5) * 4 - 0.5 + 10)
    assert np.array_equal(translation[2] + scale[2] * p, (p + 0.5) * 4 - 0.5 + 20)
    assert translation[0] == 6


def test_region_that_is_no_multiple_of_the_bin_is_cut(tmp_path):
    run = dataclasses.replace(info(tmp_path, binned=4), region=(195, 258))
    assert plane_shape(run) == (48, 64)


@pytest.mark.parametrize("calibration", [UNKNOWN, Calibration(0.2, "test", 0.0025, "test")])
def test_ome_zarr_models_accept_the_group(tmp_path, calibration):
    from ome_zarr_models.v05.image_label import ImageLabel

    path = stack(tmp_path, [image(0)], calibration=calibration)
    label = ImageLabel.from_zarr(zarr.open_group(path, mode="r"))
    assert label.ome_attributes.version == "0.5"
    assert [axis.name for axis in label.ome_attributes.multiscales[0].axes] == ["t", "y", "x"]


def test_array_metadata_is_what_zarr_understands():
    metadata = array_metadata((5, 6, 7), 4)
    assert metadata["shape"] == [5, 6, 7]
    assert metadata["chunk_grid"]["configuration"]["chunk_shape"] == [4, 6, 7]


def test_whole_run_grows_by_whole_shards(tmp_path):
    run = info(tmp_path / "run", frames=200)
    analyse(run, frames=200, unit=10, shard=64, fsync=False, stop=150)
    array = zarr.open_array(run.out / "labels.ome.zarr/0", mode="r")
    assert array.shape[0] == 128
    assert sorted(p.name for p in (run.out / "labels.ome.zarr/0/c").iterdir()) == ["0", "1"]
    analyse(run, frames=200, unit=10, shard=64, fsync=False, resume=True)
    assert zarr.open_array(run.out / "labels.ome.zarr/0", mode="r").shape[0] == 200
