"""What the three functions of the top level accept, and what they answer to what they do not."""

from __future__ import annotations

import numpy as np
import pytest

import insitu
from insitu.api import _selection, _settings
from insitu.errors import CommandError
from insitu.intake import Selection
from insitu.settings import Settings


@pytest.fixture
def movie():
    """Six frames (24, 32) uint8 with one dark disc."""
    y, x = np.mgrid[:24, :32]
    rng = np.random.default_rng(0)
    frames = rng.normal(150.0, 3.0, (6, 24, 32))
    frames[:, np.hypot(y - 12, x - 16) < 6] -= 60.0
    return frames.astype(np.uint8)


@pytest.mark.parametrize(
    "frames", [(1, 6, 2), [1, 6, 2], slice(1, 6, 2), range(1, 6, 2), (np.int64(1), np.int64(6), 2)]
)
def test_frames_are_selected_in_every_spelling(movie, frames):
    assert [r.frame.index for r in insitu.stream(movie, frames=frames)] == [1, 3, 5]


def test_frames_left_out_mean_all():
    assert _selection(None) is None
    assert _selection((2, None)) == Selection(2)
    assert _selection(slice(None, 3)) == Selection(0, 3)
    assert _selection(slice(None)) == Selection()


@pytest.mark.parametrize("frames", ["0:5", 5, (1,), (0, 5, 1, 1), (0.0, 5.0), {0, 1}])
def test_frames_of_another_form_are_refused(frames):
    with pytest.raises(CommandError, match="cannot be selected"):
        _selection(frames)


def test_a_step_of_zero_or_backwards_is_refused():
    for frames in (slice(0, 5, 0), range(5, 0, -1)):
        with pytest.raises(CommandError, match="cannot be selected"):
            _selection(frames)


def test_settings_in_every_spelling_are_the_same(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[link]\nsearch_range_px = 8.0\n", encoding="utf-8")
    spellings = ({"link.search_range_px": 8.0}, {"link": {"search_range_px": 8.0}}, file, str(file))
    wanted = Settings().replace({"link.search_range_px": 8.0, "calibration.fps": 400.0}, "test")
    assert [_settings(None, s, fps=400.0) for s in spellings] == [wanted] * 4
    assert _settings(None, wanted) == wanted
    assert _settings("fast", file)["prepare.bin"] == 2


def test_settings_of_a_run_repeat_it(movie, tmp_path):
    first = insitu.analyze(movie, tmp_path / "a", nm_per_px=0.2, settings={"measure": {"min_area_px": 5}})
    again = insitu.analyze(movie, tmp_path / "b", settings=first.path / "settings.toml")
    assert first.calibration.nm_per_px == again.calibration.nm_per_px == 0.2
    assert first.particles.to_arrow().equals(again.particles.to_arrow())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"settings": [1]}, "settings of type list"),
        ({"settings": {"link": {"far": 1}}}, "unknown setting 'link.far'"),
        ({"settings": "nowhere.toml"}, "no settings file"),
        ({"preset": "brightfield"}, "unknown preset"),
        ({"nm_per_px": "a"}, "calibration.nm_per_px"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(movie, tmp_path, wrong, message):
    with pytest.raises(CommandError, match=message):
        insitu.analyze(movie, tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()
