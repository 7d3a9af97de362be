"""The script that shows what plasticity does: its files, its table, what it refuses."""

import sys
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

from plastic_rl.analysis.lifetime import Lifetimes
from plastic_rl.training.a2c import PlasticA2C


@pytest.fixture
def science(monkeypatch: pytest.MonkeyPatch) -> Any:
    from benchmarks.science import maze_science

    monkeypatch.setattr(maze_science, "SHOWN_SEEDS", 3)
    return maze_science


def run(science: Any, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["maze_science.py", *map(str, arguments)])
    science.main()


@pytest.mark.slow
def test_it_leaves_figures_and_a_table(
    science: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kwargs = {"hidden_size": 6, "eta": 0.2, "backend": "reference"}
    model = PlasticA2C("MlpPolicy", "PlasticMaze-v0", seed=0, device="cpu", policy_kwargs=kwargs)
    model.save(tmp_path / "model.zip")
    output = tmp_path / "out"
    run(
        science,
        monkeypatch,
        *(tmp_path / "model.zip", "--env-id", "PlasticMaze-v0", "--output", output, "--episodes", 8),
    )
    names = {"lifetime.png", "matrices.png", "trace.png", "lifetime.gif", "ablation.md"}
    assert {path.name for path in output.iterdir()} == names
    for name in ("lifetime.png", "matrices.png", "trace.png"):
        assert iio.imread(output / name)[..., :3].std() > 5
    assert iio.imread(output / "lifetime.gif").ndim == 4
    table = (output / "ablation.md").read_text()
    assert table in capsys.readouterr().out
    assert "8 lifetimes, sampled actions, seed 0" in table
    assert table.count("\n| ") == 1 + len(science.ABLATIONS)


def test_the_table_compares_pairs(science: Any) -> None:
    def lives(hits: list[int]) -> Lifetimes:
        rewards = np.zeros((20, len(hits)))
        for i, count in enumerate(hits):
            rewards[20 - count :, i] = 10
        return Lifetimes(rewards)

    table = science.ablation_table({"intact": lives([4, 8, 6]), "frozen": lives([1, 5, 3])})
    intact, frozen = table.splitlines()[2:]
    assert intact.startswith("| intact | 60.0 [")
    # Three hits less in every lifetime: the difference is certain though the returns are not.
    assert frozen.startswith("| frozen | 30.0 [")
    assert frozen.endswith("| 30.0 [30.0, 30.0] | 50 |")


def test_what_cannot_be_shown_is_refused(
    science: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="there is no trained agent for"):
        run(science, monkeypatch, "NoSuchMaze-v0")
    model = PlasticA2C("MlpPolicy", "PlasticMaze-v0", device="cpu", policy_kwargs={"alpha": "none"})
    model.save(tmp_path / "model.zip")
    with pytest.raises(SystemExit, match="no plasticity of every connection"):
        run(
            science,
            monkeypatch,
            tmp_path / "model.zip",
            "--env-id",
            "PlasticMaze-v0",
            "--output",
            tmp_path / "out",
        )
    with pytest.raises(SystemExit, match="holds no run"):
        run(science, monkeypatch, tmp_path / "model.zip", "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()
