"""insitu: streaming analysis of in-situ electron-microscopy movies, every frame.

>>> import insitu
>>> insitu.__version__
'0.1.0'

`stream` yields results frame by frame in constant memory, `analyze` writes a run folder, `open` reads one back.
Importing the package imports neither torch nor pandas: names are resolved when they are first used (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "stream": "insitu.api:stream",
    "analyze": "insitu.api:analyze",
    "open": "insitu.results:open_run",
    "Run": "insitu.results:Run",
    "InsituError": "insitu.errors:InsituError",
    "Event": "insitu.types:Event",
    "FrameResult": "insitu.types:FrameResult",
    "Settings": "insitu.settings:Settings",
}

__all__ = ["Event", "FrameResult", "InsituError", "Run", "Settings", "__version__", "analyze", "open", "stream"]

if TYPE_CHECKING:
    from insitu.api import analyze, stream
    from insitu.errors import InsituError
    from insitu.results import Run
    from insitu.results import open_run as open  # noqa: A004 - `insitu.open` is the public name
    from insitu.settings import Settings
    from insitu.types import Event, FrameResult


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public object
    if name not in _PUBLIC:
        raise AttributeError(f"module 'insitu' has no attribute '{name}'")
    module, _, attribute = _PUBLIC[name].partition(":")
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
