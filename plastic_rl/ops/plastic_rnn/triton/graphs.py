"""CUDA graphs: the launches of a call are captured once, and replayed where a call like it comes again.

Launching a kernel from Python takes longer than running it, unless there are many environments. A graph
launches all kernels of a call at once. It reads and writes where it did when it was captured: what a call is
given is copied there, and what it returns is there until the next replay.
"""

from __future__ import annotations

import functools
import logging
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

# Of sequences that are kept, each with the memory of its forward and backward pass.
LIMIT = 8


class Primitives(NamedTuple):
    """What a device has to be able to do.

    place: of a tensor, the device and stream on which its kernels run now; None where they cannot be captured
    capture: of a function that launches kernels, whatever replays them, and what the function returned
    """

    place: Callable[[Tensor], Hashable | None]
    capture: Callable[[Tensor, Callable[[], Any]], tuple[Callable[[], None], Any]]


def _cuda_place(x: Tensor) -> Hashable | None:
    if x.device.type != "cuda":
        return None
    with torch.cuda.device_of(x):
        # Of another graph, say that of torch.compile, the launches become a part.
        if torch.cuda.is_current_stream_capturing():
            return None
    return x.device.index, torch.cuda.current_stream(x.device).cuda_stream


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def _cuda_capture(x: Tensor, function: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    graph = torch.cuda.CUDAGraph()
    # The outer context takes back the stream where the inner one ends with an error. What other threads do
    # meanwhile, such as pinning memory, is none.
    with (
        torch.cuda.stream(torch.cuda.current_stream(x.device)),
        torch.cuda.graph(graph, stream=_side_stream(x.device), capture_error_mode="thread_local"),
    ):
        outputs = function()
    return graph.replay, outputs


CUDA = Primitives(_cuda_place, _cuda_capture)


class Graph:
    """One function of tensors of fixed shapes.

    The first call runs it, in the memory of the graph: that compiles every kernel for just these addresses,
    which cannot be done during a capture. The second call captures it, and from then on it is replayed.

    Args:
        function: launches kernels, and never waits for one; returns tensors in any structure.
        primitives: of the device.
    """

    def __init__(self, function: Callable[..., Any], primitives: Primitives) -> None:
        self.function, self.primitives = function, primitives
        self.outputs: Any = None
        self._inputs: tuple[Tensor, ...] | None = None
        self._replay: Callable[[], None] | None = None
        self._failed = False
        self._lent: list[weakref.ref[Tensor]] = []

    def __call__(self, *given: Tensor) -> Any:
        """What the function returns; once it is captured, in memory that the next call overwrites."""
        given = tuple(tensor.detach() for tensor in given)
        if self._failed:
            return self.function(*given)
        fresh = self._inputs is None
        if self._inputs is None:
            self._inputs = tuple(
                torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in given
            )
        inputs = self._inputs
        for own, tensor in zip(inputs, given, strict=True):
            own.copy_(tensor)
        if fresh:
            return self.function(*inputs)
        if self._replay is None:
            try:
                self._replay, self.outputs = self.primitives.capture(
                    inputs[0], lambda: self.function(*inputs)
                )
            except Exception as error:
                self._failed = True
                _say_that_it_failed(str(error))
                return self.function(*inputs)
        self._replay()
        return self.outputs

    @property
    def is_captured(self) -> bool:
        """Whether ``outputs`` is what every call from now on returns."""
        return self._replay is not None

    def lend(self, tensors: Iterable[Tensor]) -> list[Tensor]:
        """The same memory as other tensors: as long as one of them is held, the graph is in use."""
        aliases = [tensor.detach() for tensor in tensors]
        self._lent = [weakref.ref(alias) for alias in aliases]
        return aliases

    @property
    def in_use(self) -> bool:
        """Whether somebody, such as a backward pass to come, still needs what it has lent."""
        return any(alias() is not None for alias in self._lent)


@functools.cache
def _say_that_it_failed(reason: str) -> None:
    logger.warning("plastic_rnn: launching kernel by kernel, as they were not captured: %s", reason)


class Graphs:
    """The graphs that are kept, by what distinguishes calls, the least recently used of too many forgotten.

    Args:
        primitives: of the device.
        limit: how many are kept, at least 1.
    """

    def __init__(self, primitives: Primitives = CUDA, limit: int = LIMIT) -> None:
        self.primitives, self.limit = primitives, limit
        # Held from finding a graph until what it returned is copied or lent.
        self.lock = threading.RLock()
        self._kept: OrderedDict[Hashable, list[Any]] = OrderedDict()
        self._seen: set[Hashable] = set()

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    def find(self, key: Hashable, make: Callable[[], Graph | None]) -> Any:
        """A graph for such a call that is not in use, or None where it is to be run as it is.

        key: equal only of calls that launch the same kernels for tensors of the same shapes
        make: a graph for such calls, None if it may not be; not at the first, which may remain the only one
        """
        if key not in self._seen:
            if len(self._seen) > 1000:
                self._seen.clear()
            self._seen.add(key)
            return None
        graphs = self._kept.pop(key, [])
        free = next((graph for graph in graphs if not graph.in_use), None)
        if free is None:
            free = make()
            if free is not None and self._make_room(1 + len(graphs)):
                graphs.append(free)
            else:
                free = None
        if graphs:
            self._kept[key] = graphs
        return free

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
        self._seen.clear()

    def _make_room(self, wanted: int) -> bool:
        """Forget graphs that are not in use, the least recently used first, until so many more have room."""
        for key, graphs in list(self._kept.items()):
            for graph in list(graphs):
                if len(self) + wanted <= self.limit:
                    return True
                if not graph.in_use:
                    graphs.remove(graph)
            if not graphs:
                del self._kept[key]
        return len(self) + wanted <= self.limit
