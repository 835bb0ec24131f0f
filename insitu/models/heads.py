"""From the maps of a network to one number a pixel: how sure it is of a particle.

Map 0 is the background, map 1 the particle, map 2 (where there is one) contamination. A network says in `activation`
how its maps were trained: ``softmax`` (they compete) or ``sigmoid`` (each for itself; a single map is the particle's).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from insitu.errors import InputError

if TYPE_CHECKING:
    import torch

ACTIVATIONS = ("softmax", "sigmoid")
CLASSES = ("background", "particle", "contamination")


def checked(head: str, classes: int) -> str:
    """Return `head` if a network can end in it.

    Raises
    ------
    InputError
        Neither softmax nor sigmoid, no map or more than three, or a softmax over one map.
    """
    if head not in ACTIVATIONS:
        raise InputError(f"no head '{head}'", f"choose head = {' or '.join(ACTIVATIONS)}")
    if not 1 <= classes <= len(CLASSES):
        raise InputError(f"classes = {classes}: no such number of maps", "1 particle, 2 with background, 3 with dirt")
    if head == "softmax" and classes == 1:
        raise InputError("head = softmax has nothing to compare with classes = 1", "use head = sigmoid, or classes = 2")
    return head


def particle_logit(maps: torch.Tensor, activation: str) -> torch.Tensor:
    """Return the logit of the particle's probability: its logistic function is the probability.

    Parameters
    ----------
    maps : torch.Tensor of shape (B, classes, H, W)
        What the last layer gives, before any activation.
    activation : {"softmax", "sigmoid"}

    Returns
    -------
    torch.Tensor of shape (B, H, W)
        A softmax is exact here: p_1 = e^{l_1} / Σ e^{l_k} has the logit l_1 - log Σ_{k≠1} e^{l_k}.
    """
    import torch

    if activation == "sigmoid":
        return maps[:, 0] if maps.shape[1] == 1 else maps[:, 1]
    if maps.shape[1] == 2:
        return maps[:, 1] - maps[:, 0]
    others = torch.cat([maps[:, :1], maps[:, 2:]], dim=1)
    return maps[:, 1] - torch.logsumexp(others, dim=1)
