"""The package benchmarks/ of the checkout, importable."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def checkout(monkeypatch: pytest.MonkeyPatch) -> Path:
    if not (ROOT / "benchmarks").is_dir():
        pytest.skip("not a checkout")
    monkeypatch.syspath_prepend(str(ROOT))
    return ROOT
