from __future__ import annotations

import base64
import io
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from insitu.card import Facts, Line, card, thinned

sys.path.insert(0, str(Path(__file__).resolve().parent / "export"))

from export_cases import BAD, make_run

from insitu.types import Calibration

NASTY = '<script>alert("x")</script>&'


class Reader(HTMLParser):
    """What a browser would see: texts, tags and attributes, and whether all tags are closed."""

    VOID = ("img", "path", "br")

    def __init__(self, text):
        super().__init__()
        self.texts, self.tags, self.attributes, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *a) for a in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("card") / "film.insitu")


def test_the_card_of_a_run_says_what_it_is(run):
    text = run._repr_html_()
    read = Reader(text)
    said = " ".join(read.texts)
    assert "film.insitu" in said
    assert "0.5 nm (test)" in said
    assert "0.1 s (test)" in said
    assert "9 used, 1 bad" in said
    assert "2 coalescence · 1 splitting · 1 appearance" in said
    table = run.frames.to_pandas()
    first, last = table["mean_equivalent_diameter_nm"].iloc[[0, 9]]
    assert f"mean diameter: {first:.3g} → {last:.3g} nm" in said
    assert f"particles: {table['n_particles'].iloc[0]} → {table['n_particles'].iloc[9]}" in said
    assert read.open == []
    assert len(text) < 50_000


def test_it_loads_nothing_and_has_no_colour_of_its_own_but_in_the_picture(run):
    text = run._repr_html_()
    read = Reader(text)
    assert not {"script", "link", "style", "iframe"} & set(read.tags)
    links = [v for _, name, v in read.attributes if name in {"src", "href"}]
    assert all(v.startswith("data:image/png;base64,") for v in links)
    styles = " ".join(v for _, name, v in read.attributes if name == "style")
    # text and lines follow the page; borders are grey that shows on black and on white
    assert not re.search(r"(?<![-\w])(?:color(?!:inherit)|background(?:-color)?(?!:none)):", styles)
    assert {v for t, name, v in read.attributes if name == "stroke"} == {"currentColor"}


def test_the_picture_shows_the_particles_on_nothing(run):
    (source,) = re.findall(r"data:image/png;base64,([^\"]+)", run._repr_html_())
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(source))).convert("RGBA"))
    shown = run.labels_by_particle()[9] >= 0
    np.testing.assert_array_equal(picture[..., 3] > 0, shown)
    assert len(np.unique(picture[shown], axis=0)) > 2


def test_every_text_is_escaped():
    facts = Facts(
        NASTY, NASTY, {NASTY: NASTY}, {NASTY: 1}, [Line(NASTY, NASTY, np.arange(3.0))], np.zeros((4, 4), int), NASTY
    )
    read = Reader(card(facts))
    assert "script" not in read.tags
    assert " ".join(read.texts).count("<script>") >= 6
    assert ("img", "alt", NASTY) in read.attributes
    assert read.open == []


def test_what_is_not_known_is_said(tmp_path):
    said = " ".join(Reader(make_run(tmp_path / "bare", calibration=Calibration())._repr_html_()).texts)
    assert "pixel size unknown" in said.replace("  ", " ")
    assert "frame time unknown" in said.replace("  ", " ")
    assert re.search(r"mean diameter: [\d.]+ → [\d.]+ px", said)


@pytest.mark.parametrize("labels", [True, False])
def test_a_run_that_has_hardly_begun_has_a_card(tmp_path, labels):
    run = make_run(tmp_path / "run", finish=False, frames=3, labels=labels)
    text = run._repr_html_()
    assert "not finished" in text
    assert "<svg" not in text
    assert Reader(text).open == []


def test_a_line_has_a_gap_where_frames_have_no_value():
    values = np.array([1.0, 2, np.nan, 3, 4])
    (path,) = re.findall(r'd="([^"]+)"', card(Facts("a", "b", {}, {}, [Line("n", "", values)])))
    assert path.count("M") == 2
    assert "nan" not in path.lower()
    assert "<svg" not in card(Facts("a", "b", {}, {}, [Line("n", "", np.full(4, np.nan))]))


def test_long_lines_are_thinned_to_means():
    values = np.arange(1000.0)
    values[500:] = np.nan
    thin = thinned(values, 10)
    np.testing.assert_allclose(thin[:5], [49.5, 149.5, 249.5, 349.5, 449.5])
    assert np.isnan(thin[5:]).all()
    np.testing.assert_array_equal(thinned(values, 2000), values)


def test_a_million_frames_make_a_small_card():
    lines = [Line("n", "", np.random.default_rng(0).normal(size=1_000_000)) for _ in range(2)]
    noise = np.random.default_rng(1).integers(-1, 500, (2000, 2000))
    assert len(card(Facts("a", "b", {}, {}, lines, noise))) < 50_000


def test_a_terminal_gets_one_line(run):
    assert repr(run) == f"Run('{run.path}', finished, 10 frames, 39 particle rows)"
    assert run.frames.to_pandas()["status"].iloc[BAD] == "bad"
