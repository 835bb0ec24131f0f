"""Particles over time: `link` and `link_iter` with trackpy's signatures, `OptimalLinker` for the stream.

`track_table` tracks a table of detections and decides its events; as it needs more than this room, it lives in
`insitu.detections`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from insitu.detections import track_table
    from insitu.link.linker import OptimalLinker
    from insitu.link.tables import link, link_iter

__all__ = ["OptimalLinker", "link", "link_iter", "track_table"]

_HOMES = {
    "OptimalLinker": "insitu.link.linker",
    "link": "insitu.link.tables",
    "link_iter": "insitu.link.tables",
    "track_table": "insitu.detections",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the type of the asked name
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
