"""Workers of dask: a scheduler that somebody has started, or a cluster of this machine that listens on 127.0.0.1 only.

The scheduler hands ranges to workers, and again to others when a worker is lost; it never sees a pixel.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from insitu.distributed.processes import lanes_each
from insitu.distributed.work import analyse_range, here
from insitu.errors import EXIT_BUG, CommandError, InsituError, ResourceError

if TYPE_CHECKING:
    from insitu.distributed.work import Outcome, Task

LOCAL = "local"
_CONNECT_S = 20


class Dask:
    """Ranges on the workers of dask; the same methods as `insitu.distributed.processes.Processes`.

    Parameters
    ----------
    scheduler : str
        ``"local"``, the address of a scheduler (``tcp://HOST:8786``), or the path of its scheduler file.
    jobs : int
        Processes of a local cluster.

    Raises
    ------
    CommandError
        dask.distributed is not installed, or nobody answers at the address.
    """

    lost: int | None = None  # only the scheduler knows

    def __init__(self, scheduler: str, jobs: int) -> None:
        try:
            import distributed
        except ImportError as error:
            raise CommandError(
                f"--dask needs distributed ({error})", "pip install distributed, or use --jobs"
            ) from None
        kit: Any = distributed  # its functions have no types
        self.jobs, self._lanes = jobs, lanes_each(jobs) if scheduler == LOCAL else 0
        self._cluster: Any = None
        self._futures: dict[Task, Any] = {}
        if scheduler == LOCAL:
            # by default a local cluster listens on every interface, and whoever reaches it may run any code
            own = "127.0.0.1"
            self._cluster = kit.LocalCluster(
                n_workers=jobs,
                threads_per_worker=1,
                processes=True,
                host=own,
                dashboard_address=f"{own}:0",
                worker_dashboard_address=f"{own}:0",
                memory_limit=0,
                silence_logs=logging.ERROR,
            )
            self._client: Any = kit.Client(self._cluster)
        else:
            self._client = _client(kit.Client, scheduler)
            self.jobs = max(1, len(self._client.scheduler_info()["workers"]))

    def about(self) -> str:
        """Return how many workers there are, and where to look at them."""
        there = len(self._client.scheduler_info()["workers"])
        workers = f"{there} worker{'s' * (there > 1)}" if there else "no worker yet, waiting for the first"
        return f"dask: {workers}; dashboard {self._client.dashboard_link}"

    @property
    def waiting(self) -> int:
        """Ranges that have not ended, beyond one a worker."""
        return max(0, sum(not f.done() for f in self._futures.values()) - self.jobs)

    def submit(self, task: Task) -> None:
        """Take a range."""
        key = f"insitu-{task.key}-{task.first}-{task.stop}-{len(self._futures)}"
        self._futures[task] = self._client.submit(on_dask, tuple(task), self._lanes, key=key, pure=False)

    def outcome(self, task: Task, timeout_s: float) -> Outcome | None:
        """Return how a range ended; None while it has not. Raises what went wrong with it."""
        from distributed import CancelledError, KilledWorker

        try:
            ended: Outcome = self._futures[task].result(timeout=timeout_s)
        except TimeoutError:
            return None
        except InsituError:
            raise
        except KilledWorker as error:
            raise ResourceError(
                f"frames {task.first}…{task.stop - 1} of '{task.out}' ended every worker that had them",
                "look at the workers' logs: memory may be short; go on with --resume",
            ) from error
        except CancelledError as error:
            raise ResourceError(f"the scheduler was lost: {error}", "start it, then go on with --resume") from error
        except ImportError as error:
            raise CommandError(
                f"a worker cannot load insitu: {error}", "install insitu, the same version, where the workers run"
            ) from error
        except Exception as error:
            message = f"a worker failed: {type(error).__name__}: {error}"
            raise InsituError(message, "the traceback is in the worker's log; please report it", EXIT_BUG) from error
        return ended

    def finished(self, out: str) -> int:
        """Return how many frames of the run in `out` are analysed."""
        return sum(t.stop - t.first for t, f in self._futures.items() if t.out == out and f.status == "finished")

    def cancel(self, out: str) -> None:
        """Forget the ranges of a run that have not ended."""
        self._client.cancel([f for t, f in self._futures.items() if t.out == out and not f.done()])

    def close(self) -> None:
        """Let go of the scheduler; end a local cluster."""
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def _client(kind: Any, scheduler: str) -> Any:  # noqa: ANN401 - distributed has no types
    where = {"scheduler_file": scheduler} if os.path.isfile(scheduler) else {"address": scheduler}  # noqa: PTH113
    try:
        return kind(**where, timeout=_CONNECT_S)
    except (OSError, ValueError, TypeError) as error:
        raise CommandError(
            f"no dask scheduler answers at '{scheduler}' ({str(error).splitlines()[0] if str(error) else error!r})",
            "start one with: dask scheduler --host 127.0.0.1; or use --dask local",
        ) from None


def on_dask(task: tuple[str, str, int, int], lanes: int) -> Outcome:
    """Analyse a range on a dask worker; workers of a local cluster are numbered and take one GPU each.

    `lanes` 0: as many as the worker has threads.
    """
    from distributed import get_worker

    from insitu.distributed.work import Place
    from insitu.distributed.work import Task as Range

    worker: Any = get_worker()
    slot = worker.name if isinstance(worker.name, int) else 0
    try:
        return analyse_range(Range(*task), Place(slot, lanes or worker.state.nthreads))
    except MemoryError:
        raise ResourceError(f"memory is exhausted on {here()}", "start fewer workers a machine") from None
