"""A stand-in for CUDA graphs: it records launches without running them, and runs them when it is replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from plastic_rl.ops.plastic_rnn.triton.graphs import Graphs, Primitives

_MEMORY = ("aten::empty", "aten::new_empty", "aten::empty_like", "aten::empty_strided", "aten::detach")
_WAITS = ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero", "aten::masked_select")


def poison(value: Any) -> None:
    """What was not computed yet is no number."""
    tree_map_only(torch.Tensor, lambda t: t.fill_(torch.nan) if t.is_floating_point() else t, value)


class Recorder(TorchDispatchMode):
    """The launches of what runs in this context, none of which writes anything."""

    def __init__(self) -> None:
        super().__init__()
        self.launches: list[Callable[[], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name, schema = func._schema.name, func._schema
        if name in _WAITS:
            raise RuntimeError(f"{name} during a capture")
        if torch.Tag.inplace_view in func.tags:  # of the shape alone
            return func(*args, **kwargs)
        if schema.is_mutable:
            self.launches.append(lambda: func(*args, **kwargs))
            return kwargs.get("out", args[0])
        result = func(*args, **kwargs)
        if func.is_view or name in _MEMORY:
            return result
        poison(result)

        def launch() -> None:
            result.copy_(func(*args, **kwargs).reshape(result.shape))

        self.launches.append(launch)
        return result


class StandIn:
    """Primitives that count.

    captures, replays: numbers of them
    fails: whether the next captures fail
    stream: on which kernels run; None where none can be captured
    """

    def __init__(self) -> None:
        self.captures = self.replays = 0
        self.fails = False
        self.stream: int | None = 0
        self.recorder: Recorder | None = None
        self.primitives = Primitives(lambda x: self.stream, self.capture)

    def capture(self, x: torch.Tensor, function: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        assert self.recorder is None
        self.captures += 1
        with Recorder() as recorder:
            self.recorder = recorder
            try:
                outputs = function()
                if self.fails:
                    raise RuntimeError("no graph today")
            finally:
                self.recorder = None

        def replay() -> None:
            self.replays += 1
            for launch in recorder.launches:
                launch()

        return replay, outputs


@pytest.fixture
def stand_in() -> StandIn:
    return StandIn()


@pytest.fixture
def graphs(stand_in) -> Graphs:
    return Graphs(stand_in.primitives, limit=3)


@pytest.fixture
def interpreted_kernels(stand_in, monkeypatch) -> None:
    """Launches of Triton's interpreter are recorded, too."""
    from triton.runtime.interpreter import InterpretedFunction

    run = InterpretedFunction.run

    def run_or_record(self, *args, **kwargs):
        if stand_in.recorder is None:
            return run(self, *args, **kwargs)
        stand_in.recorder.launches.append(lambda: run(self, *args, **kwargs))

    monkeypatch.setattr(InterpretedFunction, "run", run_or_record)
