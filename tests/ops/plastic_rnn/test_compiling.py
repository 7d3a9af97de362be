"""Compiled functions on disk: several processes at once, and what is said about it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

MODULE = """
import sys, time
from pathlib import Path
import numpy as np
from numba.core.caching import IndexDataCacheFile
from plastic_rl.ops.plastic_rnn.numba.compiling import entry

save_index = IndexDataCacheFile._save_index

def save_slowly(self, overloads):  # as on a slow disk: a second process is in time to read what is there
    time.sleep(0.2)
    save_index(self, overloads)

IndexDataCacheFile._save_index = save_slowly

@entry
def size_and_sum(array):
    total = 0.0
    for value in array.flat:
        total += value
    return array.itemsize, array.ndim, total

def use(places, folder):
    kinds = [np.zeros((1,) * ndim, dtype) + 3 for ndim in (1, 2, 3) for dtype in ("f4", "f8", "i2", "u1")]
    for turn, place in enumerate(places):
        if folder is not None:  # both processes begin each turn at the same time
            Path(folder, f"{turn}.{places[0]}").touch()
            deadline = time.monotonic() + 60
            while len(list(Path(folder).glob(f"{turn}.*"))) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.001)
        array = kinds[place]
        assert size_and_sum(array) == (array.itemsize, array.ndim, 3.0), (place, size_and_sum(array))
    print(sum(size_and_sum.stats.cache_misses.values()))
"""


def start(folder: Path, code: str) -> subprocess.Popen:
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(folder / "cache"),
        "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
    }
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)


def finish(process: subprocess.Popen) -> tuple[str, str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out, err


@pytest.mark.slow
def test_two_processes_that_compile_at_once_lose_nothing(tmp_path):
    """Each compiles half of eight signatures, in step with the other; then all are there, and right."""
    (tmp_path / "tried.py").write_text(MODULE)
    (tmp_path / "steps").mkdir()
    steps = str(tmp_path / "steps")
    codes = [f"import tried; tried.use(range({first}, 8, 2), {steps!r})" for first in (0, 1)]
    processes = [start(tmp_path, code) for code in codes]
    assert [finish(process)[0] for process in processes] == ["4\n", "4\n"]
    assert finish(start(tmp_path, "import tried; tried.use(range(8), None)"))[0] == "0\n"


def test_compiling_is_announced_only_where_it_happens(tmp_path):
    (tmp_path / "tried.py").write_text(MODULE)
    code = "import logging; logging.basicConfig(); import tried; tried.use(range({}), None)"
    message = "compiling the CPU kernels of the plastic operator, once"
    assert finish(start(tmp_path, code.format(2)))[1].count(message) == 1
    assert message not in finish(start(tmp_path, code.format(2)))[1]
    assert finish(start(tmp_path, code.format(3)))[1].count(message) == 1
