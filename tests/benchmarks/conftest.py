"""The scripts of benchmarks/ as modules."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Path:
    if not BENCHMARKS.is_dir():
        pytest.skip("not a checkout")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return BENCHMARKS
