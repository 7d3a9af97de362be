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
