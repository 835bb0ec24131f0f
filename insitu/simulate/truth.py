"""What is exactly true of one frame: outlines, centres, areas, labels, from the geometry and not from pixels."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.simulate.geometry import pair_outline
from insitu.simulate.population import discs
from insitu.simulate.shapes import Shape, covers, window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from insitu.simulate.settings import SimulationSettings
    from insitu.simulate.world import World


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The particles of one frame that can be seen; lengths in px.

    Seen is a particle of at least the visible diameter with at least as many pixels in the frame as a disc of that
    diameter.

    Attributes
    ----------
    frame : int
    particle : int64 array of shape (n,)
        Identity from 1.
    y, x : float64 arrays
        Centroid of the whole outline, also where the border of the frame cuts it.
    area_px : float64 array
        Area of the whole outline: π r², or the union of two discs.
    touches_edge, composite : bool arrays
        Cut by the border; a pair that is still becoming round.
    parts : tuple of tuples of Shape
        Discs of each outline.
    outside, small : frozenset of int
        Particles that exist but lie beyond the border, or are below the visible size.
    """

    frame: int
    particle: NDArray[np.int64]
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    area_px: NDArray[np.float64]
    touches_edge: NDArray[np.bool_]
    composite: NDArray[np.bool_]
    parts: tuple[tuple[Shape, ...], ...]
    outside: frozenset[int]
    small: frozenset[int]

    def __len__(self) -> int:
        return len(self.particle)


def shapes_of(world: World, s: SimulationSettings, drift_px: tuple[float, float]) -> list[list[Shape]]:
    """Return the discs of every particle of the world in frame px, moved by the stage drift."""
    outlines = discs(world.population, world.frame, s.relax_frames)
    found: list[list[Shape]] = [[] for _ in range(len(world.population))]
    y, x, radius = (v / s.nm_per_px for v in (outlines.y, outlines.x, outlines.radius))
    for row, at_y, at_x, r in zip(outlines.owner.tolist(), y.tolist(), x.tolist(), radius.tolist(), strict=True):
        found[row].append(Shape(at_y + drift_px[0], at_x + drift_px[1], r, contact_deg=s.contact_angle_deg))
    return found


def view_of(world: World, s: SimulationSettings, drift_px: tuple[float, float]) -> View:
    """Return what can be seen of `world`."""
    population = world.population
    enough = population.radius >= 0.5 * s.visible_diameter_px * s.nm_per_px
    rows, edges, outside = [], [], []
    shapes = shapes_of(world, s, drift_px)
    for row in np.flatnonzero(enough).tolist():
        pixels, edge = _in_frame(shapes[row], s.shape)
        if pixels >= s.visible_pixels:
            rows.append(row)
            edges.append(edge)
        else:
            outside.append(int(population.particle[row]))
    measured = [_measured(shapes[row]) for row in rows]
    return View(
        frame=world.frame,
        particle=population.particle[rows],
        y=np.array([m[0] for m in measured], np.float64),
        x=np.array([m[1] for m in measured], np.float64),
        area_px=np.array([m[2] for m in measured], np.float64),
        touches_edge=np.array(edges, np.bool_),
        composite=np.array([len(shapes[row]) > 1 for row in rows], np.bool_),
        parts=tuple(tuple(shapes[row]) for row in rows),
        outside=frozenset(outside),
        small=frozenset(population.particle[~enough].tolist()),
    )


def _measured(parts: list[Shape]) -> tuple[float, float, float]:
    """Return centroid (y, x) and area of an outline of one or two discs."""
    first = parts[0]
    if len(parts) == 1:
        return first.y, first.x, pi * first.radius**2
    second = parts[1]
    distance = float(np.hypot(second.y - first.y, second.x - first.x))
    area, at = pair_outline(first.radius, second.radius, distance)
    fraction = at / distance if distance > 0.0 else 0.0
    return first.y + fraction * (second.y - first.y), first.x + fraction * (second.x - first.x), area


def _in_frame(parts: list[Shape], size: tuple[int, int]) -> tuple[float, bool]:
    """Return how many pixel centres of the frame lie inside (the area, away from the border), and whether it is cut."""
    far = min(min(p.y, p.x, size[0] - 1 - p.y, size[1] - 1 - p.x) - p.radius for p in parts)
    if far > 0.0:
        return float("inf"), False
    inside: set[tuple[int, int]] = set()
    for part in parts:
        where = window(part, size)
        if where is not None:
            ys, xs = np.nonzero(covers(part, where))
            inside.update(zip((ys + where[0].start).tolist(), (xs + where[1].start).tolist(), strict=True))
    return len(inside), any(y in {0, size[0] - 1} or x in {0, size[1] - 1} for y, x in inside)


def paint(view: View, size: tuple[int, int]) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return the label image and the label of each particle: 1…n in raster order of the first pixel.

    Every outline has its own label, also where two are nearer than a pixel and would be one connected component.
    """
    order = np.zeros(size, np.uint16)
    first = np.zeros(len(view), np.int64)
    for row, parts in enumerate(view.parts):
        keys = []
        for part in parts:
            where = window(part, size)
            if where is None:
                continue
            mask = covers(part, where)
            order[where][mask] = row + 1
            ys, xs = np.nonzero(mask)
            if len(ys):
                keys.append((int(ys[0]) + where[0].start) * size[1] + int(xs[0]) + where[1].start)
        first[row] = min(keys)
    label = np.zeros(len(view) + 1, np.uint16)
    label[1 + np.argsort(first)] = np.arange(1, len(view) + 1)
    return label[order], label[1:]


def columns_of(view: View, s: SimulationSettings) -> dict[str, NDArray[Any]]:
    """Return the truth of a frame as columns in `label` order, named as in `schema.PARTICLES`.

    ``area_px`` is exact and therefore not an integer; ``radius_px`` is that of the disc of this area.
    """
    labels = paint(view, s.shape)[1]
    rows = np.argsort(labels)
    area = view.area_px[rows]
    return {
        "frame": np.full(len(view), view.frame, np.int32),
        "time_s": np.full(len(view), view.frame * s.s_per_frame),
        "particle": view.particle[rows],
        "label": labels[rows],
        "y": view.y[rows],
        "x": view.x[rows],
        "area_px": area,
        "equivalent_diameter_px": np.sqrt(4.0 * area / pi),
        "radius_px": np.sqrt(area / pi),
        "touches_edge": view.touches_edge[rows],
        "composite": view.composite[rows],
    }
