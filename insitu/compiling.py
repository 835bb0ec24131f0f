"""How loops over pixels, runs and particles are compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")


def kernel(function: F) -> F:
    """Compile `function` on first use, with a disk cache where one can be written (a read-only install has none)."""
    try:
        return cast("F", numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no writable place for the cache: compile in memory, once a process
        return cast("F", numba.njit(nogil=True)(function))
