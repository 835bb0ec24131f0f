"""The frames that are worked on at the same time: one lane a core, each frame on one thread from counts to particles.

A frame on one thread gives the same bits whatever else runs, and no thread waits for another: every stage uses all
cores, not the layers of a network alone. Results come out in the order in which the frames went in.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 16


def number_of_lanes(wanted: int, device: str) -> int:
    """Return how many frames (batches on a GPU) are worked on at a time; `wanted` 0 = as many as are of use."""
    if wanted:
        return wanted
    if not device.startswith("cpu"):
        return 2  # one is being uploaded while the other is computed
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    return min(cores, MOST)


class Lanes:
    """Threads that do `work` on whatever is put in.

    Parameters
    ----------
    work : callable
    lanes : int
    """

    def __init__(self, work: Callable[[Any], Any], lanes: int) -> None:
        self._work = work
        self._pool = ThreadPoolExecutor(lanes, thread_name_prefix="insitu-lane", initializer=_one_thread)

    def put(self, item: Any) -> Future[Any]:  # noqa: ANN401 - whatever `work` takes
        """Begin work on `item` as soon as a lane is free."""
        return self._pool.submit(self._work, item)

    def close(self) -> None:
        """Drop what was not begun and wait for the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)  # of this thread
