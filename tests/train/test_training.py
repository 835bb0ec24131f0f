"""The loop, its data and its resumption."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from insitu.errors import CommandError
from insitu.models.checkpoint import build
from insitu.train.data import CONTACT, UNKNOWN, Mixture, Pairs, batch
from insitu.train.loop import Recipe, objective, rate, seeded, settle, train
from insitu.train.tiles import scene_tiles


@pytest.fixture(scope="module")
def pairs():
    return scene_tiles(12, 64, seed=3)


def test_scenes_follow_from_their_seed_and_number(pairs):
    again = scene_tiles(3, 64, seed=3)
    np.testing.assert_array_equal(again.images, pairs.images[:3])
    np.testing.assert_array_equal(again.masks, pairs.masks[:3])
    assert not np.array_equal(scene_tiles(1, 64, seed=4).images[0], pairs.images[0])
    assert np.isfinite(pairs.images).all()


def test_crops_keep_image_and_mask_together():
    y, x = np.mgrid[:40, :40]
    both = (y * 40 + x) % 251
    pairs = Pairs(both[None].astype(np.float16), both[None].astype(np.uint8))
    images, codes = batch(pairs, np.random.default_rng(0), 32, 16)
    assert images.shape == (32, 1, 16, 16)
    assert torch.equal(images[:, 0], codes.float())
    assert len({tuple(m[0, :3].tolist()) for m in codes}) > 20


def test_a_mixture_is_drawn_from_in_its_shares():
    parts = tuple(Pairs(np.full((1, 8, 8), k, np.float16), np.full((1, 8, 8), k, np.uint8)) for k in range(3))
    images, _ = batch(Mixture(parts, (1.0, 0.0, 3.0)), np.random.default_rng(0), 4000, 8)
    counts = np.bincount(images[:, 0, 0, 0].int().numpy(), minlength=3)
    assert counts[1] == 0
    assert abs(counts[2] / 4000 - 0.75) < 0.03


def test_jitter_moves_level_and_contrast_of_whole_crops():
    pairs = Pairs(np.stack([np.tile([0.0, 4.0], (8, 4))]).astype(np.float16), np.zeros((1, 8, 8), np.uint8))
    images, _ = batch(pairs, np.random.default_rng(0), 500, 8, jitter=0.3)
    low, high = images.amin((1, 2, 3)), images.amax((1, 2, 3))
    assert float(low.abs().max()) <= 0.3
    contrast = (high - low) / 4
    assert 0.74 < float(contrast.min()) < 0.8
    assert 1.25 < float(contrast.max()) < 1.35


def test_the_objective_is_small_only_for_the_right_answer():
    codes = torch.zeros(1, 8, 8, dtype=torch.uint8)
    codes[0, 2:5, 2:5] = 1
    right, wrong = (codes.float() - 0.5) * 20, (0.5 - codes.float()) * 20
    for loss in ("entropy", "focal"):
        recipe = Recipe(loss=loss)
        assert float(objective(right, codes, recipe)) < 0.01
        assert float(objective(wrong, codes, recipe)) > 5
        assert float(objective(right, codes, recipe)) < float(objective(right * 0.05, codes, recipe))


def test_unknown_pixels_count_for_nothing_and_contacts_for_more():
    codes = torch.zeros(1, 8, 8, dtype=torch.uint8)
    codes[0, :2] = 1
    logits = torch.where(codes == 1, 4.0, -4.0)
    wrong = logits.clone()
    wrong[0, 6] = 4.0
    plain = float(objective(wrong, codes, Recipe()))
    codes[0, 6] = CONTACT
    assert float(objective(wrong, codes, Recipe(contact=4.0))) > 2 * plain
    codes[0, 6] = UNKNOWN
    assert math.isclose(
        float(objective(wrong, codes, Recipe())), float(objective(logits, codes, Recipe())), rel_tol=1e-6
    )


def test_dice_of_each_image_makes_a_small_missed_particle_dear():
    codes = torch.zeros(2, 32, 32, dtype=torch.uint8)
    codes[0, :20, :20] = 1
    codes[1, 4:8, 4:8] = 1
    logits = torch.where(codes == 1, 8.0, -8.0)
    logits[1] = -8.0  # the small one is missed
    batch, image = (float(objective(logits, codes, Recipe(dice=1.0, dice_over=n))) for n in ("batch", "image"))
    assert batch < 0.1
    assert image > 0.4


def test_settled_norms_have_the_mean_of_many_batches(pairs):
    recipe = Recipe(batch=2, crop_px=32, seed=4)
    module = seeded(lambda: build("resunet", {"pools": [2], "base": 4}), 1)
    before = {k: v.clone() for k, v in module.state_dict().items() if "running" not in k and "tracked" not in k}
    settle(module, pairs, recipe, 12)
    assert not module.training
    after = module.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items())
    assert module.down[0].path[1].momentum == 0.1
    seen = []
    for k in range(12):
        images, _ = batch(pairs, np.random.default_rng([4, 2, k]), 2, 32)
        seen.append(module.down[0].path[0](images).mean((0, 2, 3)).detach())
    torch.testing.assert_close(after["down.0.path.1.running_mean"], torch.stack(seen).mean(0))


def test_a_weight_on_particles_makes_a_missed_one_dearer():
    codes = torch.zeros(1, 8, 8, dtype=torch.uint8)
    codes[0, :2] = 1
    missed = torch.full((1, 8, 8), -3.0)
    assert float(objective(missed, codes, Recipe(balance=3.0, dice=0.0))) > 1.5 * float(
        objective(missed, codes, Recipe(dice=0.0))
    )


def test_the_rate_rises_for_three_tenths_and_falls_to_nothing():
    recipe = Recipe(steps=101, most_rate=0.01)
    rates = [rate(step, recipe) for step in range(101)]
    assert math.isclose(rates[0], 0.01 / 25)
    assert int(np.argmax(rates)) in (29, 30)
    assert math.isclose(max(rates), 0.01, rel_tol=2e-3)
    assert math.isclose(rates[-1], 1e-7)
    assert (np.diff(rates[:30]) > 0).all()
    assert (np.diff(rates[30:]) < 0).all()
    # half way down, half of the rate
    assert math.isclose(rates[65], 0.005, rel_tol=0.03)


def test_a_short_run_learns_and_repeats_from_its_seed(pairs):
    recipe = Recipe(steps=30, batch=4, crop_px=32, seed=5)
    runs = []
    for _ in range(2):
        module = seeded(lambda: build("resunet"), recipe.seed)
        history = train(module, pairs, recipe)
        assert not module.training
        runs.append((history.losses, module.state_dict()))
    assert np.mean(runs[0][0][-8:]) < 0.85 * np.mean(runs[0][0][:8])
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(a, b) for a, b in zip(runs[0][1].values(), runs[1][1].values(), strict=True))
    other = seeded(lambda: build("resunet"), 6)
    assert not torch.equal(other.head.weight, seeded(lambda: build("resunet"), 5).head.weight)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("architecture", ["resunet", "light_unet"])
def test_a_killed_training_goes_on_to_the_same_weights(pairs, tmp_path, monkeypatch, architecture):
    monkeypatch.setattr("insitu.train.loop.REPORT_STEPS", 4)
    recipe = Recipe(steps=14, batch=2, crop_px=32, seed=2, check_every=5, patience=9)

    def score(module):
        with torch.no_grad():
            return -float(module(torch.ones(1, 1, 32, 32)).abs().mean())

    def training(report=None, state=None):
        module = seeded(lambda: build(architecture), 2)
        return module, train(module, pairs, recipe, report, validate=score, state=state)

    whole, history = training()

    def kill(step, _loss):
        if step == 8:
            raise KilledError

    with pytest.raises(KilledError):
        training(kill, tmp_path / "state")
    again, went_on = training(state=tmp_path / "state")
    assert went_on.losses == history.losses
    assert went_on.checks == history.checks
    assert went_on.best_step == history.best_step
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))


def test_a_saved_training_of_another_recipe_is_refused(pairs, tmp_path):
    module = seeded(lambda: build("resunet"), 1)
    train(module, pairs, Recipe(steps=2, batch=2, crop_px=32), state=tmp_path / "state")
    with pytest.raises(CommandError, match="another recipe") as caught:
        train(module, pairs, Recipe(steps=3, batch=2, crop_px=32), state=tmp_path / "state")
    assert "another output" in caught.value.hint


def test_a_stage_may_leave_its_schedule_early(pairs, tmp_path):
    recipe = Recipe(steps=8, batch=2, crop_px=32, seed=5)
    left = replace(recipe, until=3)
    module = seeded(lambda: build("resunet", {"pools": [2], "base": 4}), 1)
    history = train(module, pairs, left, state=tmp_path / "left")
    assert len(history.losses) == 3
    whole = seeded(lambda: build("resunet", {"pools": [2], "base": 4}), 1)
    assert train(whole, pairs, recipe).losses[:3] == history.losses
    assert train(module, pairs, left, state=tmp_path / "left").losses == history.losses


def test_a_training_stops_when_validation_gains_nothing(pairs):
    scores = iter([0.5, 0.7, 0.6, 0.6, 0.9, 0.9])
    module = seeded(lambda: build("shallow"), 1)
    history = train(
        module,
        pairs,
        Recipe(steps=12, batch=2, crop_px=32, check_every=2, patience=2),
        validate=lambda _module: next(scores),
    )
    assert history.stopped
    assert history.best_step == 4
    assert len(history.losses) == 8


def test_seeding_and_training_leave_the_global_state_alone(pairs):
    torch.manual_seed(0)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    train(seeded(lambda: build("shallow"), 1), pairs, Recipe(steps=2, batch=2, crop_px=32))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
