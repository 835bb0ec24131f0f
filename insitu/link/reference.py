"""The assignment as trackpy solves it: `link.method = "trackpy"`, slower and bounded, kept as the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insitu.errors import CommandError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.link.adaptive import Shrinking


def assign(
    sources: NDArray[np.float64],
    targets: NDArray[np.float64],
    radius: float,
    cap: int,
    shrinking: Shrinking | None = None,
) -> tuple[NDArray[np.int64], int]:
    """Link two point sets with `trackpy.linking`; parameters and returns as in `adaptive.assign` (`cap` is trackpy's).

    Raises
    ------
    CommandError
        trackpy is not installed, or gives a subnet up as too large.
    """
    del cap
    links = np.full(len(sources), -1, np.int64)
    if len(sources) == 0 or len(targets) == 0:
        return links, 0
    try:
        from trackpy.linking.linking import Linker
        from trackpy.linking.utils import SubnetOversizeException
    except ImportError as missing:
        message = "link.method = 'trackpy' needs the package trackpy"
        raise CommandError(message, "pip install trackpy, or link.method = 'optimal'") from missing
    linker = Linker(radius, 0) if shrinking is None else Linker(radius, 0, None, *shrinking)
    try:
        linker.init_level(sources, 0)
        linker.next_level(targets, 1)
    except SubnetOversizeException as large:
        message = f"trackpy cannot link {len(sources)} particles within {radius:g} px: {large}"
        raise CommandError(message, "set link.method = 'optimal', or a smaller link.search_range_px") from large
    source_of = np.asarray(linker.particle_ids, np.int64)
    known = np.flatnonzero(source_of < len(sources))
    links[source_of[known]] = known
    return links, 0
