from __future__ import annotations

import struct
import subprocess
import sys
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from mutations import mutations, outcome

from insitu.errors import BadFrame, InputError
from insitu.read import open_source
from insitu.read.tiff import TiffReader

RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 60000, (5, 33, 41), dtype=np.uint16)


def outcomes(path, expected=FRAMES) -> list[str]:
    """What each frame gives: 'ok' (with the right pixels) or the reason."""
    reader = open_source(path)
    out = np.empty(reader.info.shape, reader.info.dtype)
    got = []
    for k in range(reader.info.n_frames):
        try:
            reader.read_into(k, out)
        except BadFrame as bad:
            got.append(bad.reason if bad.detail else "no detail")
        else:
            got.append("ok" if (out == expected[k]).all() else "wrong pixels")
    return got


def directory(entries, following=0) -> bytes:
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", len(entries)) + body + struct.pack("<I", following)


def page(h, w, offset, count, *, bits=8, compression=1):
    return [
        (256, 4, 1, w), (257, 4, 1, h), (258, 3, 1, bits), (259, 3, 1, compression), (262, 3, 1, 1),
        (273, 4, 1, offset), (277, 3, 1, 1), (278, 4, 1, h), (279, 4, 1, count),
    ]  # fmt: skip


def refused(path) -> str:
    with pytest.raises(InputError) as caught:
        open_source(path)
    assert len(str(caught.value).splitlines()) == 2
    return caught.value.message


@pytest.mark.parametrize("side", [4_000_000_000, 60_000, 16_385])
def test_a_tiny_file_that_claims_a_giant_frame(tmp_path, side):
    path = tmp_path / "m.tif"
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + directory(page(side, side, 8, 10)) + bytes(200))
    assert f"{side} × {side} px" in refused(path)


@pytest.mark.parametrize("samples", [3, 60_000])
def test_a_tiny_file_that_claims_giant_frames_in_colour(tmp_path, samples):
    entries = [e for e in page(16_000, 16_000, 8, 10) if e[0] != 277] + [(277, 3, 1, samples), (284, 3, 1, 2)]
    path = tmp_path / "m.tif"
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + directory(sorted(entries)) + bytes(200))
    assert f"of {samples} numbers each" in refused(path)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("colour", [False, True])
def test_fewer_strips_or_tiles_than_the_page_needs(tmp_path, compression, tile, colour):
    image = np.arange(1, 1 + 3 * 32 * 48).reshape(3, 32, 48).astype(np.uint16)
    path = tmp_path / "m.tif"
    how = {"photometric": "rgb", "planarconfig": "separate"} if colour else {"photometric": "minisblack"}
    with tifffile.TiffWriter(path) as file:
        for _ in range(2):
            file.write(
                image if colour else image[0], compression=compression, tile=tile, rowsperstrip=None if tile else 8,
                metadata=None, **how,
            )  # fmt: skip
    with tifffile.TiffFile(path) as file:
        tags = file.pages[1].tags
        cut = [
            tags[name] for name in (("TileOffsets", "TileByteCounts") if tile else ("StripOffsets", "StripByteCounts"))
        ]
        wheres = [tag.offset + 4 for tag in cut]
        assert all(tag.count > 3 for tag in cut)
    data = bytearray(path.read_bytes())
    for where, tag in zip(wheres, cut, strict=True):
        data[where : where + 4] = struct.pack("<I", tag.count - 1)
    path.write_bytes(data)
    reader = open_source(path)
    out = np.empty(reader.info.shape, reader.info.dtype)
    reader.read_into(0, out)
    with pytest.raises(BadFrame, match="not whole") as caught:
        reader.read_into(1, out)
    assert caught.value.reason == "truncated"


def test_a_bomb_as_first_page_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, np.zeros((30000, 30000), np.uint8), compression="zstd")
    assert path.stat().st_size < 200_000
    assert "30000 × 30000 px" in refused(path)


def test_a_bomb_as_a_later_page_is_a_bad_frame(tmp_path):
    path = tmp_path / "m.tif"
    with tifffile.TiffWriter(path) as file:
        for k in range(3):
            frame = np.zeros((30000, 30000), np.uint16) if k == 1 else FRAMES[k]
            file.write(frame, compression="zstd", metadata=None)
    assert outcomes(path) == ["ok", "shape changed", "ok"]


@pytest.mark.parametrize(
    "changed",
    [{257: (9, 1 << 31), 256: (4, 0xFFFFFFFF), 258: (3, 64)}, {273: (9, 0x80000000)}, {279: (9, 0xFFFFFFFF)}],
    ids=["height", "offset", "length"],
)
def test_signed_numbers_below_zero_in_a_later_page(tmp_path, changed):
    later = [(tag, *changed.get(tag, (kind, value))) for tag, kind, _, value in page(8, 8, 8, 64)]
    entries = [(tag, kind, 1, value) for tag, kind, value in later]
    first = directory(page(8, 8, 8, 64), following=400)
    path = tmp_path / "m.tif"
    path.write_bytes(
        (b"II*\0" + struct.pack("<I", 200)).ljust(200, b"\1") + first.ljust(200, b"\0") + directory(entries)
    )
    reader = open_source(path)
    out = np.empty((8, 8), np.uint8)
    reader.read_into(0, out)
    assert (out == 1).all()
    with pytest.raises(BadFrame):
        reader.read_into(1, out)


@pytest.mark.parametrize(
    ("code", "name"), [(50000, "zstd"), (8, "deflate"), (5, "lzw"), (34925, "lzma"), (32773, "packbits")]
)
def test_a_strip_that_unpacks_to_more_than_it_claims_costs_no_memory(tmp_path, code, name):
    bomb = np.zeros(100_000_000, np.uint8).data
    if name == "packbits":
        packed = b"\x81\x00" * 1_000_000  # each pair stands for 128 zeros
    else:
        packed = zlib.compress(bomb, 9) if name == "deflate" else getattr(imagecodecs, f"{name}_encode")(bomb)
    path = tmp_path / "m.tif"
    path.write_bytes(
        b"II*\0"
        + struct.pack("<I", 8)
        + directory(page(8, 8, 200, len(packed), compression=code)).ljust(192, b"\0")
        + packed
    )
    program = (
        "import resource, sys, numpy as np, imagecodecs, tifffile; from insitu.read import open_source;"
        "from insitu.errors import BadFrame;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "reader = open_source(sys.argv[1]); out = np.empty((8, 8), 'u1');\n"
        "try: reader.read_into(0, out)\n"
        "except BadFrame as bad: print(bad.reason)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) < 40_000  # KiB


def test_a_jpeg_strip_that_claims_a_giant_picture(tmp_path):
    data = bytearray(imagecodecs.jpeg8_encode(np.zeros((8, 8), np.uint8)))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    path = tmp_path / "m.tif"
    path.write_bytes(
        b"II*\0" + struct.pack("<I", 8) + directory(page(8, 8, 200, len(data), compression=7)).ljust(192, b"\0") + data
    )
    assert outcomes(path, np.zeros((1, 8, 8))) == ["unreadable"]


def test_a_chain_of_pages_that_returns_to_its_start(tmp_path):
    path = tmp_path / "m.tif"
    path.write_bytes(
        b"II*\0" + struct.pack("<I", 8) + directory(page(4, 4, 150, 16), following=8).ljust(142, b"\0") + bytes(16)
    )
    reader = open_source(path)
    assert reader.info.n_frames == 1
    assert any("returns to an earlier one" in note for note in reader.info.notes)


def test_a_page_that_points_outside_the_file_leaves_the_others_readable(tmp_path):
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, FRAMES, metadata=None)
    with tifffile.TiffFile(path) as file:
        at = file.pages[2].tags[273].valueoffset
    data = bytearray(path.read_bytes())
    data[at : at + 4] = struct.pack("<I", len(data) - 10)
    path.write_bytes(data)
    assert outcomes(path) == ["ok", "ok", "truncated", "ok", "ok"]


def test_a_strip_that_was_never_written(tmp_path):
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, FRAMES, metadata=None, compression="zlib")
    with tifffile.TiffFile(path) as file:
        at = file.pages[3].tags[279].valueoffset
    data = bytearray(path.read_bytes())
    data[at : at + 4] = bytes(4)
    path.write_bytes(data)
    assert outcomes(path) == ["ok", "ok", "ok", "truncated", "ok"]


@pytest.mark.parametrize("compression", [None, "zlib", "zstd", "lzw"])
def test_a_file_cut_anywhere_gives_what_is_there(tmp_path, compression):
    path = tmp_path / "m.tif"
    with tifffile.TiffWriter(path) as file:
        for frame in FRAMES:
            file.write(frame, contiguous=False, metadata=None, compression=compression)
    whole = path.read_bytes()
    read = []
    for cut in np.linspace(0, len(whole), 40).astype(int):
        path.write_bytes(whole[:cut])
        try:
            got = outcomes(path)
        except InputError:
            got = []
        assert "wrong pixels" not in got
        assert [g for g in got if g == "ok"] == got[: got.count("ok")], "the frames before the cut are all there"
        read.append(got.count("ok"))
    assert read == sorted(read)
    assert read[-1] == 5
    assert set(read) == set(range(6))


def test_a_stack_cut_short_says_so(tmp_path):
    path = tmp_path / "m.tif"
    with tifffile.TiffWriter(path) as file:
        for frame in FRAMES:
            file.write(frame, contiguous=False, metadata=None)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.7)])
    assert any("cut short" in note for note in open_source(path).info.notes)


def test_pages_of_another_shape_or_dtype_are_bad_frames(tmp_path):
    path = tmp_path / "m.tif"
    odd = {1: FRAMES[1][:-1], 2: FRAMES[2].astype(np.uint8), 3: FRAMES[3].astype(np.float32)}
    with tifffile.TiffWriter(path) as file:
        for k in range(5):
            file.write(odd.get(k, FRAMES[k]), metadata=None)
    assert outcomes(path) == ["ok", "shape changed", "dtype changed", "dtype changed", "ok"]


def test_a_page_stored_in_another_way_is_still_a_frame(tmp_path):
    path = tmp_path / "m.tif"
    with tifffile.TiffWriter(path) as file:
        for k in range(5):
            file.write(
                FRAMES[k], compression="zlib" if k == 2 else None, tile=(16, 16) if k == 3 else None, metadata=None
            )
    assert outcomes(path) == ["ok"] * 5


@pytest.mark.parametrize("compression", [34712, 34933, 50001, 6, 9999])
def test_compressions_that_are_not_read_are_named(tmp_path, compression):
    path = tmp_path / "m.tif"
    path.write_bytes(
        b"II*\0" + struct.pack("<I", 8) + directory(page(8, 8, 8, 10, compression=compression)) + bytes(99)
    )
    assert f"method {compression}" in refused(path)


def test_complex_pixels_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", FRAMES.astype(np.complex64))
    assert "no camera counts" in refused(tmp_path / "m.tif")


def test_a_strip_list_longer_than_the_file_is_a_bad_frame(tmp_path):
    entries = page(8, 8, 8, 10)
    entries[5] = (273, 4, 4_000_000_000, 8)
    path = tmp_path / "m.tif"
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + directory(entries) + bytes(99))
    assert outcomes(path, np.zeros((1, 8, 8))) == ["truncated"]


@pytest.mark.parametrize(
    "head", [b"II*\0", b"II*\0\x08\0\0\0", b"MM\0+\0\x08\0\0", b"II*\0\0\0\0\0", b"II*\0\xff\xff\xff\xff"]
)
def test_a_file_that_ends_in_its_header(tmp_path, head):
    (tmp_path / "m.tif").write_bytes(head)
    assert "holds no page" in refused(tmp_path / "m.tif")


@pytest.mark.parametrize(
    "layout",
    [{}, {"bigtiff": True}, {"compression": "zlib", "predictor": True}, {"compression": "lzw", "tile": (16, 16)},
     {"ome": True}, {"imagej": True}, {"compression": "zstd", "rowsperstrip": 4}],
)  # fmt: skip
def test_random_damage_gives_frames_bad_frames_or_a_refusal(tmp_path, layout):
    path = tmp_path / "m.tif"
    metadata = {"axes": "TYX"} if "ome" in layout or "imagej" in layout else None
    tifffile.imwrite(path, FRAMES, metadata=metadata, **layout)
    whole = path.read_bytes()
    seen = set()
    for damaged in mutations(whole, 150, seed=1, head=800):
        path.write_bytes(damaged)
        seen.add(outcome(TiffReader, path, most_bytes=1 << 31))
    assert seen <= {"frames", "bad frames", "refused"}
    assert "refused" in seen
    assert len(seen) >= 2


@pytest.mark.parametrize("pages", [1, 2, 4])
def test_a_cut_imagej_file_with_a_directory_before_each_frame_gives_no_bytes_of_directories_as_pixels(tmp_path, pages):
    path = tmp_path / "m.tif"
    with tifffile.TiffWriter(path) as writer:
        for k, frame in enumerate(FRAMES):
            text = f"ImageJ=1.54f\nimages={len(FRAMES)}\nslices={len(FRAMES)}\n" if k == 0 else None
            writer.write(frame, contiguous=False, description=text, metadata=None)
    assert outcomes(path) == ["ok"] * len(FRAMES)
    with tifffile.TiffFile(path) as whole:
        cut = whole.pages[pages].offset + 20  # inside the directory of the next page
    path.write_bytes(path.read_bytes()[:cut])
    got = outcomes(path)
    assert got[:pages] == ["ok"] * pages
    assert "wrong pixels" not in got


def test_a_cut_imagej_file_with_its_frames_in_one_block_keeps_the_frames_that_are_there(tmp_path):
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, FRAMES, imagej=True, photometric="minisblack")
    with tifffile.TiffFile(path) as whole:
        begin = whole.pages[0].dataoffsets[0]
    path.write_bytes(path.read_bytes()[: begin + 3 * FRAMES[0].nbytes + 10])
    assert outcomes(path) == ["ok"] * 3 + ["truncated"] * (len(FRAMES) - 3)
