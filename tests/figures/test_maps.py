from __future__ import annotations

import numpy as np
import pytest

from insitu import figures
from insitu.figures import Places, Strip, Units

NM = Units("nm", "s", "um2")


def test_a_track_is_drawn_where_it_was_and_never_joined_to_another():
    places = Places(
        np.array([0, 0, 0, 3, 3]),
        np.array([0.0, 1, 2, 0, 2]),
        np.array([5.0, 6, 7, 30, 31]),
        np.array([1.0, 2, 3, 9, 8]),
    )
    drawn = figures.track_map(places, (40, 20), NM, 0.5)
    axes = drawn.figure.axes[0]
    segments = axes.collections[0].get_segments()
    assert [s.tolist() for s in segments] == [[[1, 5], [2, 6]], [[2, 6], [3, 7]], [[9, 30], [8, 31]]]
    assert axes.collections[0].get_array().tolist() == [0, 1, 0]
    assert axes.lines[0].get_xdata().tolist() == [1, 9]
    assert axes.get_ylim() == (39.5, -0.5)
    assert "2 nm" in [t.get_text() for t in axes.texts]
    assert not figures.track_map(places, (40, 20), Units()).figure.axes[0].texts


def test_single_positions_are_dots():
    places = Places(np.array([0, 1]), np.zeros(2), np.array([5.0, 6]), np.array([1.0, 2]))
    assert len(figures.track_map(places, (40, 20), Units()).figure.axes) == 1


def test_a_kymograph_has_time_to_the_right_and_the_line_downwards():
    image = np.arange(12.0).reshape(3, 4)
    image[1] = np.nan
    drawn = figures.kymograph(image, np.array([0.0, 1.0, 2.0]), "rows 3 to 7", NM, 0.25)
    axes = drawn.figure.axes[0]
    shown = axes.images[0]
    assert np.array_equal(shown.get_array().data, image.T, equal_nan=True)
    assert shown.get_extent() == [0.0, 2.0, 1.0, 0.0]
    assert axes.get_ylabel() == "place on the line (nm)"
    assert "rows 3 to 7" in drawn.caption
    assert list(drawn.table) == ["time_s", "counts_at_0_px", "counts_at_1_px", "counts_at_2_px", "counts_at_3_px"]


def test_a_gallery_has_a_row_an_event_and_panels_of_one_width(tmp_path):
    picture = np.zeros((20, 20, 3), np.uint8)
    strip = Strip(
        "coalescence", "coalescence: frame 3, a title far longer than its panel is wide", (picture,) * 5, ("a",) * 5
    )
    drawn = figures.gallery([strip, Strip("dissolution", "d", (picture,) * 2, ("b", "c"))])
    figures.save(drawn, tmp_path)
    widths = [a.get_position().width for a in drawn.figure.axes]
    assert max(widths) == pytest.approx(min(widths), rel=1e-3)
    assert drawn.table["panel"] == ["a"] * 5 + ["b", "c"]
    assert len(figures.gallery([strip] * 20).figure.axes) == 40
