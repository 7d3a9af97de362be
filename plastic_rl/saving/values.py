"""Python values as JSON: what a model's settings are made of, and nothing that runs.

Plain values are themselves. Every other is an object with a ``$type``, which has a function in `_ENCODERS`
here and one in ``reading.py``; arrays and tensors lie beside the JSON, which names them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule

from plastic_rl.saving.classes import name_of, qualified_name

BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
"""What NumPy's generators run on."""
NUMBER_TYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
"""What arrays hold."""
POINTS = ("start", "end", "end_fraction")
"""Of a linear schedule."""


class NotPlainError(Exception):
    """A value that no model file holds; the message says what it is."""


class Encoder:
    """Turns values into JSON.

    Attributes:
        arrays: the arrays that the JSON names.
        tensors: the tensors that the JSON names.
        left_out: what was no plain value, in words, by its place (``policy_kwargs.activation_fn``).
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.tensors: dict[str, torch.Tensor] = {}
        self.left_out: dict[str, str] = {}

    def mapping(self, values: Mapping[str, Any], place: str = "") -> dict[str, Any]:
        """The values of a mapping that are plain; the others are left out and noted."""
        found = {}
        for name, value in values.items():
            where = f"{place}.{name}" if place else name
            try:
                found[name] = self.encode(value, where)
            except NotPlainError as error:
                self.left_out[where] = str(error)
            except RecursionError:
                self.left_out[where] = "a value that is nested without end"
        return found

    def encode(self, value: Any, place: str) -> Any:
        """The JSON of one value.

        Raises:
            NotPlainError: there is none.
        """
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"$type": "float", "value": str(value)}
        if type(value) is list:
            return self.items(value, place)
        if isinstance(value, dict):
            if "$type" not in value and all(type(key) is str for key in value):
                return self.mapping(value, place)
            return {"$type": "dict", "items": self.items(map(list, value.items()), place)}
        for kinds, encoder in _ENCODERS:
            if isinstance(value, kinds):
                return encoder(self, value, place)
        if qualified_name(type(value)) == "rl_zoo3.utils.SimpleLinearSchedule":
            return _zoo_schedule(self, value, place)
        if callable(value):
            name = name_of(value)
            if name is None:
                kind = "class" if isinstance(value, type) else "function"
                raise NotPlainError(f"the {kind} {qualified_name(value)}")
            return {"$type": "class", "name": name}
        raise NotPlainError(f"a {type(value).__module__}.{type(value).__qualname__}")

    def items(self, values: Iterable[Any], place: str) -> list[Any]:
        """The JSON of every value, of which none can be left out.

        Raises:
            NotPlainError: there is none of one of them.
        """
        before = dict(self.left_out)
        found = [self.encode(value, f"{place}.{i}") for i, value in enumerate(values)]
        if new := [what for where, what in self.left_out.items() if where not in before]:
            self.left_out = before
            raise NotPlainError(f"a sequence with {new[0]}")
        return found


def _array(encoder: Encoder, value: np.ndarray, place: str) -> Any:
    if str(value.dtype.newbyteorder("=")) not in NUMBER_TYPES:
        raise NotPlainError(f"an array of {value.dtype}")
    # ascontiguousarray would give an array without dimensions one.
    native = np.array(value, dtype=value.dtype.newbyteorder("="), order="C")
    return {"$type": "array", "name": _stored(encoder.arrays, native, place)}


def _tensor(encoder: Encoder, value: torch.Tensor, place: str) -> Any:
    return {"$type": "tensor", "name": _stored(encoder.tensors, value.detach().cpu().contiguous(), place)}


def _stored(where: dict[str, Any], value: Any, name: str) -> str:
    """Store under the name, or one like it that is free: names with dots can mean two places."""
    while name in where:
        name += "_"
    where[name] = value
    return name


def _scalar(encoder: Encoder, value: np.generic, place: str) -> Any:
    if str(value.dtype) not in NUMBER_TYPES:
        raise NotPlainError(f"a number of {value.dtype}")
    return {"$type": "scalar", "dtype": str(value.dtype), "value": encoder.encode(value.item(), place)}


def _tuple(encoder: Encoder, value: tuple[Any, ...], place: str) -> Any:
    if type(value) is not tuple:
        raise NotPlainError(f"a {type(value).__module__}.{type(value).__qualname__}")
    return {"$type": "tuple", "items": encoder.items(value, place)}


def _deque(encoder: Encoder, value: deque[Any], place: str) -> Any:
    return {"$type": "deque", "items": encoder.items(value, place), "maxlen": value.maxlen}


def _path(encoder: Encoder, value: PurePath, place: str) -> Any:
    return {"$type": "path", "value": str(value)}


def _generator(encoder: Encoder, value: np.random.Generator, place: str) -> Any:
    state = dict(value.bit_generator.state)
    if state["bit_generator"] not in BIT_GENERATORS:
        raise NotPlainError(f"a generator on {state['bit_generator']}")
    return {"$type": "generator", "state": encoder.encode(state, place)}


def _schedule(encoder: Encoder, value: Any, place: str) -> Any:
    match value:
        case FloatSchedule():
            return {"$type": "schedule", "kind": "float", "of": encoder.encode(value.value_schedule, place)}
        case ConstantSchedule():
            content = {"kind": "constant", "value": value.val}
        case LinearSchedule():
            content = {"kind": "linear", **{name: getattr(value, name) for name in POINTS}}
    return {"$type": "schedule", **{name: encoder.encode(part, place) for name, part in content.items()}}


def _zoo_schedule(encoder: Encoder, value: Any, place: str) -> Any:
    """RL-Zoo's linear schedule as Stable-Baselines3's, which is there without RL-Zoo, too."""
    return _schedule(encoder, LinearSchedule(value.initial_value, 0.0, 1.0), place)


def _space(encoder: Encoder, value: spaces.Space[Any], place: str) -> Any:
    """A space, by what its constructor takes."""
    match value:
        case spaces.Box():
            content: dict[str, Any] = {"low": value.low, "high": value.high}
        case spaces.Discrete():
            content = {"n": int(value.n), "start": int(value.start), "dtype": str(value.dtype)}
        case spaces.MultiDiscrete():
            content = {"nvec": value.nvec, "start": value.start, "dtype": str(value.dtype)}
        case spaces.MultiBinary():
            content = {"n": value.n}
        case spaces.Dict():
            content = {"spaces": [[key, part] for key, part in value.spaces.items()]}
        case spaces.Tuple():
            content = {"spaces": list(value.spaces)}
        case _:
            content = {}
    kind = type(value).__name__
    if not content or type(value) is not getattr(spaces, kind, None):
        raise NotPlainError(f"a space of the class {qualified_name(type(value))}")
    parts = {name: encoder.items([part], f"{place}.{name}")[0] for name, part in content.items()}
    return {"$type": "space", "kind": kind, **parts}


_ENCODERS: tuple[tuple[Any, Callable[[Encoder, Any, str], Any]], ...] = (
    (np.ndarray, _array),
    (np.generic, _scalar),
    (torch.Tensor, _tensor),
    (tuple, _tuple),
    (deque, _deque),
    (PurePath, _path),
    (np.random.Generator, _generator),
    (spaces.Space, _space),
    ((FloatSchedule, ConstantSchedule, LinearSchedule), _schedule),
)
