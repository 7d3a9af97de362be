"""Plastic and plain GRUs by size: which runs stand beside each other, and the table and figure of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.science import maze_sizes
from plastic_rl.runs.sweep import read_sweep


class FakeRun:
    """What a report asks of a run."""

    def __init__(self, mean: float, weights: int, seed: int) -> None:
        self.mean, self.weights, self.seed = mean, weights, seed

    def result(self) -> dict[str, Any]:
        return {"weights": self.weights}

    def score(self) -> float:
        return self.mean

    def monitor(self) -> dict[str, np.ndarray]:
        return {"r": np.array([0.0, self.mean])}


def runs(weights: int, *means: float) -> list[Any]:
    return [FakeRun(mean, weights, seed) for seed, mean in enumerate(means)]


@pytest.mark.parametrize("name", maze_sizes.SWEEPS)
def test_networks_of_equal_weights_are_compared(name: str) -> None:
    from plastic_rl import PlasticA2C, make_vec_env

    weights: dict[str, list[int]] = {}
    for run in read_sweep(maze_sizes.HERE / f"{name}.yml").runs:
        if run.seed == 0:
            env = make_vec_env(run.config.env_id, n_envs=1, env_kwargs=run.env_kwargs)
            model = PlasticA2C(env=env, **run.config.kwargs())
            number = sum(parameter.numel() for parameter in model.policy.parameters())
            weights.setdefault(run.condition.split(", ")[1], []).append(number)
    assert weights
    for neurons, (plastic, plain) in weights.items():
        assert plain == pytest.approx(plastic, rel=0.05), neurons


def test_finished_runs_are_found_by_maze_and_neurons() -> None:
    found = maze_sizes.read_finished()
    assert next(iter(found)) == "9 x 9"
    assert set(found["9 x 9"]) == {8, 16, 32, 64, 128}
    for neurons, kinds in found["9 x 9"].items():
        hidden = {
            kind: runs[0].config.hyperparams["policy_kwargs"]["hidden_size"] for kind, runs in kinds.items()
        }
        assert hidden["hebb"] == neurons < hidden["none"]


def test_the_table_has_differences_with_intervals_where_there_are_seeds(tmp_path: Path) -> None:
    found: maze_sizes.Found = {
        "9 x 9": {
            16: {"hebb": runs(100, 20.0, 40.0), "none": runs(104, 10.0, 10.0)},
            8: {"hebb": runs(30, 5.0)},
            32: {"hebb": runs(300, 50.0, 60.0), "none": runs(304, 40.0)},
        },
        "13 x 13": {16: {"hebb": runs(100, 8.0), "none": runs(104, 9.0)}},
    }
    small, large, other = maze_sizes.table(found).splitlines()[2:]
    expected = "| 30 [20, 40] | 10 [10, 10] | 20 [10, 30] | 15 [10, 20] | 5 [5, 5] | 10 [5, 15] |"
    assert small == f"| 9 x 9 | 16 | 100 and 104 | 2 {expected}"
    # Of the plastic network's two seeds only the one that the plain one has, too.
    assert large == "| 9 x 9 | 32 | 300 and 304 | 1 | 50 | 40 | 10 | 25 | 20 | 5 |"
    assert other.startswith("| 13 x 13 | 16 | 100 and 104 | 1 | 8 | 9 | -1 |")
    maze_sizes.draw(tmp_path / "sizes.png", found)
    assert (tmp_path / "sizes.png").stat().st_size > 10_000
