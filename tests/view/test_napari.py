"""The layers as napari itself takes them, and the plug-in as npe2 finds it. Needs no window."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

if find_spec("napari") is None:
    pytest.skip("NAPARI ABSENT: pip install napari to run these tests", allow_module_level=True)
pytestmark = pytest.mark.filterwarnings("ignore")  # napari and what it imports warn of each other


@pytest.fixture
def manifest():
    from pathlib import Path

    from npe2 import PluginManifest

    import insitu

    return PluginManifest.from_file(Path(insitu.__file__).parent / "napari.yaml")


def test_npe2_reads_a_run_folder_through_the_manifest(filmed, manifest):
    from npe2 import PluginManager
    from npe2.io_utils import read_get_reader

    manager = PluginManager.instance()
    if "insitu" not in manager:  # where the package is installed it is found by its entry point
        manager.register(manifest)
    layers, reader = read_get_reader([str(filmed[0].path)], stack=False)
    assert reader.command == "insitu.read_run"
    assert [kind for _, _, kind in layers] == ["image", "labels", "tracks", "points"]


def test_what_is_no_run_is_left_to_others(tmp_path, manifest):
    from insitu.view.plugin import get_reader

    assert get_reader(str(tmp_path)) is None
    assert get_reader([str(tmp_path)]) is None
    assert manifest.contributions.readers[0].filename_patterns == ["*.insitu"]


def test_napari_makes_every_layer(filmed):
    from napari.layers import Layer

    from insitu.view.plugin import get_reader

    path = str(filmed[0].path)
    made = {layer.name: layer for layer in (Layer.create(*data) for data in get_reader(path)(path))}
    assert {n: type(v).__name__ for n, v in made.items()} == {
        "image": "Image",
        "particles": "Labels",
        "tracks": "Tracks",
        "events": "Points",
    }
    for layer in made.values():
        np.testing.assert_allclose(layer.scale, (0.1, 0.5, 0.5))
        assert [str(u) for u in layer.units] == ["second", "nanometer", "nanometer"]
    np.testing.assert_array_equal(np.asarray(made["image"].data[2]), filmed[1][2])
    assert np.asarray(made["particles"].data[0]).max() == 7
    tracks = made["tracks"]
    assert {int(k): sorted(int(p) for p in v) for k, v in tracks.graph.items()}
    assert len(tracks.data) == len(filmed[0].particles)
    assert made["events"].features["kind"].tolist()[0] == "coalescence"
    # a spot lies on the pixels of its particle, in the world's nm
    spot = tracks.data[0]
    world = tracks.data_to_world(spot[1:])
    index = tuple(round(v) for v in made["particles"].world_to_data(world))
    assert np.asarray(made["particles"].data)[index] == 1 + tracks.features["particle"].iloc[0]


def test_a_run_without_events_or_particles_opens(tmp_path, monkeypatch):
    import export_cases
    from napari.layers import Layer

    from insitu.view import layers_of

    monkeypatch.setattr(export_cases, "PARTICLES", {0: ((30.0, 30.0), 9.0, set())})
    monkeypatch.setattr(export_cases, "EVENTS", ())
    export_cases.write_movie(tmp_path)
    found = layers_of(export_cases.make_run(tmp_path / "none"))
    assert [Layer.create(*data).name for data in found.layers] == ["image", "particles", "events"]


def test_a_viewer_model_takes_all_layers_together(filmed):
    from napari.components import ViewerModel
    from napari.layers import Layer

    from insitu.view import layers_of

    viewer = ViewerModel()
    for data in layers_of(filmed[0]).layers:
        viewer.add_layer(Layer.create(*data))
    assert viewer.dims.ndim == 3
    viewer.dims.set_current_step(0, 4)
    assert viewer.dims.point[0] == pytest.approx(0.4)
