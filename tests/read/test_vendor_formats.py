"""Every vendor format through `open_source` and the contract of readers, on real files and on files of our own."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from fixtures_dm import document, image, thumbnail
from fixtures_dm import write as write_dm
from fixtures_emd import metadata, write_berkeley, write_velox
from fixtures_ser import write as write_ser
from fixtures_tvips import write_parts

from insitu.read import open_source
from insitu.testing import check_reader

MOVIE = np.random.default_rng(3).integers(0, 4000, (5, 6, 7)).astype(np.uint16)
NM = [(0.2, "nm"), (0.2, "nm")]


def dm(folder, version):
    return write_dm(folder / f"a.dm{version}", document(thumbnail(), image(MOVIE, [*NM, (0.5, "s")])), version)


def berkeley(folder):
    dims = ((np.arange(5) * 0.5, "t", "s"), (np.arange(6) * 0.2, "y", "nm"), (np.arange(7) * 0.2, "x", "nm"))
    return write_berkeley(folder / "b.emd", MOVIE, dims)


# format as `info` names it, writer, whether pixel size (0.2 nm) and frame time (0.5 s) are known
WRITTEN = [
    ("DM3", lambda f: dm(f, 3), True, True),
    ("DM4", lambda f: dm(f, 4), True, True),
    ("SER", lambda f: write_ser(f / "a_1.ser", MOVIE), True, False),
    ("Velox EMD", lambda f: write_velox(f / "v.emd", {"s": MOVIE}, {"s": metadata(frame_time="0.5")}), True, True),
    ("Berkeley EMD", berkeley, True, True),
    ("TVIPS", lambda f: write_parts(f, MOVIE, [2], step_ms=500, pixel=0), False, True),
]


@pytest.mark.parametrize(("name", "writer", "sized", "timed"), WRITTEN, ids=[row[0] for row in WRITTEN])
def test_written_file_keeps_the_contract(tmp_path, name, writer, sized, timed):
    path = writer(tmp_path)
    np.testing.assert_array_equal(check_reader(path), MOVIE)
    info = open_source(path).info
    assert info.format == name
    assert info.calibration.nm_per_px == (pytest.approx(0.2) if sized else None)
    assert info.calibration.s_per_frame == (pytest.approx(0.5) if timed else None)


REAL = {
    "readers/dm/JEOL HAADF Image.dm4": (1, 112, 112),
    "readers/dm/test-10_2x2x2_uint16.dm4": (2, 2, 2),
    "readers/dm/dmTest_3D_int16_64,65,66.dm3": (66, 65, 64),
    "readers/tia_ser/64x64x5_TEM_preview_1.ser": (5, 64, 64),
    "readers/tia_ser/16x16x5_STEM_BF_DF_preview.emi": (5, 16, 16),
    "readers/emd_velox/fei_emd_image.emd": (1, 512, 512),
    "readers/emd_velox/fei_example_tem_stack.emd": (2, 3, 3),
    "readers/tvips/test_tvips_2233_000.tvips": (4, 3, 3),
}


@pytest.mark.parametrize("name", REAL)
def test_real_file_keeps_the_contract(samples, name):
    images = check_reader(samples / name)
    assert (open_source(samples / name).info.n_frames, *images[0].shape) == REAL[name]


def test_real_video_and_block_file_keep_the_contract(samples):
    pytest.importorskip("av")
    pytest.importorskip("rsciio")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(check_reader(samples / "movies" / "bulk_water_optical.mov")) == 12
        assert len(check_reader(samples / "readers" / "blockfile" / "test2.blo")) == 6


def test_gatan_folder_of_dm4_frames(tmp_path):
    tags = {"DataBar": {"Exposure Time (s)": 0.5}}
    for k, frame in enumerate(MOVIE):
        second = tmp_path / "Hour_00" / "Minute_00" / f"Second_{k // 3:02d}"
        second.mkdir(parents=True, exist_ok=True)
        name = f"m_Hour_00_Minute_00_Second_{k // 3:02d}_Frame_{k % 3:04d}.dm4"
        write_dm(second / name, document(thumbnail(), image(frame, NM, tags)))
    reader = open_source(tmp_path)
    assert reader.info.calibration.nm_per_px == pytest.approx(0.2)
    np.testing.assert_array_equal(check_reader(tmp_path), MOVIE)
