"""Network calls of one shape on a GPU: batches that halve when memory runs out, kernels recorded and replayed.

The same code runs on a CPU, where the tests prove that it changes no result; not measured on a GPU.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from insitu.errors import ResourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

_LOCK = threading.Lock()
_LARGEST: WeakKeyDictionary[Any, int] = WeakKeyDictionary()


def largest_batch(model: object, wanted: int) -> int:
    """Return how many frames `model` takes at a time: `wanted`, or fewer once memory ran out."""
    with _LOCK:
        return min(wanted, _LARGEST.get(model, wanted))


def halved(model: object, batch: int) -> int:
    """Note that a batch did not fit; return the next smaller one, for this and all later frames.

    Raises
    ------
    ResourceError
        A single frame does not fit.
    """
    if batch == 1:
        raise ResourceError(
            "one frame does not fit into the memory of the GPU",
            "analyse a part of it (prepare.crop), bin it (prepare.bin = 2), or use --device cpu",
        )
    with _LOCK:
        _LARGEST[model] = min(batch // 2, _LARGEST.get(model, batch))
        return _LARGEST[model]


class Replayed:
    """A function of one tensor of fixed shape whose kernels are recorded once a lane and shape, and then replayed.

    Launching the 40–90 kernels of a small network one by one costs as much as their work. Where recording fails, and
    on a CPU, the function is simply called; `reason` says why.

    Parameters
    ----------
    function : callable
        Tensor → tensor, without any transfer to the host.
    record : callable, optional
        (function, example) → (static input, replay, static output); CUDA graphs by default.
    """

    def __init__(
        self,
        function: Callable[[torch.Tensor], torch.Tensor],
        record: Callable[..., tuple[torch.Tensor, Callable[[], None], torch.Tensor]] | None = None,
    ) -> None:
        self._function = function
        self._record = record or _cuda_graph
        self._always = record is not None
        self._recorded: dict[Any, tuple[torch.Tensor, Callable[[], None], torch.Tensor]] = {}
        self.reason = ""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the function returns for `x`, in memory of its own."""
        if self.reason or (x.device.type != "cuda" and not self._always):
            return self._function(x)
        key = (threading.get_ident(), tuple(x.shape), x.dtype, x.device)
        if key not in self._recorded:
            try:
                with _LOCK:
                    self._recorded[key] = self._record(self._function, x)
            except RuntimeError as error:
                self.reason = str(error).partition("\n")[0]
                return self._function(x)
        static, replay, out = self._recorded[key]
        static.copy_(x)
        replay()
        return out.clone()  # the next replay writes over it


def _cuda_graph(
    function: Callable[[torch.Tensor], torch.Tensor], example: torch.Tensor
) -> tuple[torch.Tensor, Callable[[], None], torch.Tensor]:
    """Record the kernels of a call on the current stream; other threads may go on with theirs."""
    import torch

    static = example.clone(memory_format=torch.preserve_format)
    for _ in range(3):  # libraries choose their kernels and allocate before anything is recorded
        function(static)
    torch.cuda.current_stream().synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        out = function(static)
    return static, graph.replay, out
