"""Workers on this machine: one process each, restarted when it dies.

A thread of this process holds the line to each worker: it hands over a range, waits, and hands over the next. A worker
that is killed takes one range with it, which the next process begins again; one that loses its parent ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from multiprocessing import Pipe
from pathlib import Path
from typing import TYPE_CHECKING

from insitu.errors import CommandError, ResourceError
from insitu.store.ranges import clear_partial

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from insitu.distributed.work import Outcome, Task

ATTEMPTS = 3


class Processes:
    """Ranges on `jobs` processes of this machine, in the order in which they are submitted.

    Attributes
    ----------
    lost : int
        Workers that died while they had a range.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.lost = 0
        self._changed = threading.Condition()
        self._waiting: deque[Task] = deque()
        self._ended: dict[Task, Outcome | BaseException] = {}
        self._partly: dict[Task, int] = {}  # frames done of ranges that are being analysed
        self._closed = False
        self._threads: list[threading.Thread] = []
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def waiting(self) -> int:
        """Ranges that no worker has begun."""
        return len(self._waiting)

    def submit(self, task: Task) -> None:
        """Take a range; start one more worker while there are fewer than ranges."""
        with self._changed:
            self._waiting.append(task)
            if len(self._threads) < self.jobs:
                slot = len(self._threads)
                thread = threading.Thread(target=self._serve, args=(slot,), name=f"insitu-worker-{slot}", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify_all()

    def outcome(self, task: Task, timeout_s: float) -> Outcome | None:
        """Return how a range ended; None while it has not. Raises what went wrong with it."""
        with self._changed:
            self._changed.wait_for(lambda: task in self._ended, timeout_s)
            ended = self._ended.get(task)
        if isinstance(ended, BaseException):
            raise ended
        return ended

    def finished(self, out: str) -> int:
        """Return how many frames of the run in `out` are analysed."""
        with self._changed:
            ended = [t for t, e in self._ended.items() if t.out == out and not isinstance(e, BaseException)]
            partly = [done for t, done in list(self._partly.items()) if t.out == out]
        return sum(t.stop - t.first for t in ended) + sum(partly)

    def cancel(self, out: str) -> None:
        """Forget the ranges of a run that nobody has begun."""
        with self._changed:
            self._waiting = deque(task for task in self._waiting if task.out != out)

    def close(self) -> None:
        """End all workers, at once: what they have not finished is begun again by a resumed run."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            for process in self._processes.values():
                process.kill()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _next(self) -> Task | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return None if self._closed else self._waiting.popleft()

    def _serve(self, slot: int) -> None:
        """Hand one range after the other to a worker of one's own."""
        line: Connection | None = None
        while (task := self._next()) is not None:
            ended: Outcome | BaseException | None = None
            for _ in range(ATTEMPTS):
                if self._closed:
                    break
                try:
                    line = line or self._start(slot)
                    line.send(task)
                    ended = self._answer(line, task)
                    break
                except (EOFError, ConnectionError):
                    self._partly.pop(task, None)
                    line, code = None, self._bury(slot, task)
                    ended = _died(task, code)
                except OSError as error:
                    ended = ResourceError(f"no worker can be started: {error}", "give a smaller --jobs")
                    break
            with self._changed:
                if ended is not None:
                    self._ended[task] = ended
                self._changed.notify_all()
        if line is not None:
            line.close()
        self._bury(slot, None)

    def _answer(self, line: Connection, task: Task) -> Outcome | BaseException:
        """Wait for how a range ends, noting how many of its frames are done."""
        while isinstance(answer := line.recv(), int):
            self._partly[task] = answer
        self._partly.pop(task, None)
        ended: Outcome | BaseException = answer
        return ended

    def _start(self, slot: int) -> Connection:
        ours, theirs = Pipe()
        own = [str(number) for number in (theirs.fileno(), slot, lanes_each(self.jobs))]
        command = [sys.executable, "-m", "insitu.distributed.worker", *own]
        # a session of its own: Ctrl-C is for the parent, which ends its workers in good order
        process = subprocess.Popen(  # noqa: S603 - our own module
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
        )
        theirs.close()
        with self._changed:
            self._processes[slot] = process
            if self._closed:
                process.kill()
        return ours

    def _bury(self, slot: int, task: Task | None) -> int:
        """Wait for the process of a worker whose line is closed, and clear its desk; return its exit code."""
        with self._changed:
            process = self._processes.pop(slot, None)
        if process is None:
            return 0
        code = process.wait()
        if task is not None:
            clear_partial(Path(task.out), process.pid)
        self.lost += not self._closed
        return code


def _died(task: Task, code: int) -> ResourceError:
    how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
    return ResourceError(
        f"frames {task.first}…{task.stop - 1} of '{task.out}' ended their worker {ATTEMPTS} times: it {how}",
        "memory may be short: give fewer --jobs, then go on with --resume",
    )


def check_jobs(jobs: int, device: str) -> None:
    """Refuse a number of workers that this machine cannot serve: there is one process a GPU.

    Raises
    ------
    CommandError
        `jobs` is below 1, or more than the GPUs of a run on GPUs.
    """
    if jobs < 1:
        raise CommandError(f"--jobs {jobs} is not a number of workers", f"give 1 or more, for example {os.cpu_count()}")
    if device.startswith("cuda"):
        import torch

        gpus = torch.cuda.device_count()
        if jobs > gpus:
            raise CommandError(
                f"--jobs {jobs} is more than the {gpus} GPUs that are usable", "give one job a GPU, or --device cpu"
            )


def lanes_each(jobs: int) -> int:
    """Return how many cores each of so many workers has for itself, at least one."""
    return max(1, len(os.sched_getaffinity(0)) // jobs)


def fitting_jobs(device: str) -> int:
    """Return how many workers this machine is made for: one a GPU, or one a core."""
    if device.startswith("cuda"):
        import torch

        return max(1, torch.cuda.device_count())
    return len(os.sched_getaffinity(0))
