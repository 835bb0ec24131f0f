"""The layers themselves: (data, attributes, type) as napari's readers give them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import InputError
from insitu.export.graph import event_links
from insitu.export.planes import Planes, image_of, open_movie, statuses
from insitu.view.genealogy import kept, pieces

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from insitu.results import ParticleLabels, Run

Layer = tuple[Any, dict[str, Any], str]

# Okabe and Ito's colours, the same for a kind of event in every run
_KINDS = {
    "coalescence": "#d55e00",
    "splitting": "#cc79a7",
    "dissolution": "#56b4e9",
    "nucleation": "#009e73",
    "appearance": "#f0e442",
    "entering": "#bbbbbb",
    "leaving": "#888888",
    "lost": "#e69f00",
    "mark": "#ffffff",
}
_MANY_POINTS = 500_000


@dataclass(frozen=True, slots=True)
class Layers:
    """Layers of a run, and what a user should know about them."""

    layers: list[Layer]
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Axes:
    """How planes and camera pixels lie in time and space; an axis of unknown calibration counts frames or pixels."""

    first: int
    step: int
    nm: float | None
    s: float | None

    @classmethod
    def of(cls, run: Run) -> Axes:
        """Return the axes of a run."""
        geometry = run.info["geometry"]
        known = run.calibration
        return cls(int(geometry["first_frame"]), int(geometry["step"]), known.nm_per_px, known.s_per_frame)

    def attributes(self, origin: tuple[float, float] = (0, 0), side: int = 1) -> dict[str, Any]:
        """Return scale, translation and units of a layer whose first pixel's centre lies at `origin` (camera px)."""
        second, nanometre = self.s or 1.0, self.nm or 1.0
        return {
            "scale": (self.step * second, side * nanometre, side * nanometre),
            "translate": (self.first * second, origin[0] * nanometre, origin[1] * nanometre),
            # "pixel" is what napari calls an axis without a unit
            "units": ("pixel" if self.s is None else "s", *("pixel" if self.nm is None else "nm",) * 2),
            "axis_labels": ("t" if self.s is not None else "frame", "y", "x"),
        }


def layers_of(run: Run, *, min_length: int = 1, source: str | None = None) -> Layers:
    """Return image, labels, tracks and events of a run; what cannot be shown is left out and told.

    Parameters
    ----------
    run : Run
    min_length : int
        Rows that a particle must have for its track to be shown.
    source : str, optional
        Where the movie is now, when it is not where the run says.
    """
    axes, notes = Axes.of(run), []
    made: list[Layer] = []
    for name, make in {"image": partial(image, run, axes, source), "labels": partial(labels, run, axes)}.items():
        try:
            made.append(make())
        except InputError as error:
            notes.append(f"without {name}: {error.message} ({error.hint})")
    if run.finished and len(run.particles):
        drawn = tracks(run, axes, min_length)
        if len(drawn[0]) > _MANY_POINTS:
            notes.append(f"{len(drawn[0])} points of tracks: napari may need minutes; --min-length N shows fewer")
        if len(drawn[0]):
            made.append(drawn)
    elif not run.finished:
        notes.append("without tracks: the run is not finished")
    made.append(events(run, axes))
    return Layers(made, notes)


def image(run: Run, axes: Axes, source: str | None = None) -> Layer:
    """Return the frames of the movie, read when they are looked at; those that the run could not use are black."""
    planes, status = Planes(run, labelled=False), statuses(run)
    reader = open_movie(run, source)
    frames = planes.frames
    stack = _Stack(
        (len(frames), *planes.shape), reader.info.dtype, lambda k: image_of(reader, frames[k], status[frames[k]])
    )
    shown = next((stack.plane(k) for k, f in enumerate(frames) if status[f] == "ok"), None)
    limits: dict[str, Any] = {}
    if shown is not None:
        low, high = np.percentile(shown.astype(np.float64), (0.2, 99.8)).tolist()
        limits["contrast_limits"] = (low, max(high, low + 1))
    return stack.lazily(), {"name": "image", "colormap": "gray", **limits, **axes.attributes()}, "image"


def labels(run: Run, axes: Axes) -> Layer:
    """Return the label images with `particle` + 1 in place of `label`, so that a particle keeps its colour."""
    geometry = run.info["geometry"]
    Planes(run)  # refuses a run without a plane
    painted: ParticleLabels = run.labels_by_particle()
    side = int(geometry["bin"])
    centre = [int(v) + (side - 1) / 2 for v in geometry["origin"]]
    stack = _Stack(painted.shape, np.dtype(np.int32), lambda k: (painted[k] + 1).astype(np.int32))
    about = {"name": "particles", "opacity": 0.4, **axes.attributes((centre[0], centre[1]), side)}
    return stack.lazily(), about, "labels"


def tracks(run: Run, axes: Axes, min_length: int = 1) -> Layer:
    """Return tracks cut at mergers and splittings (see `genealogy`), with the graph that joins the pieces."""
    size = "equivalent_diameter_px" if axes.nm is None else "equivalent_diameter_nm"
    rows = run.particles.to_arrow(("frame", "particle", "y", "x", size))
    columns = {name: rows[name].to_numpy() for name in rows.column_names}
    particle = columns["particle"].astype(np.int64)
    found = kept(pieces(particle, event_links(run)), particle, min_length)
    at = found.order
    plane = (columns["frame"][at] - axes.first) // axes.step
    data = np.column_stack([found.piece, plane, columns["y"][at], columns["x"][at]]).astype(np.float64)
    features = {"particle": particle[at], "frame": columns["frame"][at], size: columns[size][at]}
    about = {
        "name": "tracks",
        "features": features,
        "color_by": "particle",
        "graph": found.parents,
        "tail_length": 30,
        **axes.attributes(),
    }
    return data, about, "tracks"


def events(run: Run, axes: Axes) -> Layer:
    """Return the events as points at the frame and place where they happened."""
    rows = run.events.to_arrow(("event", "frame", "y", "x", "kind", "confidence", "parents", "children"))
    values = {name: rows[name].to_pylist() for name in rows.column_names}
    planes = (np.array(values["frame"], np.float64) - axes.first) / axes.step
    data = np.column_stack([planes, np.array(values["y"], np.float64), np.array(values["x"], np.float64)])
    features = {
        "event": np.array(values["event"], np.int64),
        "kind": np.array(values["kind"], str),
        "confidence": np.array(values["confidence"], np.float64),
        **{name: np.array([" ".join(map(str, v)) for v in values[name]], str) for name in ("parents", "children")},
    }
    about: dict[str, Any] = {"name": "events", "features": features, "size": 20.0, **axes.attributes()}
    if len(data):
        colours = np.array([_KINDS.get(kind, "#ffffff") for kind in values["kind"]])
        about |= {"face_color": "transparent", "border_color": colours, "text": {"string": "{kind}", "size": 8}}
    return data, about, "points"


@dataclass(frozen=True, slots=True)
class _Stack:
    """Planes that are made when they are asked for."""

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    plane: Callable[[int], NDArray[Any]]

    @property
    def ndim(self) -> int:
        """Three."""
        return 3

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[Any]:
        wanted, *rest = key
        if isinstance(wanted, int | np.integer):
            one: NDArray[Any] = self.plane(int(wanted))[tuple(rest)]
            return one
        planes = [self.plane(k)[tuple(rest)] for k in range(self.shape[0])[wanted]]
        return np.stack(planes)

    def lazily(self) -> Any:  # noqa: ANN401 - dask has no types
        """Return a dask array with a chunk a plane."""
        import dask.array as da

        empty = np.empty((0, 0, 0), self.dtype)
        lazily: Any = da.from_array  # dask has no types
        return lazily(self, chunks=(1, *self.shape[1:]), name=False, meta=empty)
