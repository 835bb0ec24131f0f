"""Normalisation between layers, by name."""

from __future__ import annotations

from torch import nn

from insitu.errors import InputError

NORMS = ("batch", "instance", "none")


def norm(kind: str, channels: int, epsilon: float = 1e-5) -> nn.Module:
    """Return a normalisation layer for `channels` maps.

    Parameters
    ----------
    kind : {"batch", "instance", "none"}
        ``instance`` normalises each image by itself, with a learned scale: small batches do not disturb it.
    channels : int
    epsilon : float
        Added to the variance.
    """
    if kind == "batch":
        return nn.BatchNorm2d(channels, eps=epsilon)
    if kind == "instance":
        return nn.InstanceNorm2d(channels, eps=epsilon, affine=True)
    if kind == "none":
        return nn.Identity()
    raise InputError(f"no norm '{kind}'", f"choose norm = {', '.join(NORMS)}")
