from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insitu.errors import CommandError
from insitu.options import STAGES, EventOptions, LinkOptions, PrepareOptions
from insitu.settings import (
    Settings,
    base_toml,
    catalogue,
    find,
    load,
    preset_path,
    presets,
    presets_folder,
    read_file,
    stage_model,
)
from insitu.settings.catalogue import to_toml


def refused(**options):
    with pytest.raises(CommandError) as caught:
        load(**options)
    assert caught.value.exit_code == 2
    return caught.value


def test_base_toml_is_in_step_with_the_options():
    written = (presets_folder() / "base.toml").read_text(encoding="utf-8")
    assert written == base_toml(), "options.py has changed: insitu config show --explained > configs/base.toml"


def test_base_toml_names_every_setting_and_reads_back_as_the_defaults():
    table = tomllib.loads(base_toml())
    assert {s: set(v) for s, v in table.items() if isinstance(v, dict)} == {
        s: {f.name for f in fields(options)} for s, options in STAGES.items()
    }
    assert load(config=presets_folder() / "base.toml") == Settings()


def test_settings_has_a_field_for_every_stage():
    assert [f.name for f in fields(Settings)] == [*STAGES, "origins"]
    assert all(getattr(Settings(), stage) == options() for stage, options in STAGES.items())


@pytest.mark.parametrize("name", sorted(presets()))
def test_every_preset_loads_changes_something_and_says_what_it_is_for(name):
    settings = load(preset=name)
    assert settings.changed()
    assert presets()[name]
    assert {settings.origin(key) for key in settings.changed()} <= {f"preset {p}" for p in presets()}


def test_preset_base_is_base():
    assert load(preset="base") == Settings()
    assert load(preset="base").origins == {}
    assert "base" not in presets()


def test_stages_get_their_plain_dataclasses():
    settings = load(overrides=["link.memory_frames=7"])
    assert settings.link == LinkOptions(memory_frames=7)
    assert settings.options("link") is settings.link
    assert type(settings.events) is EventOptions
    assert settings["link.memory_frames"] == 7
    with pytest.raises(CommandError, match="unknown stage 'lnk'"):
        settings.options("lnk")


def test_later_layers_win_and_every_value_keeps_its_origin(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text('[prepare]\nbin = 4\n[segment]\npolarity = "bright"\n', encoding="utf-8")
    settings = load(
        preset="fast",
        config=mine,
        overrides=["segment.polarity=dark"],
        given={"calibration.fps": (400.0, "--fps")},
    )
    assert settings.prepare == PrepareOptions(bin=4)
    assert settings.segment.polarity == "dark"
    origins = {
        "prepare.bin": str(mine),
        "segment.polarity": "--set",
        "measure.perimeter": "preset fast",
        "calibration.fps": "--fps",
        "link.memory_frames": "base",
    }
    assert {key: settings.origin(key) for key in origins} == origins


def test_the_settings_of_a_run_say_of_few_values_that_they_came_from_it(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text(load(overrides=["prepare.bin=2"]).to_toml(), encoding="utf-8")
    again = read_file(file)
    assert again.origins == {"prepare.bin": str(file)}
    assert again.to_toml().count(str(file)) == 1


def test_the_last_of_equal_overrides_wins():
    assert load(overrides=["prepare.bin=2", "prepare.bin=3"]).prepare.bin == 3


def test_extends_puts_a_file_or_a_preset_below(tmp_path):
    (tmp_path / "low.toml").write_text('extends = "fast"\n[link]\nmemory_frames = 1\n', encoding="utf-8")
    high = tmp_path / "high.toml"
    high.write_text('about = "x"\nextends = "low.toml"\n[link]\nsearch_range_px = 4\n', encoding="utf-8")
    settings = read_file(high)
    assert (settings.link.memory_frames, settings.link.search_range_px, settings.prepare.bin) == (1, 4, 2)
    assert settings.origin("link.memory_frames") == "low.toml"
    assert settings.origin("prepare.bin") == "preset fast"


def test_extends_in_a_circle_is_refused(tmp_path):
    (tmp_path / "a.toml").write_text('extends = "b.toml"', encoding="utf-8")
    (tmp_path / "b.toml").write_text('extends = "a.toml"', encoding="utf-8")
    assert "a.toml → b.toml → a.toml" in refused(config=tmp_path / "a.toml").message


@pytest.mark.parametrize(
    ("typed", "message", "hint"),
    [
        ("link.max_stp=2", "unknown setting 'link.max_stp'", "did you mean 'link.search_range_px'?"),
        ("link.serch_range_px=2", "unknown setting 'link.serch_range_px'", "did you mean 'link.search_range_px'?"),
        ("search_range_px=2", "unknown setting 'search_range_px'", "did you mean 'link.search_range_px'?"),
        ("lnk.search_range_px=2", "unknown setting 'lnk.search_range_px'", "did you mean 'link.search_range_px'?"),
        ("link.qqqq=1", "unknown setting 'link.qqqq'", "settings of link: search_range_px, memory_frames"),
        ("qqqq.wwww=1", "unknown setting 'qqqq.wwww'", "list them all with: insitu config show"),
        ("link.memory_frames", "'link.memory_frames' is not key=value", "write for example"),
    ],
)
def test_an_unknown_setting_is_answered_with_the_right_one(typed, message, hint):
    error = refused(overrides=[typed])
    assert error.message == message
    assert error.hint.startswith(hint)


@pytest.mark.parametrize(
    ("typed", "value", "allowed"),
    [
        ("link.search_range_px=-1", "-1", "a number above 0"),
        ("link.search_range_px=0", "0", "a number above 0"),
        ("link.search_range_px=inf", "inf", "a number above 0"),
        ("segment.threshold=1.5", "1.5", "a number above 0 and at most 1, or none"),
        ("segment.threshold=nan", "nan", "a number above 0 and at most 1, or none"),
        ("prepare.bin=17", "17", "an integer, 1 to 16"),
        ("prepare.bin=2.0", "2.0", "an integer, 1 to 16"),
        ("link.memory_frames=three", '"three"', "an integer, 0 to 1000"),
        ("measure.min_area_px=true", "true", "an integer of at least 1"),
        ("measure.perimeter=1", "1", "true or false"),
        ("segment.polarity=drk", '"drk"', "one of auto, dark, bright"),
        ("segment.model=3", "3", "text"),
        ("prepare.crop=[1, 2, 3]", "[1, 2, 3]", "[y0, x0, y1, x1] in integers, or none"),
        ("prepare.crop=[0, 0, 0, 9]", "[0, 0, 0, 9]", "[y0, x0, y1, x1] in integers, or none"),
        ("prepare.crop=[-1, 0, 9, 9]", "[-1, 0, 9, 9]", "[y0, x0, y1, x1] in integers, or none"),
    ],
)
def test_a_value_that_is_not_allowed_names_key_value_origin_and_range(typed, value, allowed):
    error = refused(overrides=[typed])
    key = typed.partition("=")[0]
    assert error.message == f"{key} = {value} (--set) is not allowed"
    assert error.hint.startswith(f"it must be {allowed}; for example --set {key}=")
    assert "none" not in error.hint.partition("for example")[2]


def test_the_example_in_the_hint_works():
    for key, setting in catalogue().items():
        assert load(overrides=[f"{key}={to_toml(setting.default)}"]) == Settings()


def test_the_options_limits_are_those_of_the_models():
    """Just inside every stated limit is accepted, just outside refused."""
    for key, setting in catalogue().items():
        doc = setting.doc
        step = 1 if setting.type is int else 1e-6
        inside = [v for v in (doc.ge, doc.le) if v is not None] + ([doc.gt + step] if doc.gt is not None else [])
        outside = [v for v in (doc.gt,) if v is not None]
        outside += [doc.ge - step] if doc.ge is not None else []
        outside += [doc.le + step] if doc.le is not None else []
        for value in inside:
            assert Settings().replace({key: value}, "test")[key] == value
        for value in outside:
            with pytest.raises(CommandError, match=re.escape(key)):
                Settings().replace({key: value}, "test")


def test_errors_in_files_name_the_file_and_the_place(tmp_path):
    path = tmp_path / "mine.toml"
    assert refused(config=path).message == f"no settings file '{path}'"
    path.write_text("[link]\nsearch_range_px = \n", encoding="utf-8")
    assert "line 2" in refused(config=path).message
    path.write_text("[link]\nmax_step = 3\n", encoding="utf-8")
    assert refused(config=path).message == f"unknown setting 'link.max_step' (in {path})"
    path.write_text("search_range_px = 3\n", encoding="utf-8")
    assert refused(config=path).hint == "did you mean 'link.search_range_px'?"
    path.write_text("zzzz = 3\n", encoding="utf-8")
    assert "[link]" in refused(config=path).hint
    path.write_text('extends = "fas"\n', encoding="utf-8")
    assert refused(config=path).hint == "did you mean 'fast'?"
    path.write_bytes(b"\xff\xfe\x00")
    assert "cannot read" in refused(config=path).message
    assert "cannot read" in refused(config=tmp_path).message
    path.write_text("[link]\nsearch_range_px = 0\n", encoding="utf-8")
    assert f"({path})" in refused(config=path).message


def test_an_unknown_preset_is_answered_with_the_nearest():
    assert refused(preset="bright_field").hint == "did you mean 'bright-field'?"
    assert refused(preset="qqqq").hint.startswith("presets are: ")
    assert refused(preset="../pyproject").message == "unknown preset '../pyproject'"


def test_none_is_written_as_text_and_read_back():
    settings = load(overrides=["segment.threshold=0.4", "prepare.crop=[0, 0, 5, 9]"])
    assert settings.prepare.crop == (0, 0, 5, 9)
    back = settings.replace({"segment.threshold": "none", "prepare.crop": None}, "test")
    assert back == Settings()


def test_prepare_hot_pixels_none_is_the_word():
    assert load(overrides=["prepare.hot_pixels=none"]).prepare.hot_pixels == "none"


@given(
    text=st.text(max_size=20),
    crop=st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(10, 99), st.integers(10, 99)),
    number=st.floats(1e-12, 1e12),
    flag=st.booleans(),
)
def test_resolved_toml_round_trips(tmp_path_factory, text, crop, number, flag):
    values = {"segment.model": text, "prepare.crop": crop, "link.search_range_px": number, "store.fsync": flag}
    settings = Settings().replace(values, "a\nstrange origin # with [marks]")
    path = tmp_path_factory.getbasetemp() / "resolved.toml"
    for explained in (False, True):
        path.write_text(settings.to_toml(explained=explained), encoding="utf-8", newline="\n")
        assert read_file(path) == settings


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(AttributeError):
        Settings().link.memory_frames = 4
    with pytest.raises(AttributeError):
        Settings().link = LinkOptions()


def test_stage_models_forbid_what_they_do_not_know():
    with pytest.raises(ValueError, match="Extra inputs"):
        stage_model("link")(max_step=3)


def test_every_setting_is_documented_with_a_sentence():
    for setting in catalogue().values():
        assert setting.doc.text.endswith((".", ")")), setting.key
        assert setting.allowed


def test_find_and_preset_path_return_what_exists():
    assert find("link.memory_frames").default == LinkOptions().memory_frames
    assert preset_path("fast").is_file()


def test_importing_settings_imports_nothing_heavy():
    code = "import sys, insitu.settings; print([m for m in ('torch', 'pandas', 'numpy', 'zarr') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_installed_package_finds_its_presets_inside_itself(tmp_path):
    """The wheel holds ``configs/`` as ``insitu/configs`` (pyproject: force-include)."""
    root = presets_folder().parent
    forced = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert forced["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"] == {"configs": "insitu/configs"}
    shutil.copytree(root / "insitu" / "settings", tmp_path / "insitu" / "settings")
    shutil.copytree(presets_folder(), tmp_path / "insitu" / "configs")
    for name in ("__init__.py", "errors.py", "options.py"):
        shutil.copy(root / "insitu" / name, tmp_path / "insitu" / name)
    code = "from insitu.settings import load, presets_folder; load(preset='fast'); print(presets_folder())"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    )
    assert done.stdout.strip() == str(tmp_path / "insitu" / "configs")
