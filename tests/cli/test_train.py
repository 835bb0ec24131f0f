"""``insitu train``."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

QUICK = ("--steps", "6", "--batch", "2", "--crop-px", "32", "--variants", "0", "--quiet")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:64, :72]
    masks = np.stack([(y - 14 - 20 * k) ** 2 + (x - 20) ** 2 < 90 for k in range(3)] * 2)
    images = np.clip(rng.normal(120, 8, masks.shape) - 40 * masks, 0, 255).astype(np.uint8)
    tifffile.imwrite(folder / "images.tif", images, photometric="minisblack")
    tifffile.imwrite(folder / "labels.tif", masks.astype(np.uint8), photometric="minisblack")
    return folder


def given(folder):
    return ("--images", folder / "images.tif", "--labels", folder / "labels.tif")


@pytest.fixture(scope="module")
def architectures():
    from insitu.models.architectures import names

    return names()


SMALL = {
    "fcn8s": {"base": 4},
    "resunet": {"pools": [2, 2], "base": 2},
}


def test_every_architecture_learns_a_few_steps_is_loaded_and_predicts(call, labelled, tmp_path, architectures):
    import torch

    from insitu.models import load
    from insitu.models.architectures import defaults

    for name in architectures:
        small = {k: v for k, v in SMALL.get(name, {}).items() if k in defaults(name)}
        parameters = [word for k, v in small.items() for word in ("--parameter", f"{k}={json.dumps(v)}")]
        steps = ("--steps", "2", "--batch", "2", "--crop-px", "32", "--variants", "0", "--validation", "0", "--quiet")
        out = tmp_path / name
        done = call("train", out, *given(labelled), "--architecture", name, *parameters, *steps)
        assert done.code == 0, done
        model = load(str(out / f"{name}.safetensors"))
        p = model.probabilities(torch.zeros(1, 40, 33))
        assert p.shape == (1, 40, 33)
        assert bool(((p >= 0) & (p <= 1)).all())


def test_weights_cards_and_curves_are_written_and_the_same_seed_gives_the_same(call, labelled, tmp_path):
    for name in ("one", "two"):
        done = call("train", tmp_path / name, *given(labelled), "--architecture", "resunet", *QUICK)
        assert done.code == 0, done
    assert done.lines[-1] == str((tmp_path / "two" / "two.safetensors").resolve())
    assert {f.name for f in (tmp_path / "two").iterdir()} == {
        "two.safetensors",
        "two.json",
        "two.md",
        "learning.svg",
        "learning.png",
        "learning.csv",
    }
    cards = [json.loads((tmp_path / name / f"{name}.json").read_text()) for name in ("one", "two")]
    assert cards[0]["sha256"] == cards[1]["sha256"]
    assert "the lowest 20 %" in cards[0]["validation"]
    assert cards[0]["pixel_dice_at_threshold"]["0.5"] >= 0
    assert "labelled images" in (tmp_path / "one" / "one.md").read_text()
    lines = (tmp_path / "one" / "learning.csv").read_text().splitlines()
    assert lines[0] == "step,loss,validation_dice"
    assert len(lines) == 7


def test_scenes_alone_and_weights_to_begin_with(call, labelled, tmp_path):
    first = tmp_path / "first"
    done = call("train", first, "--scenes", "8", "--architecture", "resunet", "--parameter", "pools=[2, 2]", *QUICK)
    assert done.code == 0, done
    further = tmp_path / "further"
    done = call("train", further, *given(labelled), "--from", first / "first.safetensors", *QUICK, "--json")
    card = json.loads(done.lines[-1])["card"]
    assert (card["architecture"], card["parameters"]) == ("resunet", {"pools": [2, 2]})
    message, hint = call(
        "train",
        tmp_path / "x",
        *given(labelled),
        "--from",
        first / "first.safetensors",
        "--architecture",
        "unet",
        *QUICK,
    ).refused(2)
    assert "holds a resunet" in message
    assert "architecture" in hint


def test_what_exists_is_not_touched_without_being_told(call, labelled, tmp_path):
    out = tmp_path / "out"
    arguments = ("train", out, *given(labelled), "--architecture", "shallow", *QUICK)
    assert call(*arguments).code == 0
    assert "exists" in call(*arguments).refused(2)[0]
    assert "no training to go on with" in call(*arguments, "--resume").refused(2)[0]
    assert call(*arguments, "--overwrite").code == 0
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("x")
    assert "is no training" in call("train", foreign, *arguments[2:], "--overwrite").refused(2)[0]
    assert (foreign / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to learn from"),
        (("--images", "a.tif"), "1 --images and 0 --labels"),
        (("--scenes", "4", "--architecture", "resnet"), "no architecture 'resnet'"),
        (("--scenes", "4", "--parameter", "base"), "--parameter base is not KEY=VALUE"),
    ],
)
def test_wrong_commands_are_answered(call, tmp_path, arguments, message):
    done = call("train", tmp_path / "out", *arguments, *QUICK)
    assert done.code in (2, 3)
    assert message in done.err
    assert len(done.err.splitlines()) == 2
