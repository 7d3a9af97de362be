"""A figure of one's own for ``plastic-rl plot``: a function, and a row in the table."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from plastic_rl.analysis.plots.figures import FIGURES
from plastic_rl.analysis.plots.study import Study
from plastic_rl.analysis.plots.style import drawing_on
from plastic_rl.cli.main import main

# fmt: off
TRAIN = ["train", "PlasticMaze-v0", "--timesteps", "80", "--n-envs", "2", "--device", "cpu", "--seed", "1",
         "--env-kwargs", "max_episode_steps:20",
         "--hyperparams", "n_steps:20", "policy_kwargs.hidden_size:6", "policy_kwargs.backend:reference"]
# fmt: on


def draw_returns(study: Study, folder: Path) -> Iterator[Path]:
    path = folder / "returns.png"
    with drawing_on(path) as axes:
        for lives in study.lifetimes.values():
            axes.hist(lives.returns)
    yield path


def test_it_is_drawn_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(FIGURES, "returns", draw_returns)
    assert main([*TRAIN, "--output", str(tmp_path / "run")]) == 0
    output = tmp_path / "figures"
    assert main(["plot", str(tmp_path / "run"), "--output", str(output), "--episodes", "3"]) == 0
    assert f"Stored {output / 'returns.png'}\n" in capsys.readouterr().out
    assert {path.name for path in output.iterdir()} == {
        "learning_episodes.png",
        "learning_minutes.png",
        "lifetime.png",
        "matrices.png",
        "returns.png",
    }
