from __future__ import annotations

import csv
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from insitu.figures import inline, save
from insitu.figures.style import BLUE, DOUBLE_MM, INK, LINES, TIMES, Drawn, Units, canvas, finite, styled, write_csv


def example():
    with styled("t"):
        figure = canvas(DOUBLE_MM, 50)
        axes = figure.add_subplot()
        axes.plot([0, 1, 2], [0, 1, np.nan], color=BLUE, marker="o")
        axes.imshow(np.arange(12).reshape(3, 4), extent=(0, 1, 0, 1))
        axes.set(xlabel="a <b> & c", ylabel="rate (nm/s)")
    return Drawn("t", figure, {"a_nm": np.array([1.5, np.nan]), "n": [1, 2]}, "caption", 'alt "quoted" & <tags>')


@pytest.fixture
def drawn():
    return example()


def test_a_figure_is_written_three_ways(drawn, tmp_path):
    svg = save(drawn, tmp_path / "figures")
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == ["t.csv", "t.png", "t.svg"]
    assert (tmp_path / "figures" / "t.svg").read_text(encoding="utf-8") == svg
    with Image.open(tmp_path / "figures" / "t.png") as picture:
        assert picture.width == pytest.approx(DOUBLE_MM / 25.4 * 300, abs=2)
        assert picture.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    root = ET.fromstring(svg)
    width = float(root.attrib["width"].removesuffix("pt"))
    assert width == pytest.approx(DOUBLE_MM / 25.4 * 72, abs=0.1)


def test_text_stays_text_and_ids_are_always_the_same(tmp_path):
    first, second = save(example(), tmp_path), save(example(), tmp_path)
    assert first == second
    words = "".join(ET.fromstring(first).itertext())
    assert "rate (nm/s)" in words
    assert "a <b> & c" in words


def test_what_is_not_finite_is_an_empty_cell(tmp_path):
    write_csv(tmp_path / "t.csv", {"a": [1.25, np.nan, None, np.float32("inf")], "b": np.array(["x", "y,z", "", "w"])})
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["a", "b"], ["1.25", "x"], ["", "y,z"], ["", ""], ["", "w"]]


def test_an_inline_figure_is_one_element_with_ids_of_its_own_and_the_pages_colours(drawn, tmp_path):
    svg = save(drawn, tmp_path)
    one, two = (ET.fromstring(inline(svg, name, drawn.alt).replace("<svg ", '<svg xmlns="s" ', 1)) for name in "ab")
    assert one.attrib["aria-label"] == drawn.alt
    assert one.attrib["role"] == "img"
    assert "width" not in one.attrib
    ids = [{e.attrib["id"] for e in root.iter() if "id" in e.attrib} for root in (one, two)]
    assert ids[0]
    assert not ids[0] & ids[1]
    text = inline(svg, "a", drawn.alt)
    asked = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
    assert asked == ids[0]
    assert "currentColor" in text
    assert "var(--fig-blue)" in text
    for shade in (INK, BLUE):
        assert shade not in text
    assert "<style" not in text
    assert "font-family" not in text
    assert "http" not in text.replace("http://www.w3.org/1999/xlink", "")


def test_units_fill_names():
    assert Units("nm", "s", "um2").name("number_density_per_{area}") == "number_density_per_um2"
    assert Units().name("mean_radius_{length}") == "mean_radius_px"
    assert (Units().time_axis, Units(time="s").time_axis) == ("frame", "time (s)")
    assert (Units().time_column, Units(time="s").time_column) == ("frame", "time_s")


def test_unknown_values_are_not_numbers():
    assert np.isnan(finite([None, 1, np.nan])).tolist() == [True, False, True]


def lightness(shade):
    r, g, b = (int(shade[k : k + 2], 16) for k in (1, 3, 5))
    return 0.3 * r + 0.6 * g + 0.1 * b, b - (r + g) / 2


def test_lines_differ_for_people_who_see_no_red_or_green():
    seen = [lightness(shade) for shade in LINES]
    for k, first in enumerate(seen):
        for second in seen[k + 1 :]:
            assert np.hypot(first[0] - second[0], first[1] - second[1]) > 20
    order = [lightness(shade)[0] for shade in TIMES]
    assert (np.diff(order) < -15).all()
