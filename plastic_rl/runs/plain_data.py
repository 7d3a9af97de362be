"""Plain values and arrays in one file that nothing in it can be run from: JSON inside safetensors."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from plastic_rl.files import atomic

# How an array and a tuple are told from JSON's own kinds: dictionaries that have one of these keys alone.
_ARRAY, _TUPLE = "array", "tuple"
_MARKS = ({_ARRAY}, {_TUPLE})


def write_plain(path: Path, value: Any) -> None:
    """Write a value so that `path` holds either what it held before or all of it.

    Args:
        path: the file.
        value: None, booleans, integers of any size, floats, text, arrays of numbers, and lists, tuples and
            dictionaries (with text as keys) of these.

    Raises:
        TypeError: it holds something else.
        OSError: the file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(_encoded(value, arrays))
    with atomic(path) as partial:
        save_file(arrays, partial, metadata={"value": text, "sha256": _checksum(text, arrays)})


def read_plain(path: Path) -> Any:
    """The value that `write_plain` wrote.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or another file.
    """
    try:
        # A pipe would be waited for.
        if path.exists() and not path.is_file():
            raise ValueError("it is no regular file")
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = metadata["value"]
        if _checksum(text, arrays) != metadata["sha256"]:
            raise ValueError("its checksum is another one")
        return _decoded(json.loads(text), arrays)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _encoded(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The value as JSON has it; its arrays are put into `arrays`."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        arrays[str(len(arrays))] = np.ascontiguousarray(value).reshape(value.shape)
        return {_ARRAY: str(len(arrays) - 1)}
    if isinstance(value, tuple):
        return {_TUPLE: [_encoded(part, arrays) for part in value]}
    if isinstance(value, list):
        return [_encoded(part, arrays) for part in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value) and {*value} not in _MARKS:
        return {key: _encoded(part, arrays) for key, part in value.items()}
    raise TypeError(f"only plain values and arrays of numbers can be written, got {type(value).__name__}")


def _decoded(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_decoded(part, arrays) for part in value]
    if not isinstance(value, dict):
        return value
    if {*value} == {_ARRAY}:
        return np.array(arrays[value[_ARRAY]])
    if {*value} == {_TUPLE}:
        return tuple(_decoded(part, arrays) for part in value[_TUPLE])
    return {key: _decoded(part, arrays) for key, part in value.items()}


def _checksum(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Over the values and every array's kind, shape and numbers."""
    found = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        found.update(f"{name} {array.dtype} {array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()
