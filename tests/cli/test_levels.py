"""An environment with levels of its own goes through every command that prints or draws them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from plastic_rl.analysis.plots import curves
from plastic_rl.cli.main import main
from plastic_rl.envs import register_levels
from plastic_rl.envs.registration import _EVALUATION

LEVELS = {"chance": 0.25, "perfect": 1.0}
SHOWN = "chance 0.25, perfect 1"


class Guess(gym.Env):
    """One of four is right."""

    observation_space = gym.spaces.Box(0, 1, (3,))
    action_space = gym.spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return np.zeros(3, dtype=np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        return np.zeros(3, dtype=np.float32), float(action == 1), True, False, {}


@pytest.fixture
def guess(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(gym.registry, "Guess-v0", gym.envs.registration.EnvSpec("Guess-v0", Guess))
    register_levels("Guess-v0", LEVELS)
    yield
    del _EVALUATION["Guess-v0"]


# Stable-Baselines3 asks every environment for pictures.
@pytest.mark.filterwarnings("ignore:.*render_mode='rgb_array' that is not in the possible:UserWarning")
@pytest.mark.usefixtures("guess")
def test_levels_are_printed_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Mapping[str, float]] = []
    draw = curves.draw_levels

    def noted(axes: Any, levels: Mapping[str, float], **more: Any) -> None:
        drawn.append(levels)
        draw(axes, levels, **more)

    monkeypatch.setattr(curves, "draw_levels", noted)
    folder = tmp_path / "run"
    small = ["--hyperparams", "n_steps:8", "policy_kwargs.hidden_size:4", "policy_kwargs.backend:reference"]
    command = ["train", "Guess-v0", "--timesteps", "40", "--n-envs", "1", "--output", str(folder), *small]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert f"For comparison: {SHOWN}\n" in out
    assert out.count(SHOWN) == 2
    assert drawn == [LEVELS]

    assert main(["evaluate", str(folder), "--episodes", "3"]) == 0
    assert f"for comparison: {SHOWN}\n" in capsys.readouterr().out
    assert main(["plot", str(folder), "--output", str(tmp_path / "figures"), "--episodes", "2"]) == 0
    assert drawn == [LEVELS] * 3

    assert main(["evaluate", str(folder), "--episodes", "3", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["env_id"], result["episodes"], result["levels"]) == ("Guess-v0", 3, LEVELS)
    assert 0 <= result["measures"]["return"]["interval"][0] <= result["measures"]["return"]["mean"] <= 1
    assert main(["evaluate", str(folder), "--episodes", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["measures"]["return"]["interval"] is None
    assert main(["evaluate", str(folder), "--episodes", "1"]) == 0
    out = capsys.readouterr().out
    assert "Guess-v0: 1 episode, actions" in out
    assert "nan" not in out
