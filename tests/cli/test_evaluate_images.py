from __future__ import annotations

import json

import numpy as np
import tifffile


def labelled(folder):
    y, x = np.mgrid[:96, :112]
    rng = np.random.default_rng(0)
    for k in range(2):
        inside = (np.hypot(y - 30, x - 30 - k) < 9) | (np.hypot(y - 60, x - 80) < 11)
        image = rng.normal(150 - 70 * inside, 5).astype(np.uint8)
        for name, plane in (("images", image), ("labels", (inside * 255).astype(np.uint8))):
            (folder / name).mkdir(exist_ok=True)
            tifffile.imwrite(folder / name / f"{k}.tif", plane)
    return "--images", folder / "images", "--labels", folder / "labels"


def test_a_model_is_scored_on_labelled_images(call, tmp_path):
    out = tmp_path / "out"
    done = call("evaluate", *labelled(tmp_path), "--model", "classical", "-o", out)
    assert done.code == 0
    assert done.lines[-1] == str(out)
    assert done.lines[2].startswith("classical")
    assert json.loads((out / "scores.json").read_text())["scores"][0]["particle_matched"] == 4
    asked = call("evaluate", *labelled(tmp_path), "--json")
    line = json.loads(asked.lines[-1])
    assert (line["type"], line["n_images"]) == ("scores", 2)
    assert line["scores"][0]["pixel_iou"] > 0.9


def test_what_is_missing_or_mixed_up_is_said(call, tmp_path):
    given = labelled(tmp_path)
    assert "--labels is missing" in call("evaluate", *given[:2]).refused(2)[0]
    assert "nothing to evaluate" in call("evaluate").refused(2)[0]
    assert "--truth" in call("evaluate", "somewhere").refused(2)[1]
    assert "judged apart" in call("evaluate", "somewhere", *given).refused(2)[0]
    assert "no model 'clasical'" in call("evaluate", *given, "--model", "clasical").refused(2)[0]
    assert "twice" in call("evaluate", *given, "--model", "classical", "--model", "classical").refused(2)[0]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    assert "thesis.txt" in call("evaluate", *given, "-o", tmp_path / "mine", "--overwrite").refused(2)[0]
