"""Learning from simulated images: data, loop and the command."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from insitu.models.checkpoint import build, load_network
from insitu.train import weights
from insitu.train.data import Pairs, batch, simulated_pairs
from insitu.train.loop import Recipe, objective, seeded, train


@pytest.fixture(scope="module")
def pairs():
    return simulated_pairs(16, 96, seed=3)


def test_pairs_follow_from_their_seed_and_number(pairs):
    again = simulated_pairs(4, 96, seed=3)
    np.testing.assert_array_equal(again.images, pairs.images[:4])
    np.testing.assert_array_equal(again.masks, pairs.masks[:4])
    assert not np.array_equal(simulated_pairs(1, 96, seed=4).images[0], pairs.images[0])


def test_particles_are_positive_in_every_pair(pairs):
    assert np.isfinite(pairs.images).all()
    contrast = [
        i.astype(np.float32)[m > 0].mean() - i.astype(np.float32)[m == 0].mean()
        for i, m in zip(pairs.images, pairs.masks, strict=True)
        if m.mean() > 0.02
    ]
    assert len(contrast) > 5
    assert np.mean(np.array(contrast) > 0) > 0.8
    assert set(np.unique(pairs.masks)) == {0, 1}


def test_crops_keep_image_and_mask_together():
    y, x = np.mgrid[:40, :40]
    both = (y * 40 + x) % 251
    pairs = Pairs(both[None].astype(np.float16), both[None].astype(np.uint8))
    images, masks = batch(pairs, np.random.default_rng(0), 32, 16)
    assert images.shape == (32, 1, 16, 16)
    assert torch.equal(images[:, 0], masks)
    assert len({tuple(m[0, :3].tolist()) for m in masks}) > 20


def test_the_objective_is_small_only_for_the_right_answer():
    mask = torch.zeros(1, 8, 8)
    mask[0, 2:5, 2:5] = 1
    right, wrong = (mask - 0.5) * 20, (0.5 - mask) * 20
    assert float(objective(right, mask, 0.5)) < 0.01
    assert float(objective(wrong, mask, 0.5)) > 5
    assert float(objective(right, mask, 0.5)) < float(objective(right * 0.05, mask, 0.5))


def test_a_short_run_learns_and_repeats_from_its_seed(pairs):
    recipe = Recipe(steps=40, batch=4, crop_px=64, seed=5)
    runs = []
    for _ in range(2):
        module = seeded(lambda: build("resunet"), recipe.seed)
        losses = train(module, pairs, recipe)
        assert not module.training
        runs.append((losses, module.state_dict()))
    assert np.mean(runs[0][0][-8:]) < 0.85 * np.mean(runs[0][0][:8])
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(a, b) for a, b in zip(runs[0][1].values(), runs[1][1].values(), strict=True))
    other = seeded(lambda: build("resunet"), 6)
    assert not torch.equal(other.head.weight, seeded(lambda: build("resunet"), 5).head.weight)


def test_seeding_and_training_leave_the_global_state_alone(pairs):
    torch.manual_seed(0)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    train(seeded(lambda: build("shallow"), 1), pairs, Recipe(steps=2, batch=2, crop_px=32))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_the_command_writes_weights_and_both_cards(tmp_path, monkeypatch):
    quick = weights.Plan("shallow-mixed-1", "shallow", Recipe(steps=3, batch=2, crop_px=32))
    monkeypatch.setattr(weights, "PLANS", (quick,))
    monkeypatch.setattr(weights, "HELD_OUT_SCENES", 2)
    monkeypatch.setattr(weights, "SIDE_PX", 64)
    monkeypatch.setattr("insitu.models.memory.keep_large_blocks", lambda: False)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    done = CliRunner().invoke(weights.main, ["--out", str(tmp_path), "--scenes", "8"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "shallow-mixed-1  IoU" in done.output
    model = load_network(tmp_path / "shallow-mixed-1.safetensors")
    assert sorted(f.suffix for f in tmp_path.iterdir()) == [".json", ".md", ".safetensors"]
    card = json.loads((tmp_path / "shallow-mixed-1.json").read_text())
    np.testing.assert_allclose(weights.reference_output(model.module), card["reference"], atol=1e-6)
    assert card["recipe"]["steps"] == 3
    assert set(card["pixel_iou_at_threshold"]) == {"0.3", "0.4", "0.5", "0.6", "0.7"}


def test_the_command_names_plans_that_do_not_exist():
    from insitu.errors import CommandError

    with pytest.raises(CommandError, match="no plan for resnet") as caught:
        CliRunner().invoke(weights.main, ["--only", "resnet"], catch_exceptions=False)
    assert "unet-mixed-1" in caught.value.hint
