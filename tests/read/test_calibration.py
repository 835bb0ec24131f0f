from __future__ import annotations

import math

import numpy as np
import pytest

from insitu.errors import CalibrationError
from insitu.read.calibration import calibrated, found, nanometres, seconds, unusual
from insitu.types import Calibration, SourceInfo


def source(calibration: Calibration, kind="TIFF") -> SourceInfo:
    return SourceInfo("movie.tif", kind, 4, 4, np.dtype("u1"), 1, calibration)


@pytest.mark.parametrize(
    ("value", "unit", "nm"),
    [
        (0.2, "nm", 0.2),
        (0.2, " Nanometers ", 0.2),
        (2.0, "Å", 0.2),
        (2.0, "\u212b", 0.2),
        (2.0, "Angstrom", 0.2),
        (2.0, "A", 0.2),
        (1.5e-3, "µm", 1.5),
        (1.5e-3, "\u03bcm", 1.5),
        (1.5e-3, "\\u00B5m", 1.5),
        (1.5e-3, "um", 1.5),
        (1.5e-3, "micron", 1.5),
        (1.5e-3, "microns", 1.5),
        (200.0, "pm", 0.2),
        (2e-10, "m", 0.2),
        (2e-8, "cm", 0.2),
        (2e-7, "mm", 0.2),
        (1.0, "inch", None),
        (1.0, "pixel", None),
        (1.0, "", None),
        (1.0, "1/nm", None),
        (1.0, "s", None),
        (0.0, "nm", None),
        (-1.0, "nm", None),
        (math.nan, "nm", None),
        (math.inf, "nm", None),
    ],
)
def test_lengths(value, unit, nm):
    got = nanometres(value, unit)
    assert got is None if nm is None else got == pytest.approx(nm, rel=1e-12)


@pytest.mark.parametrize(
    ("value", "unit", "s"),
    [(2.0, "s", 2.0), (2.0, "sec", 2.0), (2.0, "ms", 2e-3), (2.0, "µs", 2e-6), (2.0, "min", 120.0), (1.0, "nm", None)],
)
def test_times(value, unit, s):
    assert seconds(value, unit) == (None if s is None else pytest.approx(s))


def test_what_is_not_found_is_unknown_and_keeps_a_reason():
    assert found(None, None, nm_source="ImageJ tags") == Calibration()
    assert found(nm_source="unknown: a diffraction pattern").nm_source == "unknown: a diffraction pattern"
    assert found(0.2, 0.2, nm_source="tags").nm_per_px_y is None


def test_what_the_user_gives_outranks_the_header():
    info = source(found(0.2, nm_source="ImageJ tags", s_per_frame=0.5, s_source="ImageJ finterval"))
    assert calibrated(info) == info.calibration
    given = calibrated(info, nm_per_px=0.1635, fps=400)
    assert given.nm_per_px == 0.1635
    assert given.nm_source == "given: --nm-per-px"
    assert given.s_per_frame == 1 / 400
    assert given.s_source == "given: --fps"


def test_unknown_stays_unknown():
    assert calibrated(source(Calibration())).nm_per_px is None


@pytest.mark.parametrize(
    ("kind", "nm", "accepted"),
    [
        ("TIFF", 0.0011, True),
        ("TIFF", 999.0, True),
        ("TIFF", 0.0009, False),
        ("TIFF", 1001.0, False),
        ("MRC", 0.0051, True),
        ("MRC", 4.9, True),
        ("MRC", 0.0049, False),
        ("MRC", 5.1, False),
        ("MRC (Direct Electron)", 5.1, False),
        ("folder of MRC", 5.1, False),
        ("ImageJ TIFF", 5.1, True),
    ],
)
def test_plausibility(kind, nm, accepted):
    info = source(found(nm, nm_source="header"), kind)
    if accepted:
        assert calibrated(info).nm_per_px == nm
        return
    with pytest.raises(CalibrationError, match=f"{nm:g} nm/px") as caught:
        calibrated(info)
    assert caught.value.exit_code == 4
    assert "--nm-per-px" in caught.value.hint
    assert calibrated(info, nm_per_px=0.2).nm_per_px == 0.2


@pytest.mark.parametrize("nm", [0.0, -1.0, math.nan, math.inf, 1e-5, 1e5])
def test_a_given_size_must_be_possible_too(nm):
    with pytest.raises(CalibrationError, match="--nm-per-px"):
        calibrated(source(Calibration()), nm_per_px=nm)


@pytest.mark.parametrize("fps", [0.0, -1.0, math.nan, math.inf])
def test_a_given_rate_must_be_possible(fps):
    with pytest.raises(CalibrationError, match="--fps"):
        calibrated(source(Calibration()), fps=fps)


def test_pixels_that_are_not_square():
    with pytest.raises(CalibrationError, match=r"0\.22 nm along y and 0\.2 nm along x"):
        calibrated(source(found(0.2, 0.22, nm_source="tags")))
    assert calibrated(source(found(0.2, 0.2019, nm_source="tags"))).nm_per_px == 0.2
    assert calibrated(source(found(0.2, 0.22)), nm_per_px=0.3).nm_per_px_y is None


def test_an_unusual_size_is_remarked():
    assert unusual(None) == unusual(0.2) == unusual(0.005) == unusual(5.0) == ""
    assert "12.3 nm/px" in unusual(12.3)
    assert unusual(0.002)
