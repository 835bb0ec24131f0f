"""Labels without a hand: the published pipeline that made training labels of TEM frames, fast enough for movies.

A particle is a hollow of the blurred image: what is filled when water rises from the border, with its rim sharpened,
opened by a disc, and cut by Otsu's threshold. Horwath et al. 2020, 10.1038/s41524-020-00363-x.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLUR_PX = 2.0
OPENING_PX = 5
LEAST_SIDE_PX = 2 * OPENING_PX + 1


def pseudo_mask(
    image: NDArray[Any], *, polarity: Literal["dark", "bright"] = "dark", blur_px: float = BLUR_PX
) -> NDArray[np.bool_]:
    """Return where particles are taken to be.

    Parameters
    ----------
    image : array of shape (H, W)
        Counts, finite.
    polarity : {"dark", "bright"}
        Particles darker or brighter than the support; the published pipeline knows dark ones.
    blur_px : float
        Width of the Gaussian; 2 px as published, more where there are few electrons a pixel.

    Returns
    -------
    bool array of shape (H, W)
        Empty for an image without any hollow. Otsu's threshold always finds two classes, so an image of noise alone
        gives false particles. Those at the border are filled from it, and missed as far as they are open to it.
    """
    if image.ndim != 2:
        raise ValueError(f"an image has shape (H, W), not {image.shape}")
    from scipy.ndimage import gaussian_filter

    from insitu.pseudolabels.morphology import hollows, lowered, opened, otsu, raised

    counts = np.asarray(image, np.float64)
    if polarity == "bright":
        counts = counts.max() - counts
    elif counts.min() < 0:
        counts = counts - counts.min()
    if counts.max() == counts.min():
        return np.zeros(image.shape, np.bool_)
    blurred = _scaled(gaussian_filter(_scaled(counts), blur_px, mode="nearest", truncate=4.0))
    without_domes = lowered(blurred)
    rims = hollows(without_domes, raised(without_domes))
    if not rims.any():
        return np.zeros(image.shape, np.bool_)
    smooth = _scaled(opened(_scaled(rims)))
    return np.asarray(smooth > otsu(smooth))


def _scaled(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale as published: (x − least) / largest, not over the range."""
    most = image.max()
    return np.asarray((image - image.min()) / (most if most > 0 else 1.0))
