from __future__ import annotations

import random

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from insitu.errors import BadFrame, InputError
from insitu.read import describe, open_source
from insitu.read.timeline import timeline
from insitu.testing import check_reader


def frame(k: int) -> np.ndarray:
    return np.full((6, 5), k, np.uint16) + np.arange(5, dtype=np.uint16)


def write(folder, numbers, name="frame_{}.tif"):
    folder.mkdir(exist_ok=True)
    for k in numbers:
        tifffile.imwrite(folder / name.format(k), frame(k))
    return folder


def outcomes(source, **kw):
    reader = open_source(source, **kw)
    out = np.empty(reader.info.shape, reader.info.dtype)
    got = []
    for k in range(reader.info.n_frames):
        try:
            reader.read_into(k, out)
            got.append(int(out[0, 0]))
        except BadFrame as bad:
            got.append(bad.reason)
    return got


# ---- order and gaps --------------------------------------------------------------------------------------------------


def test_numbers_order_frames_not_spelling(tmp_path):
    write(tmp_path, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    assert outcomes(tmp_path) == list(range(1, 12))
    assert [open_source(tmp_path).header(k).source_number for k in range(11)] == list(range(1, 12))


@given(
    st.sets(st.integers(0, 60), min_size=2, max_size=40),
    st.sampled_from(["f_{}.tif", "{}.png", "a3_f{:05d}_x.dm4", "T800_{}_end7.mrc"]),
    st.randoms(use_true_random=False),
)
def test_any_set_of_numbers_comes_out_in_order_with_its_gaps(numbers, pattern, rng):
    names = [pattern.format(n) for n in numbers]
    rng.shuffle(names)
    line = timeline(names)
    kept = [(n, name) for n, name in zip(line.numbers, line.names, strict=True) if name is not None]
    assert kept == [(n, pattern.format(n)) for n in sorted(numbers)]
    steps = {b - a for a, b in zip(line.numbers, line.numbers[1:], strict=False)}
    assert len(steps) == 1


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([1, 2, 4], [1, 2, None, 4]),
        ([0, 10, 20, 40], [0, 10, 20, None, 40]),
        ([5, 6, 7], [5, 6, 7]),
        ([3], [3]),
        ([0, 10**9], [0, 10**9]),
        ([0, 1, 10**9], [0, 1, 10**9]),
    ],
)
def test_gaps(numbers, expected):
    line = timeline([f"f_{n}.tif" for n in numbers])
    assert [None if n is None else int(n[2:-4]) for n in line.names] == expected


def test_a_gap_is_a_missing_frame(tmp_path):
    write(tmp_path, [1, 2, 4])
    reader = open_source(tmp_path)
    assert [reader.header(k).status for k in range(4)] == ["ok", "ok", "missing", "ok"]
    assert reader.header(2).source_number == 3
    assert outcomes(tmp_path) == [1, 2, "missing", 4]
    assert describe(reader)["n_missing"] == 1


@pytest.mark.parametrize("names", [("f_1.tif", "f_01.tif"), ("a_1.tif", "b_1.tif"), ("x1y1.tif", "x01y01.tif")])
def test_equal_numbers_name_both_files(names):
    with pytest.raises(InputError) as caught:
        timeline(names)
    assert all(name in caught.value.message for name in names)
    assert len(str(caught.value).splitlines()) == 2


def test_gatan_names_that_start_again_each_second():
    names = [
        f"Hour_00_Minute_{m:02d}_Second_{s:02d}_Frame_{f:04d}.dm4" for m in (0, 1) for s in range(3) for f in range(4)
    ]
    shuffled = names[:]
    random.Random(1).shuffle(shuffled)
    assert list(timeline(shuffled).names) == names
    shuffled.remove(names[5])
    line = timeline(shuffled)
    assert list(line.names) == [*names[:5], None, *names[6:]]
    assert line.numbers[5] == 1


def test_of_several_numbers_the_one_that_counts():
    names = [f"cool_{k:04d}_T{900 - k // 3}C_{20260101120000 + 7 * k}.tif" for k in range(12)]
    line = timeline(sorted(names, reverse=True))
    assert list(line.names) == names
    assert line.numbers == tuple(range(12))


def test_a_falling_temperature_does_not_turn_time_round():
    names = [f"frame_{k:04d}_T{900 - k}.tif" for k in range(5)]
    assert list(timeline(names).names) == names


def test_a_stray_file_is_left_out_with_a_note(tmp_path):
    write(tmp_path, range(4))
    tifffile.imwrite(tmp_path / "gain_reference_1.tif", frame(99))
    assert outcomes(tmp_path) == [0, 1, 2, 3]
    assert any("gain_reference_1.tif" in note for note in open_source(tmp_path).info.notes)


def test_names_without_numbers_are_alphabetical_and_say_so():
    line = timeline(["c.tif", "a.tif", "b.tif"])
    assert line.names == ("a.tif", "b.tif", "c.tif")
    assert "alphabetical" in line.notes[0]


# ---- kinds of files --------------------------------------------------------------------------------------------------


def test_hidden_files_and_other_files_are_ignored(tmp_path):
    write(tmp_path, range(3))
    (tmp_path / "._frame_3.tif").write_bytes(b"resource fork")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "log.csv").write_text("x")
    assert outcomes(tmp_path) == [0, 1, 2]


def test_the_most_common_kind_is_read_with_a_note(tmp_path):
    write(tmp_path, range(3))
    Image.fromarray(np.zeros((6, 5), np.uint8)).save(tmp_path / "frame_9.png")
    assert outcomes(tmp_path) == [0, 1, 2]
    assert any("ignored 1 png" in note for note in open_source(tmp_path).info.notes)


def test_tif_and_tiff_are_one_kind(tmp_path):
    write(tmp_path, [0, 1])
    write(tmp_path, [2], name="frame_{}.TIFF")
    assert outcomes(tmp_path) == [0, 1, 2]


@pytest.mark.parametrize("kind", ["tif", "png", "bmp", "npy", "mrc"])
def test_every_kind_of_file(tmp_path, kind):
    import mrcfile

    expected = []
    for k in range(4):
        image = (frame(k) % 256).astype(np.uint8 if kind in {"png", "bmp"} else np.uint16)
        path = tmp_path / f"frame_{k:03d}.{kind}"
        if kind == "tif":
            tifffile.imwrite(path, image)
        elif kind == "npy":
            np.save(path, image)
        elif kind == "mrc":
            with mrcfile.new(path) as file:
                file.set_data(image)
                file.voxel_size = 2.0
        else:
            Image.fromarray(image).save(path)
        expected.append(image)
    assert (np.array(check_reader(tmp_path)) == expected).all()
    info = open_source(tmp_path).info
    assert info.format.startswith("folder of ")
    assert info.calibration.nm_per_px == (pytest.approx(0.2) if kind == "mrc" else None)


def test_a_real_folder_of_dm4_files(tmp_path, samples):
    from rsciio.digitalmicrograph import file_reader

    path = samples / "readers" / "dm" / "JEOL HAADF Image.dm4"
    for k in (1, 2):
        (tmp_path / f"image_{k}.dm4").write_bytes(path.read_bytes())
    theirs = file_reader(str(path))[0]
    ours = check_reader(tmp_path)
    assert (ours[1] == theirs["data"]).all()
    assert theirs["axes"][0]["units"] == "µm"
    assert open_source(tmp_path).info.calibration.nm_per_px == pytest.approx(theirs["axes"][0]["scale"] * 1000)


def test_folders_in_folders_as_gatan_cameras_write_them(tmp_path):
    for second in range(2):
        inner = tmp_path / "Hour_00" / "Minute_00" / f"Second_{second:02d}"
        inner.mkdir(parents=True)
        for k in range(3):
            name = f"m_Hour_00_Minute_00_Second_{second:02d}_Frame_{k:04d}.tif"
            tifffile.imwrite(inner / name, frame(10 * second + k))
    assert outcomes(tmp_path) == [0, 1, 2, 10, 11, 12]
    assert outcomes(tmp_path, pattern="**/*.tif") == [0, 1, 2, 10, 11, 12]


def test_a_folder_of_movies_is_refused(tmp_path):
    for k in range(2):
        tifffile.imwrite(tmp_path / f"movie_{k}.tif", np.stack([frame(0), frame(1)]), photometric="minisblack")
    with pytest.raises(InputError, match="holds 2 frames"):
        open_source(tmp_path)


def test_the_real_rods_agree_with_pillow(samples):
    folder = samples / "movies" / "lptem_rods_jpeg"
    reader = open_source(folder)
    assert reader.info.n_frames == 16
    assert reader.info.lossy
    assert {"RGB averaged to grey", "lossy JPEG compression: not for measurement"} <= set(reader.info.notes)
    out = np.empty(reader.info.shape, reader.info.dtype)
    for k in (0, 9, 15):
        reader.read_into(k, out)
        theirs = np.asarray(Image.open(folder / f"{k:06d}.jpeg")).astype(float)
        assert np.abs(out - np.rint(theirs.mean(-1))).max() <= 1  # two builds of libjpeg may differ by one


# ---- bad frames ------------------------------------------------------------------------------------------------------


def test_one_bad_file_is_one_bad_frame(tmp_path):
    write(tmp_path, range(8))
    (tmp_path / "frame_0.tif").write_bytes(b"")
    (tmp_path / "frame_1.tif").write_bytes(b"damaged beyond hope")
    cut = tmp_path / "frame_2.tif"
    cut.write_bytes(cut.read_bytes()[:-5])
    tifffile.imwrite(tmp_path / "frame_3.tif", frame(3)[:-1])
    tifffile.imwrite(tmp_path / "frame_4.tif", frame(4).astype(np.float32))
    tifffile.imwrite(tmp_path / "frame_5.tif", np.stack([frame(5)] * 2), photometric="minisblack")
    reader = open_source(tmp_path)
    (tmp_path / "frame_6.tif").unlink()
    out = np.empty(reader.info.shape, reader.info.dtype)
    reasons = []
    for k in range(7):
        with pytest.raises(BadFrame) as caught:
            reader.read_into(k, out)
        reasons.append(caught.value.reason)
        assert "\n" not in caught.value.detail
    assert reasons == [
        "unreadable", "unreadable", "truncated", "shape changed", "dtype changed", "not one frame", "unreadable",
    ]  # fmt: skip
    reader.read_into(7, out)
    assert (out == frame(7)).all()


def test_a_folder_of_nothing_but_broken_files(tmp_path):
    for k in range(3):
        (tmp_path / f"f_{k}.tif").write_bytes(b"broken")
    with pytest.raises(InputError, match="no TIFF signature"):
        open_source(tmp_path)


def test_a_changed_pixel_size_is_flagged(tmp_path):
    for k, size in enumerate((5, 5, 10)):
        tifffile.imwrite(
            tmp_path / f"f_{k}.tif", frame(k), imagej=True, resolution=(size, size), metadata={"unit": "nm"}
        )
    reader = open_source(tmp_path)
    out = np.empty(reader.info.shape, reader.info.dtype)
    assert [reader.read_into(k, out) for k in range(3)] == [(), (), ("pixel size changed",)]
