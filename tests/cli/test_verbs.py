"""info, config, models, doctor, simulate, demo."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from insitu.cli import doctor as doctor_module
from insitu.cli.info import _stretches
from insitu.cli.simulate import Wishes, wanted
from insitu.errors import InputError
from insitu.evaluate import read_truth
from insitu.options import LinkOptions
from insitu.read import open_source
from insitu.settings import Settings, base_toml, load, read_file
from insitu.settings.catalogue import declared
from insitu.simulate import SimulationSettings


def test_info_says_what_is_in_a_file_and_where_its_calibration_came_from(call, movie):
    done = call("info", movie)
    assert done.code == 0
    assert done.lines[0] == str(movie)
    facts = dict(line.strip().split("  ", 1) for line in done.lines[1:])
    assert facts["frames"].strip() == "12"
    assert facts["frame"].strip() == "96×112 px, uint16"
    assert facts["pixel size"].strip().startswith("0.2 nm/px (ImageJ")
    assert facts["frame time"].strip() == "0.0025 s/frame (ImageJ finterval)"


def test_info_in_json(call, movie):
    [line] = [json.loads(line) for line in call("info", movie, "--json").lines]
    assert (line["schema"], line["type"], line["n_frames"], line["nm_per_px"]) == ("insitu.cli/1", "info", 12, 0.2)
    assert line["missing"] == []


def test_info_names_gaps_and_what_is_unknown(call, tmp_path):
    folder = tmp_path / "numbered"
    folder.mkdir()
    for k in (0, 1, 4, 5, 7):
        tifffile.imwrite(folder / f"f_{k:03}.tif", np.full((8, 9), k, np.uint8))
    done = call("info", folder)
    assert "missing     3 frames: 2-3, 6" in done.out
    assert "pixel size  unknown" in done.out
    assert "give --nm-per-px" in done.out


def test_info_looks_into_a_folder_of_movies(call, tmp_path):
    for name in ("b10.npy", "b9.npy"):
        np.save(tmp_path / name, np.zeros((2, 8, 8), np.uint8))
    done = call("info", tmp_path)
    assert [line for line in done.lines if not line.startswith(" ")] == [
        str(tmp_path / n) for n in ("b9.npy", "b10.npy")
    ]


def test_info_of_several_goes_on_after_a_bad_one_and_keeps_its_code(call, movie, tmp_path):
    bad = tmp_path / "bad.tif"
    bad.write_bytes(b"not an image")
    done = call("info", bad, movie)
    assert done.code == 3
    assert str(movie) in done.lines
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) == 2
    assert call("info", bad).refused(3)


def test_info_shows_an_implausible_calibration_without_failing(call, tmp_path):
    path = tmp_path / "far.tif"
    tifffile.imwrite(
        path,
        np.zeros((2, 8, 8), np.uint8),
        imagej=True,
        resolution=(1e-7, 1e-7),
        metadata={"unit": "um", "axes": "TYX"},
    )
    done = call("info", path)
    assert done.code == 0
    assert "problem" in done.out


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([3], "3"), ([3, 4, 5, 9], "3-5, 9"), (list(range(0, 40, 2)), "0, 2, 4, 6, 8, 10, 12, 14, …")],
)
def test_stretches(numbers, text):
    assert _stretches(numbers) == text


def test_config_show_prints_what_a_run_would_use_with_origins(call, tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text("[link]\nmemory_frames = 8\n", encoding="utf-8")
    arguments = ("--preset", "fast", "--config", mine, "--set", "segment.polarity=dark", "--fps", "400")
    shown = call("config", "show", *arguments)
    assert shown.code == 0
    assert "bin = 2  # preset fast" in shown.lines
    assert f"memory_frames = 8  # {mine}" in shown.lines
    assert 'polarity = "dark"  # --set' in shown.lines
    assert "fps = 400.0  # --fps" in shown.lines
    again = tmp_path / "again.toml"
    again.write_text(shown.out, encoding="utf-8")
    expected = load(preset="fast", config=mine, overrides=["segment.polarity=dark", "calibration.fps=400"])
    assert read_file(again) == expected
    changed = call("config", "show", "--changed", *arguments)
    assert len(changed.lines) == len(expected.changed())
    table = json.loads(call("config", "show", "--json", *arguments).out)
    assert table["link.memory_frames"] == {"value": 8, "origin": str(mine)}
    assert table["link.search_range_px"]["origin"] == "base"


def test_config_show_explained_is_base_toml(call):
    assert call("config", "show", "--explained").out == base_toml()
    assert call("config", "show", "--explained", "--preset", "base").out == base_toml()
    assert call("config", "show", "--changed").out == "# as base\n"
    assert (
        read_file_text(call("config", "show", "--explained", "--preset", "fast").out) == load(preset="fast").changed()
    )


def read_file_text(text):
    tables = tomllib.loads(text)
    values = {f"{stage}.{name}": value for stage, table in tables.items() for name, value in table.items()}
    return Settings().replace(values, "text").changed()


def test_config_show_lists_the_presets(call):
    listed = call("config", "show", "--presets").lines
    assert any(line.startswith("fast ") for line in listed)
    assert json.loads(call("config", "show", "--presets", "--json").out)["fast"]


def test_config_explain_says_meaning_range_and_default(call):
    done = call("config", "explain", "link.memory_frames")
    assert done.lines[0] == "link.memory_frames"
    assert "an integer, 0 to 1000" in done.out
    assert "--set link.memory_frames=3" in done.out
    stage = call("config", "explain", "link").out
    assert stage.count("  allowed ") == len(declared(LinkOptions))
    assert "link.search_range_px" in stage
    assert call("config", "explain", "link.memory").refused(2)[1] == "did you mean 'link.memory_frames'?"


def test_config_check_accepts_and_refuses(call, tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text("[link]\nmemory_frames = 8\n", encoding="utf-8")
    assert call("config", "check", mine).lines[1] == f"  link.memory_frames = 8  # {mine}"
    mine.write_text("[link]\nmemory_frames = -8\n", encoding="utf-8")
    message, hint = call("config", "check", mine).refused(2)
    assert message == f"link.memory_frames = -8 ({mine}) is not allowed"
    assert "0 to 1000" in hint


def test_models_list_and_show(call):
    listed = call("models", "list")
    assert listed.code == 0
    [row] = [line for line in listed.lines if line.startswith("classical")]
    assert "no weights" in row
    table = json.loads(call("models", "list", "--json").out)["models"]
    assert sum(m["default"] for m in table) == 1
    for model in table:
        assert call("models", "show", model["name"]).code == 0
        assert json.loads(call("models", "show", model["name"], "--json").out)["name"] == model["name"]
        assert (model["parameters"] is None) == ("no weights" in model["kind"])
    assert call("models", "show", "default").code == 0


def test_architectures_weights_and_presets_are_lists_apart(call):
    lines = call("models", "list", "--presets").lines
    first, second, third = (
        k for k, line in enumerate(lines) if line.split(":")[0] in ("models", "architectures", "presets")
    )
    names = [
        {line.split()[0] for line in part if line} for part in (lines[first:second], lines[second:third], lines[third:])
    ]
    assert {"classical", "bragg"} <= names[0]
    assert {"shallow", "hourglass", "unet", "light_unet", "resunet", "fcn8s"} <= names[1]
    assert {"horwath-unet", "horwath-unet:blur-2", "sytwu-resunet:m88"} <= names[2]
    assert not names[0] & {"unet", "resunet", "horwath-unet"}
    found = json.loads(call("models", "list", "--json", "--presets").out)
    sizes = {m["name"]: m["parameters"] for m in found["architectures"] + found["presets"]}
    assert (sizes["resunet"], sizes["light_unet"], sizes["sytwu-2024"]) == (8_074, 65_002, 130_682)


def test_the_receptive_field_is_told_in_px_and_nm(call):
    facts = json.loads(call("models", "show", "sytwu-resunet:m88", "--nm-per-px", "0.02152", "--json").out)
    assert (facts["receptive_field_px"], facts["receptive_field_nm"]) == (392, pytest.approx(8.436, abs=1e-3))
    shown = call("models", "show", "resunet", "--nm-per-px", "0.1").lines
    assert any(line.split() == ["receptive_field_px", "120"] for line in shown)
    assert any(line.split() == ["receptive_field_nm", "12.0"] for line in shown)
    assert "Recipe as published" in call("models", "show", "groschner-unet").out
    weights = next(m["name"] for m in json.loads(call("models", "list", "--json").out)["models"] if m["parameters"])
    assert "receptive_field_px" in call("models", "show", weights).out
    message, hint = call("models", "show", "horwath-net").refused(2)
    assert message == "no model 'horwath-net'"
    assert "horwath-unet" in hint


def test_weights_are_imported_and_used(call, tmp_path, monkeypatch):
    import torch

    from insitu.models.architectures import build

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    torch.save(build("resunet", {"pools": [2, 2]}).state_dict(), "theirs.pt")
    message, hint = call("models", "import", "theirs.pt").refused(3)
    assert "does not say which architecture" in message
    assert "--architecture resunet" in hint
    done = call(
        "models", "import", "theirs.pt", "--architecture", "resunet", "--set", "pools=[2,2]", "--threshold", "0.6"
    )
    assert done.code == 0
    assert done.lines[-1] == str(tmp_path / "theirs.safetensors")
    assert any(line.split() == ["head.bias", "head.bias", "2"] for line in done.lines)
    shown = json.loads(call("models", "show", "theirs.safetensors", "--json").out)
    assert (shown["receptive_field_px"], shown["card"]["threshold"]) == (44, 0.6)
    message, hint = call("models", "import", "theirs.pt", "--architecture", "resunet").refused(2)
    assert "is there already" in message
    again = ("models", "import", "theirs.pt", "--architecture", "resunet", "--overwrite", "--json")
    assert json.loads(call(*again).out)["tensors"]["head.bias"] == "head.bias"
    for wrong in (["-o", "x.pt"], ["--threshold", "2"], ["--set", "pools", "-o", "y.safetensors"]):
        call("models", "import", "theirs.pt", "--architecture", "resunet", *wrong).refused(2)
    call("models", "import", "theirs.pt", "--architecture", "resnet", "--overwrite").refused(3)
    call("models", "import", "none.pt").refused(3)


def test_doctor_in_words_and_json(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    facts = json.loads(call("doctor", "--json").out)
    assert facts["packages"]["torch"]
    assert facts["devices"][-1].startswith("cpu")
    assert facts["fsync_ms"] > 0
    assert facts["free_bytes"] > 0
    assert "ffmpeg" in facts["ffmpeg"] or facts["ffmpeg"]
    text = call("doctor").out
    assert str(tmp_path) in text
    assert f"numpy {np.__version__}" in text
    assert list(tmp_path.iterdir()) == []


def test_doctor_where_nothing_can_be_written(tmp_path, monkeypatch):
    def refuse(**options):
        raise PermissionError

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert doctor_module.fsync_ms(tmp_path) is None
    assert "cannot be written to" in doctor_module.in_words(doctor_module.examine(tmp_path))


def test_simulate_writes_a_calibrated_movie_and_its_truth(call, tmp_path):
    out = tmp_path / "sim"
    arguments = ("--frames", 4, "--shape", "64x80", "--seed", 3, "--nm-per-px", 0.25, "--fps", 50, "--dose", 100)
    done = call("simulate", out, *arguments, "--set", "particles=5", "--labels")
    assert done.code == 0, done.err
    assert done.lines[-1] == str(out)
    assert "4 frames · 64×80 px · 0.25 nm/px · 20 ms/frame · 100 e⁻/px" in done.lines[0]
    reader = open_source(out / "movie.tif")
    assert reader.info.shape == (64, 80)
    assert reader.info.calibration.nm_per_px == pytest.approx(0.25)
    assert reader.info.calibration.s_per_frame == pytest.approx(0.02)
    reader.close()
    particles, events = read_truth(out / "truth")
    assert {"frame", "particle", "y", "x", "equivalent_diameter_px", "equivalent_diameter_nm", "touches_edge"} <= set(
        particles
    )
    assert (particles["equivalent_diameter_nm"] / particles["equivalent_diameter_px"]).to_numpy() == pytest.approx(0.25)
    assert {"kind", "frame", "y", "x", "touches_edge"} <= set(events)
    assert len(pd.read_parquet(out / "truth" / "tracks.parquet")) == particles["particle"].nunique()
    labels = tifffile.imread(out / "truth" / "labels.tif")
    assert labels.shape == (4, 64, 80)
    assert labels[0].max() == (particles["frame"] == 0).sum()


def test_a_simulation_is_the_same_again_from_its_own_settings(call, tmp_path):
    first, second, third = (tmp_path / name for name in ("a", "b", "c"))
    small = ("--frames", 3, "--shape", "96")
    assert call("simulate", first, *small, "--set", "particles=2", "--set", "drift_nm_per_s=[1.0, 2.0]").code == 0
    assert call("simulate", second, "--config", first / "simulation.toml", "--format", "npy", "--quiet").code == 0
    assert call("simulate", third, "--config", first / "simulation.toml", "--camera", 1000, "--quiet").code == 0
    images = tifffile.imread(first / "movie.tif")
    assert np.array_equal(np.load(second / "movie.npy"), images)
    dropped = open_source(third / "movie")
    slot = np.empty(dropped.info.shape, dropped.info.dtype)
    for k in range(3):
        dropped.read_into(k, slot)
        assert np.array_equal(slot, images[k])
    dropped.close()
    assert pd.read_parquet(first / "truth" / "particles.parquet").equals(
        pd.read_parquet(second / "truth" / "particles.parquet")
    )


def test_simulate_touches_nothing_but_its_own(call, tmp_path):
    out = tmp_path / "sim"
    small = ("--frames", 1, "--shape", "64", "--set", "particles=1", "--quiet")
    assert call("simulate", out, *small).code == 0
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    assert call("simulate", out, *small).refused(2)[0] == f"'{out}' exists"
    assert call("simulate", out, *small, "--overwrite").code == 0
    assert (out / "notes.txt").read_text(encoding="utf-8") == "mine"
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "movie.tif").write_text("mine", encoding="utf-8")
    assert call("simulate", other, *small, "--overwrite").refused(2)[0] == f"'{other}' exists and is no simulation"
    assert (other / "movie.tif").read_text(encoding="utf-8") == "mine"
    assert call("simulate", other / "movie.tif", *small).refused(2)[0].endswith("is not a folder")


def test_a_simulation_that_is_impossible_leaves_no_folder(call, tmp_path):
    message, hint = call("simulate", tmp_path / "sim", "--shape", "32", "--set", "particles=9").refused(2)
    assert message.startswith("no room for 9 particles")
    assert "lower particles" in hint
    assert list(tmp_path.iterdir()) == []


def test_a_smaller_frame_has_room_for_fewer_particles(call, tmp_path):
    done = call("simulate", tmp_path / "sim", "--shape", "128", "--frames", 1, "--seed", 1)
    assert done.code == 0, done.err
    assert "particles = 4\n" in (tmp_path / "sim" / "simulation.toml").read_text(encoding="utf-8")
    usual = wanted(dict.fromkeys(Wishes.__annotations__) | {"overrides": ()})
    assert usual == SimulationSettings()
    coarser = wanted(dict.fromkeys(Wishes.__annotations__) | {"overrides": (), "nm_per_px": 0.4})
    assert coarser.particles == 4 * usual.particles


def test_a_place_where_nothing_can_be_made_is_refused(call, tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for verb in (("simulate", tmp_path / "file" / "sim"), ("demo", "-o", tmp_path / "file" / "demo", "--quiet")):
        assert call(*verb).refused(2)[0].startswith("cannot make the folder")


def test_simulate_lists_its_settings(call):
    assert "mean_diameter_nm = 6.0" in call("simulate", "--list").lines


def test_a_truth_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no truth in"):
        read_truth(tmp_path)


@pytest.fixture
def small_demo(monkeypatch):
    """A demo that takes seconds."""
    from insitu.simulate import presets

    changed = presets.replace(presets.DEMO, shape=(160, 160), particles=8, dose_e_per_px=60.0)
    monkeypatch.setattr(presets, "DEMO", changed)


def test_demo_makes_analyses_grades_and_draws(call, tmp_path, monkeypatch, small_demo):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    done = call("demo", "--frames", 12, "--quiet")
    assert (done.code, done.err) == (0, "")
    first = [line[:9] for line in done.lines[:6]]
    assert first == ["made     ", "analyse  ", "check    ", "wrote    ", "report   ", "try next "]
    out = tmp_path / "demo"
    assert done.lines[-1] == str(out)
    scores = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    assert f"F1 {scores['objects']['f1']:.3f}" in done.lines[2]
    assert scores["objects"]["f1"] > 0.8
    assert scores["links"]["recall"] > 0.9
    assert scores["objects"]["settings"]["min_diameter_px"] == 8.0
    run = out / "movie.insitu"
    assert (run / "overlay.png").stat().st_size > 10_000
    assert (run / "overlay.mp4").stat().st_size > 5_000
    assert done.lines[4] == f"report   {run / 'report.html'}"
    assert 50_000 < (run / "report.html").stat().st_size <= 3_000_000
    assert (run / "coarsening" / "summary.json").is_file()
    assert (run / "figures" / "kinetics.svg").is_file()
    assert {p.stem for p in run.glob("*.parquet")} == {"particles", "tracks", "events", "frames"}
    message, hint = call("demo", "--frames", 12).refused(2)
    assert message == f"'{out}' exists"
    assert "--overwrite" in hint


def test_demo_overwrites_only_a_demo(call, tmp_path, monkeypatch, small_demo):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.tex").write_text("mine", encoding="utf-8")
    assert "is no simulation" in call("demo", "--overwrite").refused(2)[0]
    assert call("demo", "-o", "d", "--frames", 3, "--quiet").code == 0
    done = call("demo", "-o", "d", "--frames", 3, "--overwrite", "--json")
    lines = [json.loads(line) for line in done.lines]
    assert lines[-1]["type"] == "end"
    assert {line["schema"] for line in lines} == {"insitu.cli/1"}
    assert "scores" in {line["type"] for line in lines}


def test_demo_without_ffmpeg_says_so_and_goes_on(call, tmp_path, monkeypatch, small_demo):
    monkeypatch.chdir(tmp_path)

    monkeypatch.setattr("insitu.report.encoding.encoder", lambda: None)
    done = call("demo", "--frames", 3)
    assert done.code == 0
    assert "no ffmpeg to write it with (pip install imageio-ffmpeg); a GIF instead" in done.err
    assert Path("demo/movie.insitu/overlay.png").is_file()
    assert Path("demo/movie.insitu/overlay.gif").is_file()
    assert not list(Path("demo/movie.insitu").glob("*.mp4"))
