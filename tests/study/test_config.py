"""A study that is wrong is refused in two lines that name the place; what ships is right."""

from __future__ import annotations

import pytest

from insitu.errors import CommandError
from insitu.study.cells import cells_of
from insitu.study.config import read_study, shipped

GOOD = """
seeds = [1, 2]
[training]
steps = 3
[models.small]
architecture = "shallow"
[models.plain]
method = "classical"
[data.a]
kind = "simulated"
[data.b]
kind = "changed"
from = "a"
bits = 8
[data.c]
kind = "mixture"
of = ["a", "a"]
"""


def written(tmp_path, text):
    path = tmp_path / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_study_has_its_cells_in_order(tmp_path):
    study = read_study(written(tmp_path, GOOD))
    cells = cells_of(study)
    assert len(cells) == 1 + 2 * 3
    assert cells[0].model == "plain"
    assert [c.seed for c in cells[1:]] == [1, 1, 1, 2, 2, 2]
    assert study.tested_on("a") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("seeds = [1, 2]", "sedes = [1]", "unknown name 'sedes'", "did you mean 'seeds'"),
        ("seeds = [1, 2]", "seeds = []", "seeds = []", "at least 1 item"),
        ("steps = 3", "stepz = 3", "unknown name 'stepz' under training", "did you mean 'steps'"),
        ("steps = 3", 'steps = "3"', "training.steps = '3'", "like its default"),
        ("steps = 3", "steps = true", "training.steps = True", "like its default"),
        ('architecture = "shallow"', 'architectur = "shallow"', "unknown name 'architectur'", "'architecture'"),
        ('architecture = "shallow"', "", "models.small", "give either architecture"),
        ('method = "classical"', 'method = "classical"\narchitecture = "unet"', "models.plain", "give either"),
        ('kind = "simulated"', 'kind = "simulatd"', "data.a.kind", "kinds of data: simulated"),
        ('kind = "simulated"', 'kind = "simulated"\nradius = [1, 2]', "'radius' under data.a", "'radius_px'"),
        ('kind = "simulated"', 'kind = "simulated"\nempty = 3', "data.a.empty = 3", "less than or equal to 1"),
        ('from = "a"', 'from = "aa"', "unknown name 'aa' under data.b", "did you mean 'a'"),
        ('from = "a"', 'from = "c"', "data.b", "simulated or labelled"),
        ("bits = 8", "bits = 12", "data.b.bits = 12", "8"),
        ("[models.small]", "[models.small", "is not TOML", "howto/study"),
    ],
)
def test_wrong_studies_are_refused_where_they_are_wrong(tmp_path, old, new, message, hint):
    assert old in GOOD
    with pytest.raises(CommandError) as caught:
        read_study(written(tmp_path, GOOD.replace(old, new, 1)))
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message


def test_a_missing_file_is_answered_with_the_nearest_study(tmp_path):
    with pytest.raises(CommandError, match="no study") as caught:
        read_study(tmp_path / "receptivefield.toml")
    assert "did you mean 'receptive-field'" in caught.value.hint


@pytest.mark.parametrize("name", list(shipped()))
def test_shipped_studies_are_valid_and_say_what_they_ask(name):
    study = read_study(shipped()[name])
    assert study.about
    assert len(study.seeds) >= 3
    from insitu.models.architectures import anatomy

    for network in study.models.values():
        if network.architecture:
            assert anatomy(network.architecture, network.parameters).parameters > 0
