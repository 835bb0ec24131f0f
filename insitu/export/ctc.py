"""The Cell Tracking Challenge's format: one label image a frame and one line a track.

A folder named ``…_RES`` gets ``mask000.tif`` and ``res_track.txt`` as a result has in the challenge, any other one
``man_track000.tif`` and ``man_track.txt`` as the reference has. Each line reads ``L B E P``: label, first and last
image, parent (0 without). The format wants tracks without gaps whose parent has ended, and allows one parent, so that

- tracks are numbered again, 1…n in order of appearance; where a particle was not seen in an image, and where another
  one splits off from it, a new track begins, whose parent is the track before;
- a merger names its largest parent only; the others just end. Where the larger one lives on, its track does too.

Image k is plane k of the run. Bad and missing frames are empty images, and therefore gaps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from insitu.errors import CommandError
from insitu.export.graph import lineage, require_finished
from insitu.export.place import new_folder
from insitu.export.rows import by_frame

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from insitu.export import ExportOptions
    from insitu.export.rows import Columns
    from insitu.results import Run

MOST_TRACKS = 65_535
_OURS = re.compile(r"(man_track|mask)\d{3,}\.tif|(man|res)_track\.txt")


@dataclass(slots=True)
class Tracks:
    """Tracks of the format, as they are met image by image.

    `largest_parent` names the parent of a particle that came out of an event, `splits_from` that of one whose parent
    lives on (and begins a new track in the same image).
    """

    largest_parent: dict[int, int]
    splits_from: dict[int, int]
    first: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    _now: dict[int, int] = field(default_factory=dict)

    def step(self, plane: int, particles: list[int]) -> list[int]:
        """Return the labels (from 1) of the particles of image `plane`."""
        here = set(particles)
        cut = {self.splits_from[p] for p in particles if p in self.splits_from and p not in self._now} & here
        # Mothers before daughters: a daughter's parent is what the mother was until now.
        before = dict(self._now)
        for particle in particles:
            label = before.get(particle, 0)
            if label and self.last[label - 1] == plane - 1 and particle not in cut:
                self.last[label - 1] = plane
                continue
            mother = label or before.get(self.largest_parent.get(particle, -1), 0)
            if mother and self.last[mother - 1] >= plane:
                mother = 0
            self.first.append(plane)
            self.last.append(plane)
            self.parent.append(mother)
            self._now[particle] = len(self.first)
        return [self._now[p] for p in particles]


def write(run: Run, out: Path, options: ExportOptions) -> None:
    """Write the label images and the tracks of a run into the folder `out`.

    Raises
    ------
    InputError
        The run has no label images.
    CommandError
        The run is not finished, or has more tracks than 16-bit labels can tell apart.
    """
    require_finished(run)
    planes = run.labels
    result = out.name.endswith("_RES")
    stem, table = ("mask", "res_track.txt") if result else ("man_track", "man_track.txt")
    geometry = run.info["geometry"]
    first, step = int(geometry["first_frame"]), int(geometry["step"])
    digits = max(3, len(str(planes.shape[0] - 1)))
    tracks = tracks_of(run)
    with new_folder(out, lambda p: bool(_OURS.fullmatch(p.name)), overwrite=options.overwrite) as folder:
        rows = by_frame(run, ("frame", "label", "particle"))
        frame, columns = next(rows, (-1, {}))
        for plane in range(planes.shape[0]):
            image = np.zeros(planes.shape[1:], np.uint16)
            if frame == first + plane * step:
                image = _painted(np.asarray(planes[plane]), columns, tracks, plane)
                frame, columns = next(rows, (-1, {}))
            _image(folder / f"{stem}{plane:0{digits}d}.tif", image)
            if options.progress:
                options.progress(plane + 1)
        lines = zip(range(1, len(tracks.first) + 1), tracks.first, tracks.last, tracks.parent, strict=True)
        (folder / table).write_text("".join("{} {} {} {}\n".format(*line) for line in lines), encoding="ascii")


def tracks_of(run: Run) -> Tracks:
    """Return the tracks, still empty, with what the events say of parents."""
    largest: dict[int, int] = {}
    splits: dict[int, int] = {}
    for _, parents, children in lineage(run):
        for child in set(children) - set(parents):
            # The store lists parents in order of area, the largest first.
            largest[child] = parents[0]
            if parents[0] in children:
                splits[child] = parents[0]
    return Tracks(largest, splits)


def _painted(labels: NDArray[np.uint16], rows: Columns, tracks: Tracks, plane: int) -> NDArray[np.uint16]:
    numbers = tracks.step(plane, rows["particle"].tolist())
    if len(tracks.first) > MOST_TRACKS:
        raise CommandError(
            f"the run has more than {MOST_TRACKS} tracks by image {plane}; the format has 16-bit labels",
            "export fewer frames: insitu run MOVIE --frames a:b; or take the format trackmate",
        )
    value = np.zeros(np.iinfo(np.uint16).max + 1, np.uint16)
    value[rows["label"]] = numbers
    painted: NDArray[np.uint16] = value[labels]
    return painted


def _image(path: Path, image: NDArray[np.uint16]) -> None:
    import tifffile

    tifffile.imwrite(path, image, compression="zlib", photometric="minisblack", metadata=None)
