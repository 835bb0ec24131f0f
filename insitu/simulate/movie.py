"""A movie with exact truth: frames on demand, never the stack."""

from __future__ import annotations

from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from insitu.errors import CommandError
from insitu.simulate.history import History
from insitu.simulate.imaging import Imaging, stage_drift
from insitu.simulate.settings import SimulationSettings
from insitu.simulate.truth import View, columns_of, paint, shapes_of, view_of
from insitu.simulate.world import World, advance, initial_world
from insitu.types import Calibration, Event, Header, SourceInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SAVED_EVERY = 128
"""Frames between saved states of the world; any frame is reached from the nearest one before it."""


class Simulation:
    """A simulated movie, which is also a `Reader`. Any frame can be asked for in any order and is always the same.

    Parameters
    ----------
    settings : SimulationSettings, optional
        Or its fields as keywords.

    Examples
    --------
    >>> movie = Simulation(SimulationSettings(shape=(128, 128), frames=3, particles=5))
    >>> movie.frame(2).shape
    (128, 128)
    """

    def __init__(self, settings: SimulationSettings | None = None, **fields: Any) -> None:  # noqa: ANN401 - fields of settings
        if settings is not None and fields:
            raise CommandError(
                "a simulation takes settings or single fields, not both", "use dataclasses.replace(settings, …)"
            )
        self.settings = settings or SimulationSettings(**fields)
        self._world = initial_world(self.settings)
        self._saved: dict[int, World] = {0: self._world}
        self._lock = Lock()

    def __len__(self) -> int:
        return self.settings.frames

    @property
    def info(self) -> SourceInfo:
        """Shape, dtype, length and calibration, as a reader gives them."""
        s = self.settings
        calibration = Calibration(s.nm_per_px, "simulation", s.s_per_frame, "simulation", s.s_per_frame)
        return SourceInfo("simulation", "simulation", *s.shape, np.dtype(s.dtype), s.frames, calibration)

    @cached_property
    def imaging(self) -> Imaging:
        """The microscope and the camera."""
        return Imaging(self.settings)

    @cached_property
    def drift_px(self) -> NDArray[np.float64]:
        """Cumulative stage shift (y, x) of every frame in px, shape (frames, 2)."""
        return stage_drift(self.settings)

    def world(self, index: int) -> World:
        """Return the state of the specimen at frame `index`."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of a simulation of {len(self)} frames")
        with self._lock:
            saved = max(at for at in self._saved if at <= index)
            if not saved <= self._world.frame <= index:
                self._world = self._saved[saved]
            while self._world.frame < index:
                self._world = advance(self._world, self.settings)
                if self._world.frame % SAVED_EVERY == 0:
                    self._saved[self._world.frame] = self._world
            return self._world

    def _drift(self, index: int) -> tuple[float, float]:
        y, x = self.drift_px[index].tolist()
        return y, x

    def expected(self, index: int) -> NDArray[np.float32]:
        """Return frame `index` without noise: expected electrons per px, before flicker and camera."""
        world, drift = self.world(index), self._drift(index)
        return self.imaging.expected(shapes_of(world, self.settings, drift), world.population.particle.tolist(), drift)

    def frame(self, index: int) -> NDArray[Any]:
        """Return frame `index` as the camera gives it: (H, W) of the settings' dtype."""
        return self.imaging.expose(self.expected(index), index)

    def frames(self) -> Iterator[NDArray[Any]]:
        """Yield all frames in order."""
        return (self.frame(index) for index in range(len(self)))

    __iter__ = frames

    def header(self, index: int) -> Header:
        """Return what a reader knows of frame `index` without its pixels."""
        s_per_frame = self.settings.s_per_frame
        return Header("simulation", index, time_s=index * s_per_frame, exposure_s=s_per_frame)

    def read_into(self, index: int, out: NDArray[Any]) -> tuple[str, ...]:
        """Fill `out` with frame `index`; a simulated frame has no flags."""
        out[...] = self.frame(index)
        return ()

    def close(self) -> None:
        """Do nothing: a simulation holds no file."""

    def view(self, index: int) -> View:
        """Return what can be seen at frame `index`, exactly."""
        return view_of(self.world(index), self.settings, self._drift(index))

    def truth(self, index: int) -> dict[str, NDArray[Any]]:
        """Return the particles of frame `index` as columns (`truth.columns_of`)."""
        return columns_of(self.view(index), self.settings)

    def particles(self) -> dict[str, NDArray[Any]]:
        """Return the truth of all frames in one table; columns as in `truth`."""
        tables = [self.truth(index) for index in range(len(self))]
        return {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}

    def mask(self, index: int, values: Literal["label", "particle"] = "label") -> NDArray[np.uint16]:
        """Return the outlines of frame `index` as a label image: uint16 of shape (H, W), 0 outside.

        A pixel belongs to a particle when its centre lies inside the outline. Values are ``label`` (1…n in raster
        order), or ``particle`` (identity over time, which starts at 1).
        """
        view = self.view(index)
        image, labels = paint(view, self.settings.shape)
        if values == "label":
            return image
        names = np.zeros(len(view) + 1, np.uint16)
        names[labels] = view.particle
        return names[image]

    @cached_property
    def history(self) -> History:
        """Everything that happens in the movie; runs the specimen through, without making images."""
        history = History()
        for index in range(len(self)):
            history.add(self.world(index), self.view(index))
        return history

    @property
    def events(self) -> tuple[Event, ...]:
        """Events in order of their frame."""
        return tuple(self.history.events)

    def tracks(self) -> dict[str, NDArray[Any] | list[Any]]:
        """Return one row a particle ever seen (`history.History.tracks`)."""
        return self.history.tracks()
