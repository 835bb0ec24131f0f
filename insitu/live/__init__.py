"""The live page: what a running analysis sees, in a browser on the same machine.

A `Board` takes results and progress through the hooks of `insitu.pipeline.process` and keeps summaries, so the engine
never waits for a browser; `LiveServer` shows them. The page needs no network and the extra ``insitu[live]`` (starlette,
uvicorn, websockets). This is the only home of starlette.
"""

from __future__ import annotations

from importlib.util import find_spec

NEEDS = ("starlette", "uvicorn", "websockets")


def missing() -> list[str]:
    """Return the packages that the page needs and that are not installed."""
    return [name for name in NEEDS if find_spec(name) is None]
