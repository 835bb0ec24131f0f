"""A worker process of `insitu.distributed.processes`: reads ranges from its parent's line until that is closed."""

from __future__ import annotations

import os
import sys
import threading
import time
from multiprocessing.connection import Connection

from insitu.errors import EXIT_BUG, EXIT_RESOURCE, InsituError


def main(descriptor: int, slot: int, lanes: int) -> None:
    """Answer every range with its outcome, or with what went wrong; before that, now and then, with frames done."""
    from insitu.distributed.work import Outcome, Place, Task, analyse_range

    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with Connection(descriptor) as line:
        while True:
            try:
                task = Task(*line.recv())
            except EOFError:
                return
            answer: Outcome | InsituError
            try:
                answer = analyse_range(task, Place(slot, lanes), line.send)
            except InsituError as error:
                answer = error
            except MemoryError:
                answer = InsituError(
                    f"memory is exhausted at frames {task.first}…{task.stop - 1} of '{task.out}'",
                    "give fewer --jobs, then go on with --resume",
                    EXIT_RESOURCE,
                )
            except Exception as error:
                answer = _bug(error)
            line.send(answer)


def _bug(error: Exception) -> InsituError:
    """Return a fault of the program in a form that crosses the line; its traceback goes to stderr here."""
    import traceback

    traceback.print_exception(error)
    return InsituError(
        f"a worker failed: {type(error).__name__}: {error}", "please report this with the lines above", EXIT_BUG
    )


def _end_with(parent: int) -> None:
    """End this process when its parent has ended, whatever it is doing."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(EXIT_BUG)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:4]))
