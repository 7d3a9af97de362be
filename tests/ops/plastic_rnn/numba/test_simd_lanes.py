"""The kernels with the vectors of a smaller processor than this one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
import pytest
from plastic_rl.ops.plastic_rnn.numba.simd import LANES
assert LANES == 8, LANES
chosen = "test_parity and not thousand"
sys.exit(pytest.main(["-q", "-x", "-n", "0", "-p", "no:cacheprovider", sys.argv[1], "-k", chosen]))
"""


@pytest.mark.slow
@pytest.mark.long
def test_parity_with_eight_lanes(tmp_path):
    """Where this machine has AVX-512, and so 16 lanes, the same tests without it."""
    codegen = pytest.importorskip("numba.core.codegen")
    features = codegen.get_host_cpu_features()
    if "+avx512f" not in features.split(","):
        pytest.skip("this processor has no AVX-512: all other tests ran with eight lanes")
    without = ",".join(
        feature.replace("+", "-", 1) if feature.startswith(("+avx512", "+evex512", "+avx10")) else feature
        for feature in features.split(",")
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_XDIST_WORKER"}
    environment |= {"NUMBA_CPU_FEATURES": without, "NUMBA_CACHE_DIR": str(tmp_path)}
    tests = Path(__file__).parents[1] / "test_parity.py"
    result = subprocess.run(
        [sys.executable, "-c", CODE, str(tests)], env=environment, capture_output=True, text=True, timeout=900
    )
    assert result.returncode == 0, result.stdout + result.stderr
