"""The planes of a run in full-frame camera pixels: the image as the camera gave it, and the labels found in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import BadFrame, CommandError, InputError, ResourceError
from insitu.export.rows import shape_of
from insitu.read import open_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from insitu.export.rows import Columns
    from insitu.results import Run
    from insitu.types import Reader

_STRETCH_FRAMES = 64


def open_movie(run: Run, given: str | None = None) -> Reader:
    """Open the movie that a run was made from: `given`, or where the run says it was.

    Raises
    ------
    InputError
        It is not there any more, was never a file, or is another movie.
    """
    source = run.info["source"]
    path = Path(str(source["path"]) if given is None else given)
    if given is None and not path.is_absolute():
        path = run.path / path
    # The run keeps its path relative: `run/../movie.tif` is said as a user would.
    shown = path.absolute() if path.is_symlink() else path.resolve()
    hint = "say where it is now: --source MOVIE"
    if given is None and (source.get("fingerprint") or {}).get("kind") == "memory":
        raise InputError(f"the run '{run.path}' was made from arrays in memory: it has no movie to read again", hint)
    try:
        reader = open_source(shown if shown.exists() else path)
    except InputError as error:
        raise InputError(f"the movie of the run '{run.path}' cannot be read: {error.message}", hint) from error
    try:
        _require_same(run, reader, given)
    except BaseException:
        reader.close()
        raise
    return reader


def _require_same(run: Run, reader: Reader, given: str | None) -> None:
    """Refuse a movie of another size, with too few frames, or (where the run says it was) with another content."""
    from insitu.read.fingerprint import fingerprint

    source, info = run.info["source"], reader.info
    hint = "give the movie that the run was made from: --source MOVIE"
    refused = f"'{info.path}' is not the movie of '{run.path}': "
    if info.shape != shape_of(run):
        raise InputError(f"{refused}its frames have {info.height}×{info.width} px, not {shape_of(run)}", hint)
    planes = Planes(run, labelled=False)
    last = planes.frame(len(planes) - 1)
    if info.n_frames is not None and info.n_frames <= last:
        raise InputError(f"{refused}it has {info.n_frames} frames, and the run goes to frame {last}", hint)
    stored = source.get("fingerprint") or {}
    if given is None and info.n_frames == source["n_frames"] and stored.get("kind") == "file" and stored["files"] == 1:
        now = fingerprint(info.path, run.path)
        if now.get("files") == 1 and now["sha256"] != stored["sha256"]:
            raise InputError(f"{refused}its content has changed since", hint)


class Planes:
    """The planes of a run, of which some may be chosen.

    Parameters
    ----------
    run : Run
        With label images.
    frames : (start, stop or None, step), optional
        Which frames of the source's timeline; all planes by default.
    labelled : bool
        Whether label images are needed; without them the planes are those of the tables.

    Raises
    ------
    InputError
        The run has no frame yet, or no label images where they are needed.
    CommandError
        No plane lies in `frames`.
    """

    def __init__(self, run: Run, frames: tuple[int, int | None, int] | None = None, *, labelled: bool = True) -> None:
        geometry = run.info["geometry"]
        self._labels = run.labels if labelled else None
        self._first, self._step = int(geometry["first_frame"]), int(geometry["step"])
        self._origin, self._bin = tuple(int(v) for v in geometry["origin"]), int(geometry["bin"])
        self.shape = shape_of(run)
        safe = sum(run.counts[status] for status in ("ok", "bad", "missing"))
        count = safe if self._labels is None else int(self._labels.shape[0])
        if not count:
            raise InputError(f"the run '{run.path}' has no frame yet that is safe", "wait for it, then try again")
        self.numbers: list[int] = list(range(count))
        if frames is not None:
            start, stop, step = frames
            chosen = range(start, self._first + count * self._step if stop is None else stop, step)
            self.numbers = [k for k in self.numbers if self._first + k * self._step in chosen]
            if not self.numbers:
                last = self._first + (count - 1) * self._step
                raise CommandError(
                    f"no frame of the run lies in {start}:{'' if stop is None else stop}:{step}",
                    f"it has the frames {self._first} to {last} in steps of {self._step}",
                )

    def __len__(self) -> int:
        return len(self.numbers)

    def frame(self, k: int) -> int:
        """Return the source frame of chosen plane k."""
        return self._first + self.numbers[k] * self._step

    @property
    def frames(self) -> list[int]:
        """The source frame of each chosen plane."""
        return [self.frame(k) for k in range(len(self))]

    def labels(self, k: int) -> NDArray[np.uint16]:
        """Return the labels of chosen plane k over the full frame, (H, W); 0 outside the analysed region."""
        if self._labels is None:
            return np.zeros(self.shape, np.uint16)
        found = np.asarray(self._labels[self.numbers[k]])
        if self._bin > 1:
            found = found.repeat(self._bin, axis=0).repeat(self._bin, axis=1)
        if found.shape == self.shape:
            return found
        full = np.zeros(self.shape, np.uint16)
        y0, x0 = self._origin
        full[y0 : y0 + found.shape[0], x0 : x0 + found.shape[1]] = found
        return full

    @property
    def spacing(self) -> int | None:
        """Frames of the source from one chosen plane to the next; None where that varies or there is only one."""
        steps = set(np.diff(self.frames).tolist())
        return int(steps.pop()) if len(steps) == 1 else None


def rows_by_plane(run: Run, planes: Planes, columns: Sequence[str]) -> Iterator[tuple[int, Columns]]:
    """Yield every chosen plane k with its rows of the particles table, in order of label."""
    for start in range(0, len(planes), _STRETCH_FRAMES):
        stretch = range(start, min(start + _STRETCH_FRAMES, len(planes)))
        wanted = [planes.frame(k) for k in stretch]
        table = run.particles.to_arrow(["frame", *columns], frames=wanted)
        rows = {name: table[name].to_numpy() for name in ("frame", *columns)}
        bounds = np.searchsorted(rows["frame"], [*wanted, wanted[-1] + 1])
        for i, k in enumerate(stretch):
            # between two chosen frames there are no rows, as only the chosen ones were read
            yield k, {name: rows[name][bounds[i] : bounds[i + 1]] for name in columns}


def image_of(reader: Reader, frame: int, status: str, dtype: np.dtype[Any] | None = None) -> NDArray[Any]:
    """Return the pixels of a frame, (H, W); zeros where the run could not use it."""
    image = np.zeros(reader.info.shape, reader.info.dtype)
    if status == "ok":
        try:
            reader.read_into(frame, image)
        except BadFrame as bad:
            raise InputError(
                f"frame {frame} of '{reader.info.path}' cannot be read any more: {bad}",
                "give the movie that the run was made from: --source MOVIE",
            ) from bad
    return image if dtype is None else image.astype(dtype, copy=False)


def statuses(run: Run) -> dict[int, str]:
    """Return `ok`, `bad` or `missing` of each frame."""
    table = run.frames.to_arrow(["frame", "status"])
    return dict(zip(table["frame"].to_pylist(), table["status"].to_pylist(), strict=True))


def require_space(folder: Path, n_bytes: int) -> None:
    """Refuse to begin what does not fit on the disk.

    Raises
    ------
    ResourceError
        `folder` has less than `n_bytes` free.
    """
    import shutil

    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise ResourceError(
            f"the export needs {n_bytes / 1e9:.1f} GB, and '{folder}' has {free / 1e9:.1f} GB free",
            "choose another disk with -o, or fewer frames: --frames a:b:step",
        )
