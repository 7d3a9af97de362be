"""How many patterns are kept: what is trained and tested, and the table and figure of it."""

from pathlib import Path

import pytest

from benchmarks.science import capacity
from benchmarks.science.sweep import Run, read_runs, train_missing


def test_five_patterns_are_among_all_numbers() -> None:
    assert capacity.pattern_counts(50) == [2, 5, 10, 20]
    assert capacity.pattern_counts(200) == [5, 10, 20, 40]


def test_runs_are_trained_tested_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "TEST_EPISODES", 20)
    given = {**capacity.settings("hebb", 50), "updates": 3}
    runs = [Run("50", capacity.run_name("hebb", patterns), 0, given) for patterns in (2, 5)]
    train_missing(tmp_path, runs, capacity.train, lambda run, result: f"{run.name}: {result['errors']}")
    found = read_runs(tmp_path, {"50": ["hebb, 2", "hebb, 5"]})
    few, many = (found["50"][name][0]["errors"] for name in ("hebb, 2", "hebb, 5"))
    assert list(few) == ["2"]
    assert list(many) == ["2", "5", "10", "20"]
    assert all(0 < error < 0.6 for error in many.values())
    rows = capacity.table(found).splitlines()
    assert rows[2].startswith(f"| 50 | 2 | {100 * few['2']:.2f} | {100 * many['2']:.2f} |")
    found["50"]["hebb, 2"].append({"errors": {"2": few["2"] + 0.1}})
    rows = capacity.table(found).splitlines()
    assert rows[2].startswith(
        f"| 50 | 2 | {100 * few['2'] + 5:.2f} [{100 * few['2']:.2f}, {100 * few['2'] + 10:.2f}] |"
    )
    capacity.draw(tmp_path / "capacity.png", found)
    assert (tmp_path / "capacity.png").stat().st_size > 10_000
