"""A trained network as a `Model`: conditions the frame as in training, turns its maps into a probability."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from insitu.errors import InputError
from insitu.models.batching import Replayed
from insitu.models.choice import choice_of, decided
from insitu.models.fields import receptive_field
from insitu.models.heads import particle_logit
from insitu.models.inputs import CLIP, condition, conditioning
from insitu.models.outlines import at_the_level, at_their_levels, outline_of
from insitu.pixels import compiled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from torch import nn

    from insitu.models.last import LastLayer

__all__ = ["CLIP", "Network", "condition"]


class Network:
    """A network with its weights (`Model`).

    Parameters
    ----------
    module : torch.nn.Module
        Takes (B, 1, H, W), gives maps (B, classes, H, W) (`insitu.models.architectures`).
    name : str
    card : mapping
        The model card; `threshold` and `seed` (see `insitu.segment`), `input` (`insitu.models.inputs`), `outline`
        (`insitu.models.outlines`) and `choice` (`insitu.models.choice`; it stands for `seed`) are read from it.

    Attributes
    ----------
    reduced : bool
        True: it may compute in bfloat16 (`insitu.segment.resolve_precision`).
    sees : {"prepared", "counts"}
        Which frames `insitu.segment` hands over.
    side_multiple : int
        Sides that the network can take.
    receptive_field_px : int
        Width that an output pixel sees (`insitu.models.fields`).
    """

    reduced = True

    def __init__(self, module: nn.Module, name: str, card: Mapping[str, Any]) -> None:
        import torch

        module.eval().requires_grad_(requires_grad=False)
        self.module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stub
        self._replayed = Replayed(self.from_inputs)
        self._logits = _in_few_passes(module)
        self.name = name
        self.card = card
        self.threshold = float(card.get("threshold", 0.5))
        self.seed = float(card.get("seed", 0.0))
        self.side_multiple = int(getattr(module, "multiple", 1))
        self.activation = str(getattr(module, "activation", "softmax"))
        self.conditioning = conditioning(card.get("input"))
        self.sees = self.conditioning.frames
        self.outline = outline_of(card.get("outline"))
        if self.outline == "level" and self.sees != "prepared":
            raise InputError("outline = level with frames = counts: their support is not at 0", "use outline = network")
        self.choice = choice_of(str(card["choice"])) if card.get("choice") else None
        if self.choice is not None and self.conditioning.kind != "contrast":
            raise InputError("choice with another input than contrast", "leave choice out of the card")
        if self.choice is not None:
            self.seed = 0.0
        self.receptive_field_px = receptive_field(getattr(module, "path", ()))

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Particle probability of every pixel; (B, H, W) frames as in `sees` → (B, H, W) float32 in 0…1.

        Sides that are no multiple of what the network needs are continued by their last row and column after the
        conditioning, so that the statistics of a frame are those of its own pixels.
        """
        import torch
        from torch.nn import functional

        conditioned = torch.stack([condition(image, self.conditioning) for image in images])
        inputs = conditioned.unsqueeze(1)
        height, width = inputs.shape[-2:]
        down, right = -height % self.side_multiple, -width % self.side_multiple
        if down or right:
            inputs = functional.pad(inputs, (0, right, 0, down), mode="replicate")
        p = self._replayed(inputs.contiguous(memory_format=torch.channels_last))[:, :height, :width]
        if self.choice is None:
            return at_the_level(images, p, self.threshold) if self.outline == "level" else p
        each = [decided(a, b, self.choice, self.threshold) for a, b in zip(p, conditioned, strict=True)]
        p, pieces = torch.stack([mask for mask, _ in each]), [labels for _, labels in each]
        return at_their_levels(images, p, pieces, self.threshold) if self.outline == "level" else p

    def from_inputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) conditioned, channels last → probability (B, H, W); nothing in here waits for the host."""
        import torch

        from insitu.models.onednn import reduced

        if self._logits is not None and reduced(inputs):
            return torch.sigmoid_(self._logits(inputs))
        return torch.sigmoid(particle_logit(self.module(inputs).float(), self.activation))


def _in_few_passes(module: nn.Module) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Return the network up to the logit in compiled passes, for CPUs; None if of another form, or numba is absent."""
    if not compiled():
        return None
    from insitu.models.last import last_layer
    from insitu.models.pairs import shallow_pairs
    from insitu.models.strips import strips

    whole = strips(module) or shallow_pairs(module)
    last = last_layer(module)
    if whole is not None or last is None:
        return whole
    return partial(_ended, module, last)


def _ended(module: Any, last: LastLayer, inputs: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - a UNet
    return last(module.features(inputs))
