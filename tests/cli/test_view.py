from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from types import ModuleType

import pytest

FAST = ("--set", "store.fsync=false", "--set", "prepare.reference_frames=2")


@pytest.fixture(scope="module")
def analysed(tmp_path_factory, movie):
    from insitu.cli import main

    out = tmp_path_factory.mktemp("view") / "movie.insitu"
    assert main(["run", str(movie), "-o", str(out), "--quiet", *FAST]) == 0
    return out


def test_a_dry_run_lists_the_layers_and_needs_no_napari(call, analysed, monkeypatch):
    monkeypatch.setitem(sys.modules, "napari", None)
    done = call("view", analysed, "--dry-run")
    assert (done.code, done.err) == (0, "")
    assert [line.split()[:2] for line in done.lines] == [
        ["image", "image"],
        ["particles", "labels"],
        ["tracks", "tracks"],
        ["events", "points"],
    ]
    assert done.lines[0].endswith("12 × 96 × 112")
    image = json.loads(call("view", analysed, "--dry-run", "--json").lines[0])
    assert (image["name"], image["units"], image["shape"]) == ("image", ["s", "nm", "nm"], [12, 96, 112])


@pytest.mark.skipif(find_spec("napari") is not None, reason="napari is installed here")
def test_without_napari_there_are_two_lines(call, analysed):
    said, hint = call("view", analysed).refused(2)
    assert said == "insitu view needs napari, which is not installed"
    assert hint.startswith('pip install "insitu[napari]"')


def test_all_layers_are_added_to_a_viewer(call, analysed, monkeypatch):
    added, shown = [], []

    class Viewer:
        def __init__(self, title):
            shown.append(title)

        def add_layer(self, layer):
            added.append(layer)

    napari = ModuleType("napari")
    napari.Viewer = Viewer
    napari.layers = ModuleType("napari.layers")
    napari.layers.Layer = type("Layer", (), {"create": staticmethod(lambda data, about, kind: (about["name"], kind))})
    napari.run = lambda: shown.append("run")
    monkeypatch.setitem(sys.modules, "napari", napari)
    monkeypatch.setattr("insitu.cli.view.find_spec", lambda _name: object())
    monkeypatch.setenv("DISPLAY", ":9")
    assert call("view", analysed, "--min-length", 2).code == 0
    assert [kind for _, kind in added] == ["image", "labels", "tracks", "points"]
    assert shown == ["movie.insitu", "run"]


def test_a_napari_without_a_window_is_told(call, analysed, monkeypatch):
    napari = ModuleType("napari")

    def viewer(**_options):
        raise ImportError("No Qt bindings could be found\nmore")

    napari.Viewer = viewer
    monkeypatch.setitem(sys.modules, "napari", napari)
    monkeypatch.setattr("insitu.cli.view.find_spec", lambda _name: object())
    monkeypatch.setenv("DISPLAY", ":9")
    done = call("view", analysed)
    assert done.code == 2
    assert done.err.splitlines()[-2:][0] == "error: napari has no window here: No Qt bindings could be found"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a screen is found otherwise elsewhere")
def test_without_a_screen_there_are_two_lines(call, analysed, monkeypatch):
    monkeypatch.setattr("insitu.cli.view.find_spec", lambda _name: object())
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert call("view", analysed).refused(2)[0] == "there is no screen here: DISPLAY is not set"


def test_what_is_no_run_ends_with_3(call, tmp_path):
    assert "is not an insitu run" in call("view", tmp_path).refused(3)[0]
