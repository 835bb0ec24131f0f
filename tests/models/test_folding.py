"""Folded batch norms give the same function."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from insitu.models.architectures import build
from insitu.models.folding import fold_norms


def awake(module):
    """Give norms statistics and weights that are not neutral."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
            nn.init.uniform_(part.weight, 0.5, 2.0)
            nn.init.normal_(part.bias)
    return module.eval()


@pytest.mark.parametrize(("architecture", "folded"), [("resunet", 10), ("unet", 0), ("shallow", 0)])
def test_folding_changes_nothing_but_rounding(architecture, folded):
    module = awake(build(architecture))
    image = torch.randn(1, 1, 64, 96)
    with torch.inference_mode():
        before = module(image)
        assert fold_norms(module) == folded
        torch.testing.assert_close(module(image), before, rtol=1e-4, atol=1e-4 * float(before.abs().max()))


def test_a_norm_that_still_learns_or_stands_behind_an_activation_stays():
    learning = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    behind = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.BatchNorm2d(2)).eval()
    assert fold_norms(learning) == fold_norms(behind) == 0
