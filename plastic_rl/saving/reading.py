"""JSON as Python values: the way back from ``values.py``. Nothing that a file names is imported or run."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule

from plastic_rl.arguments import is_number
from plastic_rl.saving.classes import by_name
from plastic_rl.saving.errors import ModelFileError
from plastic_rl.saving.values import BIT_GENERATORS, NUMBER_TYPES, POINTS

# What a constructor raises for what does not fit it.
_MISFITS = (AssertionError, AttributeError, LookupError, MemoryError, OverflowError, TypeError, ValueError)


class Decoder:
    """Turns JSON into the values that `Encoder` made it of.

    Args:
        arrays: what the JSON names.
        tensors: what the JSON names.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], tensors: Mapping[str, torch.Tensor]) -> None:
        self.arrays, self.tensors = arrays, tensors

    def decode(self, content: Any) -> Any:
        """The value.

        Raises:
            ModelFileError: it is none of those that files hold.
        """
        if isinstance(content, list):
            return [self.decode(item) for item in content]
        if not isinstance(content, dict):
            return content
        if "$type" not in content:
            return {name: self.decode(item) for name, item in content.items()}
        kind = content["$type"]
        decoder = _DECODERS.get(kind) if isinstance(kind, str) else None
        if decoder is None:
            raise ModelFileError(f"there is no type {str(kind)[:100]!r} of values")
        try:
            return decoder(self, content)
        except ModelFileError:
            raise
        except _MISFITS as error:
            raise ModelFileError(f"a {kind} is damaged: {type(error).__name__}: {error}") from error


def _items(decoder: Decoder, content: dict[str, Any], name: str = "items") -> list[Any]:
    if not isinstance(content[name], list):
        raise TypeError(f"{name} is no list")
    return [decoder.decode(item) for item in content[name]]


def _dict(decoder: Decoder, content: dict[str, Any]) -> dict[Any, Any]:
    return {key: value for key, value in _items(decoder, content)}  # noqa: C416 checks that these are pairs


def _float(decoder: Decoder, content: dict[str, Any]) -> float:
    value = float(content["value"])
    if math.isfinite(value):
        raise ValueError("a finite number stands for itself")
    return value


def _array(decoder: Decoder, content: dict[str, Any]) -> np.ndarray:
    return decoder.arrays[content["name"]]


def _tensor(decoder: Decoder, content: dict[str, Any]) -> torch.Tensor:
    return decoder.tensors[content["name"]]


def _scalar(decoder: Decoder, content: dict[str, Any]) -> np.generic:
    value = decoder.decode(content["value"])
    if not isinstance(value, bool | int | float):
        raise TypeError(f"{value!r} is no number")
    return _dtype(content["dtype"]).type(value)


def _deque(decoder: Decoder, content: dict[str, Any]) -> deque[Any]:
    return deque(_items(decoder, content), maxlen=content["maxlen"])


def _generator(decoder: Decoder, content: dict[str, Any]) -> np.random.Generator:
    state = decoder.decode(content["state"])
    if state["bit_generator"] not in BIT_GENERATORS:
        raise ValueError(f"there is no {state['bit_generator']!r}")
    # The seed is not drawn from the system for nothing.
    generator = np.random.Generator(getattr(np.random, state["bit_generator"])(0))
    generator.bit_generator.state = state
    return generator


def _schedule(decoder: Decoder, content: dict[str, Any]) -> Callable[[float], float]:
    def number(name: str) -> Any:
        value = decoder.decode(content[name])
        if not is_number(value):
            raise TypeError(f"{name} is {value!r}")
        return value

    match content["kind"]:
        case "float":
            schedule = decoder.decode(content["of"])
            if not callable(schedule):
                raise TypeError(f"{schedule!r} is no function")
            return FloatSchedule(schedule)
        case "constant":
            return ConstantSchedule(number("value"))
        case "linear":
            return LinearSchedule(*(number(name) for name in POINTS))
    raise ValueError(f"there is no schedule {content['kind']!r}")


def _space(decoder: Decoder, content: dict[str, Any]) -> spaces.Space[Any]:
    parts = {name: decoder.decode(part) for name, part in content.items() if name not in ("$type", "kind")}
    match content["kind"]:
        case "Box":
            low, high = parts["low"], parts["high"]
            if low.shape != high.shape or low.dtype != high.dtype:
                raise ValueError("its bounds differ in shape or kind")
            return spaces.Box(low, high, dtype=low.dtype.type)
        case "Discrete":
            # The floor of Gymnasium knows no other kind than int64, and no argument for it.
            kind: Any = {} if parts["dtype"] == "int64" else {"dtype": _dtype(parts["dtype"]).type}
            return spaces.Discrete(_whole(parts["n"]), start=_whole(parts["start"]), **kind)
        case "MultiDiscrete":
            return spaces.MultiDiscrete(
                parts["nvec"], start=parts["start"], dtype=_dtype(parts["dtype"]).type
            )
        case "MultiBinary":
            return spaces.MultiBinary(parts["n"])
        case "Dict":
            return spaces.Dict([(str(key), _is_space(part)) for key, part in parts["spaces"]])
        case "Tuple":
            return spaces.Tuple([_is_space(part) for part in parts["spaces"]])
    raise ValueError(f"there is no space {content['kind']!r}")


def _is_space(part: Any) -> spaces.Space[Any]:
    if not isinstance(part, spaces.Space):
        raise TypeError(f"{part!r} is no space")
    return part


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no integer")
    return value


def _dtype(name: Any) -> np.dtype[Any]:
    if name not in NUMBER_TYPES:
        raise ValueError(f"there are no numbers {name!r}")
    return np.dtype(name)


_DECODERS: dict[str, Callable[[Decoder, dict[str, Any]], Any]] = {
    "array": _array,
    "class": lambda decoder, content: by_name(content["name"]),
    "deque": _deque,
    "dict": _dict,
    "float": _float,
    "generator": _generator,
    "path": lambda decoder, content: Path(content["value"]),
    "scalar": _scalar,
    "schedule": _schedule,
    "space": _space,
    "tensor": _tensor,
    "tuple": lambda decoder, content: tuple(_items(decoder, content)),
}
