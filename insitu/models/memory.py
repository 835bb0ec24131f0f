"""Let the C library keep large blocks from layer to layer, and return now and then what it keeps for nothing."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # M_… of glibc's malloc.h
_NEVER = 2**31 - 1


def keep_large_blocks() -> bool:
    """Ask glibc to reuse freed memory for the whole process; return whether it will.

    Every large temporary of a network is otherwise mapped and unmapped anew: most of the time of a frame on a CPU is
    then spent in page faults (3–6 times slower, the same bits). The process keeps its high-water memory until
    `give_back_unused`. Threads that begin later share one arena: in arenas of their own large blocks would be given
    back all the same (1.8 times slower). Does nothing on other C libraries. To be called once by a program, never at
    import.
    """
    try:
        library = ctypes.CDLL("libc.so.6")
        kept = bool(library.mallopt(_MMAP_THRESHOLD, _NEVER)) and bool(library.mallopt(_TRIM_THRESHOLD, _NEVER))
        return kept and bool(library.mallopt(_ARENA_MAX, 1))
    except (OSError, AttributeError):
        return False


def give_back_unused() -> None:
    """Return free pages to the system, also those between blocks in use: a long run would gather ever more of them.

    What is in use stays, so the next layers fault in at most what they had: once in a thousand frames costs nothing.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
