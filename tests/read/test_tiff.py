from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from insitu.errors import BadFrame, CalibrationError, InputError
from insitu.read import calibrated, describe, open_source
from insitu.testing import check_reader

RNG = np.random.default_rng(0)
U16 = RNG.integers(0, 60000, (7, 33, 41), dtype=np.uint16)


def read_all(path) -> np.ndarray:
    return np.array(check_reader(path, max_frames=64))


def outcomes(path) -> list[str]:
    """What each frame gives: 'ok' or the reason."""
    reader = open_source(path)
    out = np.empty(reader.info.shape, reader.info.dtype)
    got = []
    for k in range(reader.info.n_frames):
        try:
            reader.read_into(k, out)
            got.append("ok")
        except BadFrame as bad:
            got.append(bad.reason)
    return got


# ---- layouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"byteorder": ">", "bigtiff": True},
        {"rowsperstrip": 5},
        {"tile": (16, 16)},
        {"compression": "zlib"},
        {"compression": "zstd"},
        {"compression": "lzw", "predictor": True},
        {"compression": "packbits"},
        {"compression": "lzma", "byteorder": ">"},
        {"compression": "zlib", "tile": (16, 32), "predictor": True},
        {"imagej": True},
        {"imagej": True, "metadata": {"axes": "TYX"}},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"ome": True, "metadata": {"axes": "TYX"}},
        {"ome": True, "metadata": {"axes": "ZYX"}, "compression": "zlib"},
        {"metadata": {"axes": "TYX"}},
        {"photometric": "miniswhite"},
        {"metadata": None},
    ],
    ids=lambda d: " ".join(f"{k}={v}" for k, v in d.items()) or "plain",
)
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_every_layout_gives_the_pixels_that_were_written(tmp_path, layout, dtype):
    layout = dict(layout)
    frames = (U16 // 256 if dtype == "u1" else U16).astype(dtype)
    if layout.get("predictor") and dtype == "f4":
        layout["predictor"] = 3
    tifffile.imwrite(tmp_path / "m.tif", frames, **layout)
    got = read_all(tmp_path / "m.tif")
    assert got.dtype == np.dtype(dtype)
    assert (got == frames).all()


@pytest.mark.parametrize("dtype", ["i1", "i2", "u4", "i4", "f2", "f8", "u8"])
def test_every_count_type(tmp_path, dtype):
    frames = (U16 % 128).astype(dtype)
    tifffile.imwrite(tmp_path / "m.tif", frames, byteorder=">")
    got = read_all(tmp_path / "m.tif")
    assert got.dtype == np.dtype(dtype)
    assert (got == frames).all()


@pytest.mark.parametrize("bits", [1, 4, 10, 12, 14])
def test_packed_counts_are_widened(tmp_path, bits):
    frames = (U16 % 2**bits).astype("u1" if bits <= 8 else "u2")
    if bits == 1:
        tifffile.imwrite(tmp_path / "m.tif", frames.astype(bool), photometric="minisblack")
    else:
        tifffile.imwrite(tmp_path / "m.tif", frames, bitspersample=bits, photometric="minisblack")
    got = read_all(tmp_path / "m.tif")
    assert got.dtype == frames.dtype
    assert (got == frames).all()


def test_an_imagej_stack_with_one_directory_is_read_by_its_image_count(tmp_path):
    path = imagej_without_directories(tmp_path / "m.tif", U16, images=7)
    assert (read_all(path) == U16).all()
    assert [open_source(path).header(k).source_number for k in (0, 6)] == [0, 6]


def test_an_imagej_stack_with_one_directory_that_is_cut_short(tmp_path):
    path = imagej_without_directories(tmp_path / "m.tif", U16, images=7)
    path.write_bytes(path.read_bytes()[: -2 * U16[0].nbytes - 10])
    assert outcomes(path) == ["ok"] * 4 + ["truncated"] * 3
    assert any("7 frames declared, 4 complete" in note for note in open_source(path).info.notes)


def test_an_imagej_count_that_no_file_can_hold(tmp_path):
    path = imagej_without_directories(tmp_path / "m.tif", U16, images=4_000_000_000)
    assert open_source(path).info.n_frames <= 8


def test_an_imagej_stack_beyond_4_gb(tmp_path):
    # a sparse file: it takes no disk
    frame = RNG.integers(1, 60000, (2048, 2048), dtype=np.uint16)
    path = imagej_without_directories(tmp_path / "big.tif", frame[None], images=600)
    offset = path.stat().st_size - frame.nbytes
    with path.open("r+b") as file:
        file.seek(offset + 599 * frame.nbytes)
        file.write((frame + 1).astype(">u2").tobytes())
    assert path.stat().st_size > 2**32
    reader = open_source(path)
    assert reader.info.n_frames == 600
    out = np.empty(reader.info.shape, reader.info.dtype)
    reader.read_into(599, out)
    assert (out == frame + 1).all()


def imagej_without_directories(path, frames, images):
    """ImageJ writes a single directory, big-endian, and the frames one after the other behind it."""
    text = f"ImageJ=1.54f\nimages={images}\nframes={images}\nunit=nm\nfinterval=0.04\n\0".encode()
    h, w = frames.shape[1:]
    entries = [
        (256, 4, 1, w), (257, 4, 1, h), (258, 3, 1, 16 << 16), (259, 3, 1, 1 << 16), (262, 3, 1, 1 << 16),
        (270, 2, len(text), 200), (273, 4, 1, 1024), (277, 3, 1, 1 << 16), (278, 4, 1, h), (279, 4, 1, h * w * 2),
    ]  # fmt: skip
    head = b"MM\0*" + struct.pack(">IH", 8, len(entries))
    head += b"".join(struct.pack(">HHII", *entry) for entry in entries) + struct.pack(">I", 0)
    head = head.ljust(200, b"\0") + text
    path.write_bytes(head.ljust(1024, b"\0") + frames.astype(">u2").tobytes())
    return path


# ---- colour, thumbnails, channels ------------------------------------------------------------------------------------


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_rgb_becomes_grey_and_says_so(tmp_path, planar, compression):
    colour = RNG.integers(0, 255, (3, 20, 30, 3), dtype=np.uint8)
    stored = colour if planar == "contig" else np.moveaxis(colour, -1, 1)
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for frame in stored:
            file.write(frame, photometric="rgb", planarconfig=planar, compression=compression, metadata=None)
    got = read_all(tmp_path / "m.tif")
    assert (got == np.rint(colour.astype(float).mean(-1))).all()
    assert "RGB averaged to grey" in open_source(tmp_path / "m.tif").info.notes


def test_grey_with_alpha_uses_the_grey(tmp_path):
    both = RNG.integers(0, 255, (20, 30, 2), dtype=np.uint8)
    tifffile.imwrite(
        tmp_path / "m.tif", both, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]
    )
    assert (read_all(tmp_path / "m.tif")[0] == both[..., 0]).all()
    assert any("first is used" in note for note in open_source(tmp_path / "m.tif").info.notes)


def test_thumbnails_are_no_frames(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for frame in U16:
            file.write(frame, metadata=None)
            file.write(frame[::4, ::4], subfiletype=1, metadata=None)
    assert (read_all(tmp_path / "m.tif") == U16).all()
    assert "7 thumbnails ignored" in open_source(tmp_path / "m.tif").info.notes


def test_pyramid_levels_are_no_frames(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for frame in U16:
            file.write(frame, subifds=1, metadata=None)
            file.write(frame[::2, ::2], subfiletype=1, metadata=None)
    assert (read_all(tmp_path / "m.tif") == U16).all()


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_the_first_of_several_channels(tmp_path, kind):
    two = RNG.integers(0, 60000, (5, 2, 20, 30), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "m.tif", two, metadata={"axes": "TCYX"}, **{kind: True})
    assert (read_all(tmp_path / "m.tif") == two[:, 0]).all()
    assert "2 channels: the first is used" in open_source(tmp_path / "m.tif").info.notes


def test_the_first_channel_in_another_order_of_planes(tmp_path):
    two = RNG.integers(0, 60000, (2, 5, 20, 30), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "m.tif", two, metadata={"axes": "CTYX"}, ome=True)
    assert (read_all(tmp_path / "m.tif") == two[0]).all()


def test_an_order_of_planes_that_is_none(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", U16, metadata={"axes": "TYX"}, ome=True)
    data = (tmp_path / "m.tif").read_bytes()
    assert data.count(b'DimensionOrder="XYCZT"') == 1
    (tmp_path / "m.tif").write_bytes(data.replace(b'DimensionOrder="XYCZT"', b'DimensionOrder="XYCZC"'))
    reader = open_source(tmp_path / "m.tif")
    assert reader.info.n_frames == len(U16)
    assert any("OME" in note for note in reader.info.notes)


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_a_stack_of_stacks_is_refused(tmp_path, kind):
    tifffile.imwrite(tmp_path / "m.tif", np.zeros((2, 3, 8, 8), "u2"), metadata={"axes": "TZYX"}, **{kind: True})
    with pytest.raises(InputError, match="3 slices × 2 frames"):
        open_source(tmp_path / "m.tif")


def test_jpeg_in_tiff_is_lossy_and_says_so(tmp_path):
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    tifffile.imwrite(
        tmp_path / "m.tif",
        np.stack([smooth] * 3),
        photometric="minisblack",
        compression="jpeg",
        compressionargs={"level": 95},
    )
    got = read_all(tmp_path / "m.tif")
    assert np.abs(got.astype(int) - smooth).max() <= 3
    info = open_source(tmp_path / "m.tif").info
    assert info.lossy
    assert any("JPEG" in note for note in info.notes)


# ---- calibration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "nm"), [
        ("nm", 0.2), ("\\u00B5m", 200.0), ("um", 200.0), ("micron", 200.0), ("A", 0.02), ("inch", None),
        ("pixel", None),
    ],
)  # fmt: skip
def test_imagej_units(tmp_path, unit, nm):
    tifffile.imwrite(
        tmp_path / "m.tif",
        U16,
        imagej=True,
        resolution=(5, 5),
        metadata={"axes": "TYX", "unit": unit, "finterval": 0.04},
    )
    found = open_source(tmp_path / "m.tif").info.calibration
    assert found.nm_per_px == (None if nm is None else pytest.approx(nm))
    assert found.s_per_frame == pytest.approx(0.04)
    assert found.s_source == "ImageJ finterval"


def test_imagej_playback_rate_is_named_as_such(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", U16, imagej=True, metadata={"axes": "TYX", "fps": 25.0})
    found = open_source(tmp_path / "m.tif").info.calibration
    assert found.s_per_frame == pytest.approx(0.04)
    assert "playback" in found.s_source


def test_imagej_pixels_that_are_not_square(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", U16, imagej=True, resolution=(5, 4), metadata={"axes": "TYX", "unit": "nm"})
    with pytest.raises(CalibrationError):
        calibrated(open_source(tmp_path / "m.tif").info)


def test_ome_physical_size_and_time(tmp_path):
    metadata = {
        "axes": "TYX", "PhysicalSizeX": 0.2, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 2.0, "PhysicalSizeYUnit": "Å",
        "TimeIncrement": 2.5, "TimeIncrementUnit": "ms",
    }  # fmt: skip
    tifffile.imwrite(tmp_path / "m.ome.tif", U16, ome=True, metadata=metadata)
    found = open_source(tmp_path / "m.ome.tif").info.calibration
    assert found.nm_per_px == pytest.approx(0.2)
    assert found.s_per_frame == pytest.approx(0.0025)
    assert calibrated(open_source(tmp_path / "m.ome.tif").info).nm_per_px == pytest.approx(0.2)


def test_ome_lengths_are_micrometres_unless_they_say_otherwise(tmp_path):
    tifffile.imwrite(tmp_path / "m.ome.tif", U16, ome=True, metadata={"axes": "TYX", "PhysicalSizeX": 0.002})
    assert open_source(tmp_path / "m.ome.tif").info.calibration.nm_per_px == pytest.approx(2.0)


def test_ome_plane_times_become_frame_times(tmp_path):
    delta = [10.0, 10.5, 11.1, 11.5, 12.0, 12.5, 13.0]
    plane = {"DeltaT": delta, "DeltaTUnit": ["s"] * 7, "ExposureTime": [0.4] * 7}
    tifffile.imwrite(tmp_path / "m.ome.tif", U16, ome=True, metadata={"axes": "TYX", "Plane": plane})
    reader = open_source(tmp_path / "m.ome.tif")
    assert [reader.header(k).time_s for k in range(7)] == pytest.approx([d - 10 for d in delta])
    assert reader.info.calibration.s_per_frame == pytest.approx(0.5)
    assert reader.info.calibration.exposure_s == pytest.approx(0.4)


def ome_xml(size_t: int, data: str) -> str:
    sizes = f'SizeX="41" SizeY="33" SizeC="1" SizeZ="1" SizeT="{size_t}"'
    return (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        f'<Pixels DimensionOrder="XYCZT" ID="Pixels:0" {sizes} Type="uint16">{data}</Pixels></Image></OME>'
    )


def write_ome(path, size_t, data):
    with tifffile.TiffWriter(path) as file:
        for k, frame in enumerate(U16):
            file.write(frame, metadata=None, description=ome_xml(size_t, data) if k == 0 else None)
    return path


def test_an_ome_plane_that_is_not_in_the_file_is_missing(tmp_path):
    data = "".join(f'<TiffData FirstT="{t}" IFD="{k}" PlaneCount="1"/>' for k, t in enumerate((0, 1, 2, 4, 5, 6, 7)))
    reader = open_source(write_ome(tmp_path / "m.tif", 8, data))
    assert [reader.header(k).status for k in range(8)] == ["ok"] * 3 + ["missing"] + ["ok"] * 4
    got = check_reader(tmp_path / "m.tif")
    assert got[3] == "missing"
    assert (got[4] == U16[3]).all()


def test_ome_planes_in_another_order_than_the_pages(tmp_path):
    data = "".join(f'<TiffData FirstT="{t}" IFD="{6 - t}" PlaneCount="1"/>' for t in range(7))
    assert (read_all(write_ome(tmp_path / "m.tif", 7, data)) == U16[::-1]).all()


def test_an_ome_movie_spread_over_files_gives_the_frames_of_this_one(tmp_path):
    data = "".join(
        f'<TiffData FirstT="{t}" IFD="{t % 7}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:0</UUID></TiffData>'
        for t, name in enumerate(["a.tif"] * 7 + ["b.tif"] * 7)
    )
    for name in ("a.tif", "b.tif"):
        write_ome(tmp_path / name, 14, data)
        assert (read_all(tmp_path / name) == U16).all()
        assert any("spreads the movie over 2 files" in note for note in open_source(tmp_path / name).info.notes)


def test_an_ome_count_that_no_file_can_hold(tmp_path):
    reader = open_source(write_ome(tmp_path / "m.tif", 4_000_000_000, ""))
    assert reader.info.n_frames < 2000


@pytest.mark.parametrize("imagej", [False, True])
def test_a_stack_with_one_directory_written_by_tifffile(tmp_path, imagej):
    metadata = {"axes": "TYX"}
    tifffile.imwrite(tmp_path / "m.tif", U16, photometric="minisblack", imagej=imagej, truncate=True, metadata=metadata)
    with tifffile.TiffFile(tmp_path / "m.tif") as file:
        assert len(file.pages) == 1
    assert (read_all(tmp_path / "m.tif") == U16).all()


def test_damaged_ome_xml_costs_the_calibration_not_the_movie(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", U16, description="<OME><Image><Pixels SizeT=", metadata=None)
    assert len(read_all(tmp_path / "m.tif")) >= 1
    assert any("damaged OME-XML" in note for note in open_source(tmp_path / "m.tif").info.notes)


def test_an_xml_bomb_is_not_expanded(tmp_path):
    lol = "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 10))
    bomb = f'<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY l0 "lol">{lol}]><OME>&l9;</OME>'
    tifffile.imwrite(tmp_path / "m.tif", U16[0], description=bomb, metadata=None)
    assert open_source(tmp_path / "m.tif").info.format == "TIFF"


def test_a_resolution_per_centimetre_can_be_the_specimens(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", U16, resolution=(5e7, 5e7), resolutionunit="CENTIMETER", metadata=None)
    found = open_source(tmp_path / "m.tif").info.calibration
    assert found.nm_per_px == pytest.approx(0.2)
    assert found.nm_source == "TIFF resolution tag (cm)"


@pytest.mark.parametrize(
    ("resolution", "unit", "remark"),
    [
        ((28.35, 28.35), "CENTIMETER", "printing"),
        ((72, 72), "INCH", "printing"),
        ((6.1167, 6.1167), "NONE", "unnamed unit"),
    ],
)
def test_a_resolution_for_printing_or_without_a_unit_stays_unknown(tmp_path, resolution, unit, remark):
    tifffile.imwrite(tmp_path / "m.tif", U16, resolution=resolution, resolutionunit=unit, metadata=None)
    info = open_source(tmp_path / "m.tif").info
    assert info.calibration.nm_per_px is None
    assert calibrated(info).nm_source == "unknown"
    assert any(remark in note for note in info.notes)


# ---- real files and other writers ------------------------------------------------------------------------------------


def test_the_real_au_movie_agrees_with_pillow(samples):
    path = samples / "movies" / "au_growth_liquid_tem_13frames.tif"
    ours = read_all(path)
    assert ours.shape == (13, 1917, 1851)
    with Image.open(path) as theirs:
        assert theirs.n_frames == 13
        for k in range(13):
            theirs.seek(k)
            assert (np.asarray(theirs) == ours[k]).all()
    told = describe(open_source(path))
    assert told["nm_per_px"] is None
    assert told["nm_source"] == "unknown"
    assert "resolution tag 6.1167 px per unnamed unit" in told["notes"]
    assert calibrated(open_source(path).info, nm_per_px=0.1635).nm_per_px == 0.1635


def test_a_real_label_image_of_the_cell_tracking_challenge_agrees_with_pillow(samples):
    folder = samples / "tracking" / "ctc_fluo_n2dl_hela_01_RES"
    reader = open_source(folder)
    assert reader.info.n_frames == 92
    out = np.empty(reader.info.shape, reader.info.dtype)
    for k in (0, 57, 91):
        reader.read_into(k, out)
        with Image.open(folder / reader.header(k).source) as theirs:
            assert (np.asarray(theirs) == out).all()


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_stacks_written_by_pillow(tmp_path, compression):
    pictures = [Image.fromarray(f) for f in (U16 // 256).astype(np.uint8)]
    pictures[0].save(tmp_path / "m.tif", save_all=True, append_images=pictures[1:], compression=compression)
    assert (read_all(tmp_path / "m.tif") == U16 // 256).all()


def test_a_palette_image_gives_its_indices(tmp_path):
    indexed = Image.fromarray((U16[0] % 256).astype(np.uint8)).convert("P")
    indexed.save(tmp_path / "m.tif")
    assert (read_all(tmp_path / "m.tif")[0] == np.asarray(indexed)).all()
    assert any("colour table" in note for note in open_source(tmp_path / "m.tif").info.notes)
