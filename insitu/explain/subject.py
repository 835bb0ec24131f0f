"""What is looked at: a model with a network, and a frame as a run would hand it to that model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from insitu.errors import CommandError

if TYPE_CHECKING:
    import torch

    from insitu.models.network import Network


def loaded(name: str) -> Network:
    """Return a model that has a network to look into."""
    from insitu.models import load, weights
    from insitu.models.network import Network

    model = load(name)
    if not isinstance(model, Network):
        raise CommandError(
            f"'{name}' is a method without weights: there is no network to look into",
            f"choose among: {', '.join(weights())}, or a .safetensors file",
        )
    return model


def frame_for(
    network: Network, image: str, frame: int, polarity: Literal["auto", "dark", "bright"] = "auto"
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Return a frame as a run would hand it to the model, and what is known of it."""
    import numpy as np

    from insitu.models.inputs import seen
    from insitu.options import PrepareOptions
    from insitu.prepare import prepare, reference
    from insitu.read import open_source

    reader = open_source(image)
    try:
        info = reader.info
        if info.n_frames is not None and frame >= info.n_frames:
            raise CommandError(f"--frame {frame}: '{image}' has {info.n_frames} frames", "frames count from 0")
        counts = np.empty((info.height, info.width), info.dtype)
        reader.read_into(frame, counts)
    finally:
        reader.close()
    options = PrepareOptions()
    taken = reference([(frame, counts)], options, polarity)
    nm = info.calibration.nm_per_px
    about = {"polarity": taken.polarity, "nm_per_px": nm}
    return seen(prepare(counts[np.newaxis], options, taken), network.sees)[0], about
