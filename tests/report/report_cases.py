"""Runs that a report has to cope with, and what every page must keep to."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import tifffile
from store_cases import CALIBRATED, World, analyse, info

from insitu.pipeline import process
from insitu.settings import Settings

VOID = {"meta", "link", "img", "br", "hr", "input"}
# self-closed by the writer of SVG
SVG_EMPTY = {"path", "use", "image", "rect", "line", "circle", "polyline"}


class Page(HTMLParser):
    """A page read back: what a test may ask of it."""

    def __init__(self, text):
        super().__init__()
        self.source = text
        self.open, self.ids, self.targets, self.images, self.headings, self.addresses = [], [], [], [], [], []
        self.tags, self.words, self.mistakes = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        held = dict(attrs)
        self.tags.append((tag, held))
        if "id" in held:
            self.ids.append(held["id"])
        for name in ("href", "xlink:href", "src"):
            if name in held:
                (self.targets if held[name].startswith("#") else self.addresses).append(held[name].lstrip("#"))
        self.targets += re.findall(r"url\(#([^)]+)\)", " ".join(v or "" for v in held.values()))
        if tag == "img":
            self.images.append(held)
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.mistakes.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def checked(path: Path) -> Page:
    """Read a page and hold it to what every page keeps."""
    source = Path(path).read_text(encoding="utf-8")
    page = Page(source)
    assert page.mistakes == []
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert set(page.targets) <= set(page.ids)
    assert all(a.startswith("data:") for a in page.addresses), [a[:60] for a in page.addresses]
    assert all(image.get("alt") for image in page.images)
    assert not [tag for tag, _ in page.tags if tag in {"script", "iframe", "object", "embed", "base"}]
    assert not [a for _, held in page.tags for a in held if a.startswith("on")]
    assert [held["content"] for tag, held in page.tags if held.get("http-equiv") == "Content-Security-Policy"] == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    ]
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", re.sub(r"data:[^\"]+", "", source)))
    assert addresses <= {"http://www.w3.org/1999/xlink"}
    for word in ("nan", "NaN", "None", "inf", "undefined", "<NA>", "NaT"):
        assert not re.search(rf"(?<![A-Za-z]){re.escape(word)}(?![A-Za-z])", page.text), word
    attributes = " ".join(v for tag, held in page.tags for k, v in held.items() if v and k in {"points", "d", "x", "y"})
    assert "nan" not in attributes
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(page.headings))
    assert len(source.encode()) <= 3_000_000
    return page


def discs(folder: Path, *, frames=24, name="run", nm=0.5, fps=10.0, shrink=False, movie="m.tif", **settings) -> Path:
    """A run of two discs of constant size, of which one moves; with `shrink` a third one dissolves."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:96, :128]
    images = []
    for k in range(frames):
        dark = ((y - 30) ** 2 + (x - 40 - k) ** 2 < 100) | ((y - 66) ** 2 + (x - 84) ** 2 < 150)
        if shrink:
            dark |= (y - 70) ** 2 + (x - 30) ** 2 < max(0.0, 110 - 9 * k)
        images.append(rng.poisson(np.where(dark, 80, 200)).astype(np.uint16))
    tifffile.imwrite(folder / movie, np.stack(images), photometric="minisblack", metadata={"axes": "TYX"})
    given = {"store.fsync": False} | ({"calibration.nm_per_px": nm} if nm else {})
    given |= {"calibration.fps": fps} if fps else {}
    process(folder / movie, folder / name, Settings().replace(given | settings, "test"))
    return folder / name


class AtEdge(World):
    """Every particle touches the edge."""

    def result(self, k):
        made = super().result(k)
        n = len(made.particles.y)
        return replace(made, particles=replace(made.particles, touches_edge=np.ones(n, bool)))


def told(folder: Path, *, frames=70, calibration=CALIBRATED, world=None, stop=None, unit=64) -> Path:
    """A run without a movie, as the store's tests make it."""
    run = replace(info(folder, calibration=calibration, frames=frames), region=(48, 64))
    run = replace(run, source=replace(run.source, height=48, width=64))
    analyse(run, frames=frames, unit=unit, world=world, stop=stop, fsync=False)
    return folder
