"""What can be done to a state without knowing what it is made of.

A state is a tensor, None, or a tuple of states: a NamedTuple or a plain one, nested as one likes. Every
tensor has one row for each of B environments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

State = TypeVar("State")


def map_state(function: Callable[..., Any], state: State, *others: Any) -> State:
    """The state with ``function(tensor)`` in the place of every tensor.

    With more states of the same structure it is ``function(tensor, *those in the same place)``.

    Raises:
        ValueError: the other states have another structure.
    """
    if state is None:
        return state
    if not isinstance(state, tuple):
        return function(state, *others)
    if any(not isinstance(other, tuple | list) or len(other) != len(state) for other in others):
        raise ValueError(f"states must have the same structure, got {(state, *others)!r}")
    parts = [map_state(function, *same) for same in zip(state, *others, strict=True)]
    return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)


def tensors(state: Any) -> Iterator[Tensor]:
    """The tensors of a state, in their order."""
    if isinstance(state, tuple):
        for part in state:
            yield from tensors(part)
    elif state is not None:
        yield state


def batch_size(state: Any) -> int:
    """The number B of environments that a state belongs to."""
    return next(tensors(state)).shape[0]


def zero_rows(state: State, where: Tensor) -> State:
    """The state with zeros in the rows of the environments in which an episode starts. where: (B,), bool."""
    # Filled, not multiplied: a row that has gone to infinity is forgotten like any other.
    return map_state(lambda part: part.masked_fill(where.reshape(-1, *[1] * (part.dim() - 1)), 0.0), state)


def take_rows(state: State, index: Any) -> State:
    """A copy of the state of some environments. index: (K,) integers."""

    def take(part: Tensor) -> Tensor:
        return part[torch.as_tensor(index, device=part.device)]

    return map_state(take, state)


def put_back(parts: Iterable[Tensor], changed: Iterable[Tensor]) -> None:
    """Overwrite the tensors of a state, without gradients, with changed ones: copies, or the same memory.

    torch does not see what kernels write: it is told, so that a graph that still needs the old numbers fails.
    """
    for part, new in zip(parts, changed, strict=True):
        if part.data_ptr() != new.data_ptr():
            part.detach().copy_(new)
        else:
            torch.autograd.graph.increment_version(part)
