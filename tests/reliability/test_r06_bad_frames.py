"""Frames that cannot be used, or not be trusted: each a row with its reason; and movies that change on the way."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

import insitu
from benchmarks.soak.world import discs
from insitu.errors import InputError
from insitu.pipeline import process
from insitu.settings import Settings

SETTINGS = Settings().replace({"segment.model": "classical", "store.fsync": False}, "test")
GOOD = list(discs(12))


def cut(path, image):
    tifffile.imwrite(path, image)
    path.write_bytes(path.read_bytes()[:-700])


def zero_tail(path, image):
    """A file made at its full size, of which the second half was never written."""
    tifffile.imwrite(path, image)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


def flipped(path, image):
    tifffile.imwrite(path, image, compression="zlib")  # carries a checksum
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def written(array):
    return lambda path, _: tifffile.imwrite(path, array)


DAMAGE = {
    "cut": (cut, "bad", "truncated"),
    "zero tail": (zero_tail, "ok", "zero tail"),
    "flipped": (flipped, "bad", "unreadable"),
    "all zero": (written(np.zeros_like(GOOD[0])), "bad", "all zero"),
    "constant": (written(np.full_like(GOOD[0], 7)), "bad", "constant"),
    "other shape": (written(np.ones((40, 48), np.uint8)), "bad", "shape changed"),
    "other dtype": (written(GOOD[0].astype(np.uint16)), "bad", "dtype changed"),
    "empty": (lambda path, _: path.write_bytes(b""), "bad", "unreadable"),
}


@pytest.fixture
def movie(tmp_path):
    """A folder in which each kind of damage befell one frame; the first and the last are sound."""
    folder = tmp_path / "movie"
    folder.mkdir()
    for k, image in enumerate(GOOD):
        tifffile.imwrite(folder / f"f_{k:03}.tif", image)
    for k, (damage, _, _) in enumerate(DAMAGE.values(), 2):
        damage(folder / f"f_{k:03}.tif", GOOD[k])
    return folder


def test_every_damage_is_a_row_with_its_reason(movie, tmp_path, stub):
    summary = process(movie, tmp_path / "out", SETTINGS)
    frames = insitu.open(tmp_path / "out").frames.to_pandas()
    assert frames["frame"].tolist() == list(range(12))
    found = {name: (frames["status"][k], list(frames["flags"][k])) for k, name in enumerate(DAMAGE, 2)}
    assert found == {name: (status, [flag]) for name, (_, status, flag) in DAMAGE.items()}
    assert frames["status"][[0, 1, 10, 11]].tolist() == ["ok"] * 4
    assert not any(len(flags) for flags in frames["flags"][[0, 1, 10, 11]])
    assert (summary.exit_code, summary.bad) == (5, sum(status == "bad" for _, status, _ in DAMAGE.values()))


def test_on_bad_stop_names_the_first_of_them(movie, tmp_path, stub):
    with pytest.raises(InputError, match=r"frame 2 .*truncated"):
        process(movie, tmp_path / "out", SETTINGS.replace({"read.on_bad": "stop"}, "test"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_pixel_that_is_no_number_spoils_its_frame_only(value, tmp_path, stub):
    images = [image.astype(np.float32) for image in GOOD[:4]]
    images[2][5, 6] = value
    process(images, tmp_path / "out", SETTINGS)
    frames = insitu.open(tmp_path / "out").frames.to_pandas()
    assert frames["status"].tolist() == ["ok", "ok", "bad", "ok"]
    assert list(frames["flags"][2]) == ["not finite"]


def test_dark_rows_that_belong_to_the_picture_are_no_zero_tail(tmp_path, stub):
    # counting detectors leave rows without an electron; a blanked row anywhere makes one at the end nothing special
    sparse = [np.random.default_rng(k).binomial(1, 0.02, (48, 48)).astype(np.uint8) for k in range(4)]
    for image in sparse:
        image[10:14] = 0
        image[-1] = 0
    process(sparse, tmp_path / "out", SETTINGS)
    assert not any(len(flags) for flags in insitu.open(tmp_path / "out").frames.to_pandas()["flags"])
