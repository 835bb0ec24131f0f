"""What napari calls when a run folder is dropped on it (``napari.yaml`` names this)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from insitu.store import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from insitu.view.layers import Layer


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[Layer]] | None:
    """Return a function that reads a run folder, or None where `path` is none."""
    return read if isinstance(path, str) and (Path(path) / layout.RUN).is_file() else None


def read(path: str | Sequence[str]) -> list[Layer]:
    """Return the layers of a run folder; what has to be left out is told as a warning, which napari shows."""
    from insitu.results import open_run
    from insitu.view.layers import layers_of

    found = layers_of(open_run(str(path)))
    for note in found.notes:
        warnings.warn(note, stacklevel=2)
    return found.layers
