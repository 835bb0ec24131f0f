"""A trained network as a `Model`: conditions the frame as in training, turns logits into a probability."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from insitu.models.background import flattened, support

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import nn

# In units of the support's noise. Particles beyond are as clear as they can be; the clip keeps hot pixels and very
# clean images inside the range that training has seen.
CLIP = (-8.0, 24.0)


class Network:
    """A network with its weights (`Model`).

    Parameters
    ----------
    module : torch.nn.Module
        Takes (B, 1, H, W), gives two logits (B, 2, H, W).
    name : str
    card : mapping
        The model card; `threshold` and `seed` (see `insitu.segment`) are read from it.
    """

    def __init__(self, module: nn.Module, name: str, card: Mapping[str, Any]) -> None:
        import torch

        module.eval().requires_grad_(requires_grad=False)
        self.module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stub
        self.name = name
        self.card = card
        self.threshold = float(card.get("threshold", 0.5))
        self.seed = float(card.get("seed", 0.0))
        self.multiple = int(getattr(module, "multiple", 1))

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Particle probability of every pixel; (B, H, W) normalised frames → (B, H, W) float32 in 0…1."""
        import torch

        inputs = torch.stack([condition(image) for image in images]).unsqueeze(1)
        logits = self.module(inputs.contiguous(memory_format=torch.channels_last)).float()
        # softmax of two classes is the logistic function of their difference
        return torch.sigmoid(logits[:, 1] - logits[:, 0])


def condition(image: torch.Tensor) -> torch.Tensor:
    """Flatten a normalised frame (H, W) and put its support at 0 with unit noise, as every training image was."""
    flat = flattened(image)
    level, noise = support(flat)
    return ((flat - level) / noise).clamp(*CLIP)
