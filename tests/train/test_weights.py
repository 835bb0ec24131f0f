"""The script of the shipped weights: sets, stages, cards."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from insitu.errors import CommandError
from insitu.models.checkpoint import load_network
from insitu.train import shipped, weights
from insitu.train.data import Pairs
from insitu.train.loop import Recipe
from insitu.train.reference import check_image
from insitu.train.tiles import scene_tiles

SCORES = {
    "gold_iou": 0.9,
    "gold_least": 0.8,
    "gold_edge_px": -0.25,
    "boxes_f1": 0.5,
    "boxes_split_f1": 0.55,
    "boxes": {"Cu1": [0.1, 0.2, 0.3]},
    "emps_recall": 0.6,
    "emps_precision": 0.5,
    "split_recall": 0.7,
    "split_precision": 0.4,
    "emps_instances": 1337,
}


def test_both_stages_are_trained_scored_and_written(tmp_path, monkeypatch):
    import torch

    quick = Recipe(steps=2, batch=2, crop_px=32, seed=3)
    plan = shipped.Plan("shallow-mixed-9", "shallow", (replace(quick, steps=9, until=2), quick), quick)
    drawn = scene_tiles(4, 48, seed=1)
    asked: list[str] = []

    def tiles(name, _samples, _reduced):
        asked.append(name)
        return drawn

    monkeypatch.setattr(shipped, "PLANS", (plan,))
    monkeypatch.setattr(shipped, "tiles", tiles)
    monkeypatch.setattr(shipped, "scored", lambda *_given: {"name": "x", **SCORES})
    monkeypatch.setattr(shipped, "seen_panels", lambda _samples: list(range(17)))
    chosen_on = []

    def operating_point(model, panels):
        chosen_on.append(panels)
        model.threshold, model.seed = 0.4, 0.55
        return 0.4, 0.55, {"0.4/0.55": 0.7}

    monkeypatch.setattr(weights, "operating_point", operating_point)
    monkeypatch.setattr("insitu.models.memory.keep_large_blocks", lambda: False)
    monkeypatch.setattr(torch, "set_num_threads", lambda _n: None)
    arguments = ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"), "--samples", str(tmp_path)]
    done = CliRunner().invoke(weights.main, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "| x |" not in done.output
    assert (
        "| shallow-mixed-9, outline level | 0.900 (0.800) | -0.25 | 0.500 (0.550) | 0.600 / 0.500 | 0.700 / 0.400 |"
        in done.output
    )
    assert sorted(set(asked)) == sorted(shipped.EVERYTHING)
    assert len(asked) == len(set(asked))  # the second stage takes what the first has kept
    card = json.loads((tmp_path / "out" / "shallow-mixed-9.json").read_text())
    point = {"threshold": 0.4, "seed": 0.55, "f2_of_panels": {"0.4/0.55": 0.7}}
    assert card["held_out"] == {"network": SCORES, "level": SCORES, "point": point}
    assert (card["threshold"], card["seed"], card["input"]) == (0.4, 0.55, shipped.INPUT)
    assert chosen_on == [[0, 8, 16]] * 2
    assert len(card["attribution"]) == 3
    model = load_network(tmp_path / "out" / "shallow-mixed-9.safetensors")
    with torch.inference_mode():
        p = model.probabilities(torch.from_numpy(check_image())[None])[0, 32, ::5].numpy()
    np.testing.assert_allclose(p, card["reference"], atol=1e-6)
    text = (tmp_path / "out" / "shallow-mixed-9.md").read_text()
    assert card["sha256"] in text
    assert "CC-BY-4.0" in text
    # asked again, only the threshold of the last stage is chosen anew
    chosen_on.clear()
    again = CliRunner().invoke(weights.main, arguments, catch_exceptions=False)
    assert again.stdout == done.stdout
    assert len(chosen_on) == 1


def test_sets_are_kept_in_the_work_folder(tmp_path, monkeypatch):
    calls = []

    def tiles(name, _samples, _reduced):
        calls.append(name)
        return Pairs(np.zeros((2, 8, 8), np.float16), np.ones((2, 8, 8), np.uint8))

    monkeypatch.setattr(shipped, "tiles", tiles)
    for _ in range(2):
        pairs = weights.kept(tmp_path, tmp_path)("rough")
        assert len(pairs) == 2
        assert (pairs.masks == 1).all()
    assert calls == ["rough"]
    assert not list(tmp_path.glob("*part*"))


def test_a_plan_is_shortened_in_all_its_stages():
    (plan,) = (p for p in shipped.PLANS if p.name == "resunet-mixed-2")
    short = plan.shorter(100)
    assert [r.steps for r in short.recipes] == [r.steps // 100 for r in plan.recipes]
    assert [r.until for r in short.recipes] == [r.until // 100 for r in plan.recipes]
    assert short.further.steps == plan.further.steps // 100
    assert len(plan.recipes) == len(shipped.UNSEEN)


def test_publications_are_never_divided():
    from insitu.train.labelled import Labelled

    def panel(group, name):
        return Labelled(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.int32), np.zeros((4, 4), np.bool_), group, name)

    for k in range(40):
        assert len({shipped.tested(panel(f"10.1/{k}", name)) for name in "abc"}) == 1
    share = np.mean([shipped.tested(panel(f"10.1/{k}", "a")) for k in range(400)])
    assert 0.12 < share < 0.28
    assert not any(shipped.tested(panel(f"unlisted {k}", "a")) for k in range(50))


def test_the_command_names_plans_that_do_not_exist(tmp_path):
    with pytest.raises(CommandError, match="no plan for resnet") as caught:
        CliRunner().invoke(weights.main, ["--only", "resnet", "--work", str(tmp_path)], catch_exceptions=False)
    assert "resunet-mixed-2" in caught.value.hint
