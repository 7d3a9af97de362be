"""The check of a GPU, as far as it goes without one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    command = [sys.executable, "-m", "benchmarks.gpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "no CUDA device here: nothing to check\n"
    assert done.stdout == ""


def test_a_wrong_result_is_found():
    """In the interpreter, at a size of its own: a kernel's result that is right, and one that is not."""
    pytest.importorskip("triton")
    code = """
from benchmarks import gpu
from benchmarks.speed.plastic_rnn import Config
config = Config(n=5, steps=3, batch=2, eta=0.1, cell="gru", rule="modulated")
assert gpu.compared(config, "cpu") is None
from plastic_rl.ops.plastic_rnn.triton import backward
run = backward.Backward.run

def off(self):
    found = run(self)
    return found | {"w_m": 1.1 * found["w_m"]}

backward.Backward.run = off
print(gpu.compared(config, "cpu"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("w_m off by"), done.stderr


def test_a_training_for_some_seconds():
    from benchmarks import gpu

    line = gpu.train("cpu", 4, 1.0)
    found = re.fullmatch(
        r"training, 4 environments: ([\d,]+) steps per second for (\d+) s, return of the last \d+ .+",
        line,
    )
    assert found, line
    assert int(found[1].replace(",", "")) > 0
    assert int(found[2]) >= 1
