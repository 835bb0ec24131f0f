from __future__ import annotations

import zlib

import imagecodecs
import numpy as np
import pytest
from mutations import mutations, outcome
from PIL import Image

from insitu.errors import BadFrame, InputError
from insitu.read import open_source
from insitu.read.picture import PictureReader
from insitu.testing import check_reader

GREY = np.random.default_rng(0).integers(0, 255, (20, 31), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 255, (20, 31, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1"])
def test_lossless_pictures_agree_with_pillow(tmp_path, suffix, mode):
    if (suffix, mode) == ("bmp", "LA"):
        pytest.skip("BMP knows no grey with alpha")
    picture = Image.fromarray(COLOUR if mode.startswith("RGB") else GREY).convert(mode)
    path = tmp_path / f"p.{suffix}"
    picture.save(path)
    theirs = np.asarray(Image.open(path).convert("RGB")).astype(float)
    assert (check_reader(path)[0] == np.rint(theirs.mean(-1))).all()
    assert ("RGB averaged to grey" in open_source(path).info.notes) == (
        mode.startswith("RGB") or (mode, suffix) == ("P", "png")
    )


def test_sixteen_bits_stay_sixteen(tmp_path):
    image = GREY.astype(np.uint16) * 257
    Image.fromarray(image).save(tmp_path / "p.png")
    got = check_reader(tmp_path / "p.png")[0]
    assert got.dtype == np.uint16
    assert (got == image).all()
    colour = COLOUR.astype(np.uint16) * 257
    (tmp_path / "c.png").write_bytes(imagecodecs.png_encode(colour))
    assert (check_reader(tmp_path / "c.png")[0] == np.rint(colour.astype(float).mean(-1))).all()


def test_jpeg_is_lossy(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "p.jpg", quality=95)
    info = open_source(tmp_path / "p.jpg").info
    assert info.lossy
    theirs = np.asarray(Image.open(tmp_path / "p.jpg")).astype(int)
    assert np.abs(check_reader(tmp_path / "p.jpg")[0].astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_a_picture_cut_anywhere_is_refused_or_bad(tmp_path, suffix):
    path = tmp_path / f"p.{suffix}"
    Image.fromarray(COLOUR).save(path)
    whole = path.read_bytes()
    for cut in np.linspace(1, len(whole) - 14, 25).astype(int):
        path.write_bytes(whole[:cut])
        try:
            reader = open_source(path)
        except InputError:
            continue
        with pytest.raises(BadFrame):
            reader.read_into(0, np.empty(reader.info.shape, reader.info.dtype))


def test_a_picture_bomb_is_refused_by_its_header(tmp_path):
    data = bytearray(imagecodecs.png_encode(GREY))
    data[16:24] = b"\x7f\xff\xff\xff\x7f\xff\xff\xff"
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "p.png").write_bytes(data)
    with pytest.raises(InputError, match="claims frames"):
        open_source(tmp_path / "p.png")
    data = bytearray(imagecodecs.jpeg8_encode(GREY))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    (tmp_path / "p.jpg").write_bytes(data)
    with pytest.raises(InputError, match="claims frames"):
        open_source(tmp_path / "p.jpg")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_random_damage(tmp_path, suffix):
    path = tmp_path / f"p.{suffix}"
    Image.fromarray(GREY).save(path)
    seen = set()
    for damaged in mutations(path.read_bytes(), 150, head=40):
        path.write_bytes(damaged)
        seen.add(outcome(PictureReader, path, most_bytes=1 << 28))
    assert seen <= {"frames", "bad frames", "refused"}
    assert len(seen) >= 2


def test_a_real_micrograph_agrees_with_pillow(samples):
    path = next((samples / "segmentation" / "au_bf_tem_800C_penn").glob("train_image_*.png"))
    assert (check_reader(path)[0] == np.asarray(Image.open(path))).all()
