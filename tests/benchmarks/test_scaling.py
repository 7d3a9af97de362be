"""The model of what several processes cost."""

from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def scaling() -> ModuleType:
    from benchmarks.speed import scaling

    return scaling


def test_the_model_adds_up(scaling: ModuleType) -> None:
    network = scaling.Network(latency=1e-3, bandwidth=4e6)
    assert scaling.reduction(1, 10**6, network) == 0
    # 6 hops of 1 ms, and 1.5 times 4 MB at 4 MB/s.
    assert scaling.reduction(4, 10**6, network) == pytest.approx(0.006 + 1.5)
    machine = scaling.Machine(workers=4, step=1e-3, network=network)
    expected = 2 * 50 * 1e-3 + 1.506 + 4 * scaling.reduction(4, 1, network)
    assert scaling.update(machine, 2, 50, 10**6) == pytest.approx(expected)


def test_its_table_is_the_one_in_the_docs(scaling: ModuleType, checkout: Path) -> None:
    page = (checkout / "docs" / "scaling.md").read_text(encoding="utf-8")
    for row in scaling.prediction().splitlines()[2:]:
        assert row in page


def test_pieces_of_a_training_are_measured(
    scaling: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["scaling.py", "--envs", "2", "--updates", "2", "--repeats", "1"])
    scaling.main()
    assert "1 processes, 2 environments, rollouts of 50, 21,806 weights" in capsys.readouterr().out
