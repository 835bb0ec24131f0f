"""Where a model draws the edge: means over all pixels at the same distance from the true outline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

REACH_PX = 12
# Pixel centres lie half a pixel from the outline at least: there is no bin at 0.
DISTANCES_PX = np.arange(-REACH_PX, REACH_PX) + 0.5


def depth(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the distance of each pixel centre from the outline in px, negative inside; infinite without an outline."""
    from scipy.ndimage import distance_transform_edt

    if not inside.any() or inside.all():
        return np.full(inside.shape, np.inf)
    within, beyond = distance_transform_edt(inside), distance_transform_edt(~inside)
    return np.where(inside, 0.5 - within, beyond - 0.5)


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Sums over pixels by their distance from the outline, in bins of 1 px: `DISTANCES_PX` are the middles.

    Attributes
    ----------
    count, intensity, probability, squared : float64 arrays
        Number of pixels; sums of the intensity, of the probability and of its square. The intensity is that of the
        image as a model sees it, in shares of the particles' mean contrast, so that images of any dose count alike.
    """

    count: NDArray[np.float64]
    intensity: NDArray[np.float64]
    probability: NDArray[np.float64]
    squared: NDArray[np.float64]

    @classmethod
    def none(cls) -> Edges:
        """Return the sums over no image."""
        zero = np.zeros(len(DISTANCES_PX))
        return cls(zero, zero, zero, zero)

    @classmethod
    def of(
        cls,
        away: NDArray[np.float64],
        image: NDArray[Any],
        probability: NDArray[Any],
        counted: NDArray[np.bool_] | None = None,
    ) -> Edges:
        """Sum over one image.

        Parameters
        ----------
        away : float64 array of shape (H, W)
            From `depth`.
        image : float array
            Support about 0, particles positive.
        probability : float array
        counted : bool array, optional
            Pixels whose label is known.
        """
        near = np.abs(away) < REACH_PX
        if counted is not None:
            near &= counted
        if not near.any():
            return cls.none()
        inside = near & (away < 0)
        contrast = float(image[inside].mean()) if inside.any() else 0.0
        place = np.floor(away[near]).astype(np.intp) + REACH_PX
        p = probability[near].astype(np.float64)
        shade = image[near].astype(np.float64) / contrast if abs(contrast) > 1e-6 else np.zeros(len(p))

        def total(weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
            return np.bincount(place, weight, len(DISTANCES_PX)).astype(np.float64)

        return cls(total(None), total(shade), total(p), total(p * p))

    def __add__(self, other: Edges) -> Edges:
        return Edges(
            self.count + other.count,
            self.intensity + other.intensity,
            self.probability + other.probability,
            self.squared + other.squared,
        )

    def profile(self) -> dict[str, NDArray[np.float64]]:
        """Return the means as columns, with the scatter of the probability."""
        with np.errstate(invalid="ignore", divide="ignore"):
            p = self.probability / self.count
            scatter = np.sqrt(np.maximum(self.squared / self.count - p * p, 0))
            intensity = self.intensity / self.count
        return {
            "distance_px": DISTANCES_PX,
            "pixels": self.count,
            "intensity": intensity,
            "probability": p,
            "probability_sd": scatter,
        }

    def crossing(self, threshold: float) -> float:
        """Return how far outside the true outline (px) the mean probability falls through a threshold; NaN: nowhere."""
        p = self.profile()["probability"]
        over = p > threshold
        falls = np.flatnonzero(over[:-1] & ~over[1:] & np.isfinite(p[1:]))
        if not len(falls):
            return float("nan")
        k = falls[np.argmin(np.abs(DISTANCES_PX[falls] + 0.5))]
        return float(DISTANCES_PX[k] + (p[k] - threshold) / (p[k] - p[k + 1]))
