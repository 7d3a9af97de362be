"""Compiled functions that are kept on disk need names of their own."""

import subprocess
import sys

import pytest

# In an interpreter of its own, in which nothing has been compiled: compiling makes further functions.
PROGRAM = """
import gc
from collections import Counter

from numba.core.registry import CPUDispatcher

from plastic_rl.ops.plastic_rnn.numba import autograd

functions = [found.py_func for found in gc.get_objects() if isinstance(found, CPUDispatcher)]
ours = [function for function in functions if function.__module__.startswith("plastic_rl.")]
names = Counter((function.__module__, function.__qualname__) for function in ours)
print(len(names) > 30, [name for name, count in names.items() if count > 1])
"""


def test_no_two_compiled_functions_have_one_name() -> None:
    """Numba would run one in the place of the other, where different processes have compiled them."""
    pytest.importorskip("numba")
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == "True []\n"


USED = """
import gc
from pathlib import Path
from types import FunctionType

from numba.core.registry import CPUDispatcher

from plastic_rl.ops.plastic_rnn.numba import autograd, compiling, gated

FOLDER = Path(compiling.__file__).parent


def used(function, seen):
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        value = getattr(value, "py_func", value)
        if isinstance(value, FunctionType) and value not in seen:
            seen.add(value)
            used(value, seen)
    return seen


entries = [found.py_func for found in gc.get_objects() if isinstance(found, CPUDispatcher)]
entries = [one for one in entries if Path(one.__code__.co_filename).parent == FOLDER]
for entry in entries:
    files = {Path(one.__code__.co_filename) for one in used(entry, {entry})}
    files = {file for file in files if file.parent == FOLDER}
    assert files <= compiling.sources(entry.__module__), (entry, files - compiling.sources(entry.__module__))
print(len(entries) > 30, len(compiling.sources(autograd.__name__)) > 10)
"""


def test_all_that_an_entry_point_is_made_from_is_known() -> None:
    """A change of any of it compiles anew."""
    pytest.importorskip("numba")
    done = subprocess.run([sys.executable, "-c", USED], capture_output=True, text=True, check=False)
    assert done.stdout == "True True\n", done.stderr
