"""Numbers of every channel: is it alive, does it tell particles from support, and how much does noise alone stir it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.explain.recording import is_rectifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from insitu.explain.recording import Answer

_SILENT = 1e-12
_CONSTANT = 1e-5
"""A channel whose spread is below this share of the largest of its layer says the same everywhere."""


def described(
    answers: Sequence[Answer], noise: Sequence[Sequence[Answer]], mask: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """Return one row a channel of every layer.

    Parameters
    ----------
    answers : sequence of Answer
        Of the image.
    noise : sequence of sequence of Answer
        Of images of noise alone, the same layers.
    mask : bool array (H, W)
        Particles of the image, at its full size.

    Returns
    -------
    list of dict
        `layer`, `kind`, `channel`, `mean`, `sd`, `largest`, `state` (alive, silent: a non-linearity that never answers
        above zero; constant: the same everywhere), `contrast` (mean on particles minus mean on support, over the spread
        on the support), `stirred_by_noise` (rms about its own mean on noise, over that on the image).
    """
    rows = []
    for k, answer in enumerate(answers):
        maps = answer.maps.double().cpu().numpy()
        other = [sample[k].maps.double().cpu().numpy() for sample in noise]
        states = states_of(maps, rectifies=answer.rectifies)
        inside = shrunk(mask, maps.shape[1:])
        for c, values in enumerate(maps):
            rows.append({
                "layer": answer.name, "kind": answer.kind, "channel": c, "mean": values.mean(), "sd": values.std(),
                "largest": values.max(), "state": states[c], "contrast": _contrast(values, inside),
                "stirred_by_noise": _stirred(values, [o[c] for o in other]),
            })  # fmt: skip
    return rows


def states_of(maps: NDArray[np.float64], *, rectifies: bool) -> list[str]:
    """Return ``alive``, ``silent`` or ``constant`` for each channel of (C, h, w)."""
    spread = maps.std(axis=(1, 2))
    widest = spread.max(initial=0.0)
    states = []
    for values, own in zip(maps, spread, strict=True):
        if rectifies and values.max() <= _SILENT:
            states.append("silent")
        else:
            states.append("constant" if own <= _CONSTANT * widest or widest == 0.0 else "alive")
    return states


def shrunk(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the share of particle in each cell of a coarser grid; grids that do not divide are cut to nearest."""
    height, width = shape
    rows = np.minimum((np.arange(mask.shape[0]) * height) // mask.shape[0], height - 1)
    columns = np.minimum((np.arange(mask.shape[1]) * width) // mask.shape[1], width - 1)
    cell = rows[:, None] * width + columns[None, :]
    total = np.bincount(cell.ravel(), minlength=height * width)
    inside = np.bincount(cell.ravel(), mask.ravel().astype(np.float64), height * width)
    return np.asarray((inside / np.maximum(total, 1)).reshape(height, width))


def dead(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Count dead filters by layer: silent channels of non-linearities, constant channels of convolutions.

    Returns
    -------
    dict
        Layer → `channels`, and of these `silent` or `constant`; other layers only repeat what these two say.
    """
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        word = "silent" if is_rectifier(row["kind"]) else "constant" if row["kind"].startswith("Conv") else ""
        if word:
            mine = found.setdefault(row["layer"], {"channels": 0, word: 0})
            mine["channels"] += 1
            mine[word] += row["state"] == word
    return found


def _contrast(values: NDArray[np.float64], inside: NDArray[np.float64]) -> float:
    particle, support = values[inside >= 0.5], values[inside <= 0.0]
    if not particle.size or not support.size:
        return float("nan")
    return float((particle.mean() - support.mean()) / max(support.std(), 1e-12))


def _stirred(values: NDArray[np.float64], noise: Sequence[NDArray[np.float64]]) -> float:
    if not noise or values.std() == 0.0:
        return float("nan")
    return float(np.mean([n.std() for n in noise]) / values.std())
