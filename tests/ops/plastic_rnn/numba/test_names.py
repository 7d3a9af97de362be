"""Compiled functions that are kept on disk need names of their own."""

import gc
from collections import Counter

import pytest


def test_no_two_compiled_functions_have_one_name() -> None:
    """Numba would run one in the place of the other, where different processes have compiled them."""
    pytest.importorskip("numba")
    from numba.core.registry import CPUDispatcher

    from plastic_rl.ops.plastic_rnn.numba import autograd  # noqa: F401 (imports all of the kernels)

    functions = [found.py_func for found in gc.get_objects() if isinstance(found, CPUDispatcher)]
    names = Counter(
        (function.__module__, function.__qualname__)
        for function in functions
        if function.__module__.startswith("plastic_rl.ops.plastic_rnn.numba.")
    )
    assert len(names) > 30
    assert [name for name, count in names.items() if count > 1] == []
