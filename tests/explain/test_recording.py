"""Every layer is seen, functions too; a dead filter is found, a living one is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from insitu.errors import CommandError
from insitu.explain import channels
from insitu.explain.recording import chosen, record, stages
from insitu.models.architectures import build, names


@pytest.fixture(scope="module")
def image():
    return torch.from_numpy(np.random.default_rng(1).standard_normal((1, 1, 64, 64)).astype(np.float32))


def test_a_function_in_forward_is_recorded_like_a_module(image):
    net = build("shallow", {"filters": 5}).eval()
    found = {a.name: a for a in record(net, image)}
    assert list(found) == ["kernels", "relu", "head"]
    torch.testing.assert_close(found["relu"].maps, found["kernels"].maps.relu())
    assert found["relu"].rectifies
    assert not found["kernels"].rectifies


@pytest.mark.parametrize("architecture", [n for n in names() if n != "fcn8s"])
def test_every_architecture_has_unique_layers_and_stages_that_end_in_its_output(architecture, image):
    net = build(architecture).eval()
    answers = record(net, image)
    assert len({a.name for a in answers}) == len(answers)
    shown = stages(answers)
    assert 2 < len(shown) < 25
    with torch.inference_mode():
        torch.testing.assert_close(shown[-1].maps, net(image)[0])
    # nothing is left behind on the network
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_layers_are_chosen_by_name_and_a_wrong_name_is_answered(image):
    answers = record(build("resunet").eval(), image)
    assert [a.name for a in chosen(answers, ["down.0.path.0"])] == ["down.0.path.0"]
    with pytest.raises(CommandError, match=r"no layer 'bridg'") as caught:
        chosen(answers, ["bridg"])
    assert "did you mean 'bridge'" in caught.value.hint


def test_silent_and_constant_filters_are_counted_once(image):
    net = build("shallow", {"filters": 6}).eval()
    with torch.no_grad():
        net.kernels.bias[0] = -1e4  # never above zero
        net.kernels.weight[1] = 0.0  # the same everywhere, and above zero
        net.kernels.bias[1] = 1.0
    rows = channels.described(record(net, image), [record(net, image)], np.zeros((64, 64), bool))
    counts = channels.dead(rows)
    assert counts["relu"] == {"channels": 6, "silent": 1}
    assert counts["kernels"] == {"channels": 6, "constant": 1}
    assert [r["state"] for r in rows if r["layer"] == "relu"] == ["silent", "constant", *["alive"] * 4]
    # the very same image stirs as much as itself
    assert all(r["stirred_by_noise"] == pytest.approx(1.0) for r in rows if r["state"] == "alive")


def test_contrast_is_measured_where_the_particles_are():
    mask = np.zeros((32, 32), bool)
    mask[8:16, 8:16] = True
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((2, 16, 16)) + np.stack([5.0 * mask[::2, ::2], np.zeros((16, 16))])
    from insitu.explain.recording import Answer

    rows = channels.described([Answer("x", "Conv2d", torch.from_numpy(maps))], [], mask)
    assert rows[0]["contrast"] == pytest.approx(5.0, rel=0.15)
    assert abs(rows[1]["contrast"]) < 0.5
    assert np.isnan(rows[0]["stirred_by_noise"])


def test_shares_of_a_coarser_grid_are_exact_also_where_grids_do_not_divide():
    mask = np.random.default_rng(2).random((48, 36)) < 0.4
    coarse = channels.shrunk(mask, (12, 9))
    np.testing.assert_allclose(coarse, mask.reshape(12, 4, 9, 4).mean(axis=(1, 3)))
    assert channels.shrunk(mask, (5, 7)).shape == (5, 7)


class _Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.same = nn.Conv2d(1, 1, 1)

    def forward(self, x):
        return self.same(self.same(x))


def test_a_module_called_twice_has_two_answers(image):
    assert [a.name for a in record(_Two(), image)] == ["same", "same#2"]
