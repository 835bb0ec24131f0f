"""How loops over pixels, runs and particles are compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")


def kernel(function: F) -> F:
    """Compile `function` on first use, with a disk cache where one can be written (a read-only install has none)."""
    return _compiled(function)


def contracting(function: F) -> F:
    """Do what `kernel` does; a product and the sum behind it may be one instruction, rounded once.

    Last bits then depend on whether the processor has it: for what follows a multiplication in bfloat16 only, which
    every processor does in an order of its own.
    """
    return _compiled(function, {"contract"})


def _compiled(function: F, fastmath: bool | set[str] = False) -> F:
    try:
        return cast("F", numba.njit(cache=True, nogil=True, fastmath=fastmath)(function))
    except RuntimeError:  # no writable place for the cache: compile in memory, once a process
        return cast("F", numba.njit(nogil=True, fastmath=fastmath)(function))
