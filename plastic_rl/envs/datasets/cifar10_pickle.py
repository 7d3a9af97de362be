"""The batches of CIFAR-10's python version, which are pickled, read without running anything they name."""

import io
import pickle
import pickletools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plastic_rl.envs.datasets.members import BadDataError

_PIXELS = 3 * 32 * 32
_BATCH = 10_000
# A pickle is a program. These are the instructions that build numbers, strings, lists, dicts and tuples, and
# the three (GLOBAL, REDUCE, BUILD) that an array takes; they only get to the stand-ins below.
_INSTRUCTIONS = {
    *("PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2"),
    *("BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINUNICODE", "SHORT_BINUNICODE"),
    *("EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET"),
    *("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
}
# Per image: a label and a file name, each with its place in the memo. A larger place in the memo would make
# the unpickler reserve memory up to there; tuples nested without end would exhaust the C stack.
_MAX_MEMO = 8 * _BATCH
_MAX_TUPLES = 100


class _Dtype:
    """Stands for `numpy.dtype`: keeps the type's name."""

    def __init__(self, name: Any = None, *_flags: Any):
        self.name = name

    def __setstate__(self, state: Any) -> None:
        """Byte order and flags, which say nothing about single bytes."""


class _Array:
    """Stands for `numpy.ndarray`: keeps shape, type and bytes."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _reconstruct(*_arguments: Any) -> _Array:
    """Stands for the function that NumPy names for creating an array."""
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    """Stands for `_codecs.encode`, by which Python 3 writes bytes where Python 2 shall read them."""
    if encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError(f"it encodes bytes as {encoding!r}")
    return text.encode("latin1")


_STAND_INS = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no image batch needs")
        return _STAND_INS[module, name]


def read_python_batch(name: str, data: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read one batch.

    Args:
        name: what the batch is called in messages.
        data: the pickled dict, with `data`, an array (n, 3072) uint8, and `labels`, a list of n integers.

    Returns:
        Images (n, 3, 32, 32) and labels (n,), n at most 10,000.

    Raises:
        BadDataError: if it is damaged, of another form, or asks for anything that a batch does not need.
    """
    try:
        _check_instructions(data)
        # Written by Python 2: what is a string there are bytes here.
        batch = _Unpickler(io.BytesIO(data), encoding="bytes").load()
        batch = {key.decode() if isinstance(key, bytes) else key: value for key, value in batch.items()}
        _version, shape, dtype, fortran_order, content = batch["data"].state
        labels = np.array([int(label) for label in batch["labels"]], np.int64)
        known = dtype.name in ("u1", b"u1") and isinstance(content, bytes)
    # A damaged pickle can fail in any way at all, each of which means the same.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise BadDataError(f"{name} is not a batch of CIFAR-10, or damaged: {reason}") from error
    n = len(labels)
    if not known or not 1 <= n <= _BATCH or shape != (n, _PIXELS) or len(content) != n * _PIXELS:
        form = f"1 to {_BATCH:,} labels and as many rows of {_PIXELS:,} bytes"
        raise BadDataError(f"{name} is not a batch of CIFAR-10: it has not {form}")
    rows = np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran_order else "C")
    return rows.reshape(n, 3, 32, 32), labels


def _check_instructions(data: bytes) -> None:
    """Read a pickle's instructions without following them."""
    tuples = 0
    for instruction, argument, _ in pickletools.genops(data):
        kind = instruction.name
        if kind not in _INSTRUCTIONS:
            raise pickle.UnpicklingError(f"it contains {kind}, which no image batch needs")
        place = int(argument or 0) if kind in ("BINPUT", "LONG_BINPUT") else 0
        tuples += kind.startswith("TUPLE")
        if place > _MAX_MEMO or tuples > _MAX_TUPLES:
            raise pickle.UnpicklingError("it is built in a way that no image batch is")
