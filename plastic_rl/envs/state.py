"""The state of an environment as plain data: what a training saves to go on in the middle of its episodes."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray


class Stateful:
    """Mixin of environments, and of their parts, whose state can be saved and set again.

    A class names in `state_attributes` what changes in the course of its episodes, beside what its bases have
    named: attributes that hold numbers, text, arrays, None, lists, tuples and dicts of such, or `Stateful`
    parts. A random generator `np_random` belongs to the state by itself. A class that names nothing itself,
    not even nothing (``()``), may have changed the rules: its state cannot be had.
    """

    state_attributes: ClassVar[tuple[str, ...]]

    def get_state(self) -> dict[str, Any]:
        """The state, as a copy: plain values and arrays by name.

        Named tuples become tuples, dataclasses dictionaries.

        Raises:
            NotImplementedError: the class does not say what its state is.
        """
        state = {name: _plain(getattr(self, name)) for name in self._names() if hasattr(self, name)}
        rng = getattr(self, "np_random", None)
        if rng is not None:
            state["np_random"] = deepcopy(rng.bit_generator.state)
        return state

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state that `get_state` gave to an object made with the same arguments.

        Raises:
            ValueError: it does not fit; nothing of it counts then, and the environment is to be reset.
        """
        names = {*self._names()}
        if not isinstance(state, Mapping) or not {*state} <= names | {"np_random"}:
            raise ValueError(f"state does not fit a {type(self).__name__}: got {_shown(state)}")
        rng = getattr(self, "np_random", None)
        if (rng is not None) != ("np_random" in state):
            raise ValueError(f"state does not fit a {type(self).__name__}: np_random")
        for name, value in state.items():
            if name == "np_random":
                _set_generator(rng, value)
            else:
                setattr(self, name, _fitting(name, getattr(self, name, None), value))
        self._restored()

    def _restored(self) -> None:
        """Make again what follows from the state."""

    def _names(self) -> list[str]:
        if "state_attributes" not in vars(type(self)):
            raise NotImplementedError(
                f"{type(self).__name__} does not say in state_attributes what its state is"
            )
        return [name for base in type(self).__mro__ for name in vars(base).get("state_attributes", ())]


def _plain(value: Any) -> Any:
    """A copy of a value of the state."""
    if isinstance(value, Stateful):
        return value.get_state()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, np.generic):
        return value.item()
    if is_dataclass(value):
        return _plain({one.name: getattr(value, one.name) for one in fields(value)})
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, tuple):
        return tuple(_plain(part) for part in value)
    assert value is None or isinstance(value, bool | int | float | str), value
    return value


def _fitting(name: str, present: Any, value: Any) -> Any:
    """The value to put in the place of the present one."""
    if isinstance(present, Stateful):
        present.set_state(value)
        return present
    if isinstance(present, list) and present and isinstance(present[0], Stateful):
        if not isinstance(value, list) or len(value) != len(present):
            raise ValueError(f"state does not fit: {name} must have {len(present)} entries")
        return [_fitting(name, one, part) for one, part in zip(present, value, strict=True)]
    if is_dataclass(present) and isinstance(value, dict):
        kind: Any = type(present)
        return kind(**{key: _fitting(key, getattr(present, key, None), part) for key, part in value.items()})
    if isinstance(present, dict) and isinstance(value, dict):
        return {key: _fitting(key, present.get(key), part) for key, part in value.items()}
    if value is None:
        return None
    if isinstance(present, np.ndarray):
        if not isinstance(value, np.ndarray) or value.shape != present.shape or value.dtype != present.dtype:
            raise ValueError(
                f"state does not fit: {name} must be {present.dtype} of shape {present.shape}, "
                f"got {_shown(value)}"
            )
    elif isinstance(present, bool | int) and type(value) is not type(present):
        raise ValueError(
            f"state does not fit: {name} must be a {type(present).__name__}, got {_shown(value)}"
        )
    return _plain(value)


def _set_generator(generator: Any, state: Any) -> None:
    """Let a generator go on where another one of its kind stood."""
    try:
        generator.bit_generator.state = state
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise ValueError(f"state does not fit: np_random: {error}") from error


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        array: NDArray[Any] = value
        return f"{array.dtype} of shape {array.shape}"
    return f"{value!r:.100}"
