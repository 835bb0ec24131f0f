"""The figure of a training."""

from __future__ import annotations

import numpy as np

from insitu import figures


def test_the_curves_are_those_of_the_training(tmp_path):
    losses = (1.0 / np.arange(1, 101)).tolist()
    drawn = figures.learning(losses, [(50, 0.8), (100, 0.7)], best_step=50)
    left, right = drawn.figure.axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), losses)
    mean = left.lines[1]
    np.testing.assert_allclose(mean.get_ydata()[0], np.mean(losses[:2]))
    assert mean.get_xdata()[-1] == 100
    np.testing.assert_array_equal(right.lines[0].get_xdata(), [50, 100])
    assert right.lines[1].get_xdata()[0] == 50
    assert "0.800" in drawn.alt
    figures.save(drawn, tmp_path)
    rows = (tmp_path / "learning.csv").read_text().splitlines()
    assert rows[0] == "step,loss,validation_dice"
    assert rows[50] == "50,0.02,0.8"
    assert rows[51].endswith(",")


def test_a_training_of_one_step_without_validation_is_drawn(tmp_path):
    figures.save(figures.learning([0.5], []), tmp_path)
    assert (tmp_path / "learning.png").stat().st_size > 1000
