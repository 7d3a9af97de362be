"""Compiled entry points: kept on disk, by one process at a time.

This module imports numba: it is imported only when the backend is used.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from numba import njit
from numba.core import event

from plastic_rl.ops.plastic_rnn.cells import CELLS
from plastic_rl.ops.plastic_rnn.rules import ACTIVATIONS, RULES

logger = logging.getLogger(__name__)


@functools.cache
def _digest(module: str) -> str:
    """Names what a module's compiled functions are made from.

    Numba notices when a compiled function's file has changed, but not when a file that it takes functions or
    numbers from has.
    """
    tables: tuple[dict[str, Any], ...] = (RULES, ACTIVATIONS, CELLS)
    codes = [(name, definition.code) for table in tables for name, definition in table.items()]
    parts = [source.read_bytes() for source in sorted(sources(module))] + [repr(codes).encode()]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:8]


def sources(module: str) -> set[Path]:
    """The files in this folder that a module is made from: its own, and those that it imports, and so on."""
    package, _, _ = __name__.rpartition(".")
    found: set[Path] = set()
    left = [module]
    while left:
        path = Path(__file__).with_name(left.pop().rpartition(".")[2] + ".py")
        if path in found or not path.exists():
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == package:
                left += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                left += [node.module] if node.module.startswith(f"{package}.") else []
    return found


def entry(function: Callable) -> Any:
    """Compile on first use and keep the result on disk, where there is a folder that can be written.

    Numba's files on disk are not made for several processes that write at the same time: one may come to run
    what another has compiled for other arguments. So a process that looks for a compiled function or compiles
    it locks the others out; they find it on disk then.
    """
    function.__qualname__ += f"_{_digest(function.__module__)}"
    try:
        compiled: Any = njit(function, cache=True, nogil=True)
    except RuntimeError:
        return njit(function, nogil=True)
    unlocked = compiled.compile
    lock = Path(compiled.stats.cache_path) / f"{function.__module__}.{function.__qualname__}.lock"

    @functools.wraps(unlocked)
    def compile_alone(signature: Any) -> Any:
        with FileLock(lock), _announced(compiled):
            return unlocked(signature)

    compiled.compile = compile_alone
    return compiled


def assert_order(entry_point: Any, *tuples: Any) -> None:
    """Assert that the last arguments of an entry point are the fields of these tuples, in their order."""
    code = getattr(entry_point, "py_func", entry_point).__code__
    fields = [field for one in tuples for field in one._fields]
    assert list(code.co_varnames[: code.co_argcount][-len(fields) :]) == fields


@contextmanager
def _announced(compiled: Any) -> Iterator[None]:
    """Say what takes so long if this is really compiled, not found on disk."""
    with event.install_listener("numba:compile", _Announcement(compiled)):
        yield


class _Announcement(event.Listener):
    def __init__(self, compiled: Any) -> None:
        self.compiled = compiled

    def on_start(self, event: Any) -> None:
        if event.data["dispatcher"] is self.compiled:
            _announce()

    def on_end(self, event: Any) -> None:
        pass


@functools.cache
def _announce() -> None:
    logger.warning(
        "compiling the CPU kernels of the plastic operator, once for each kind of network: one to two minutes"
    )
