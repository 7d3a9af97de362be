"""The commands of docs/zoo.md run, one after the other, with smaller trainings."""

import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from matplotlib import pyplot as plt

from plastic_rl.cli import main as cli

DOCS = Path(__file__).parents[2] / "docs" / "zoo.md"
TINY = ["n_envs:2", "n_steps:20", "policy_kwargs:dict(hidden_size=6, backend='reference')"]
SHORT = {"20000": "80", "5000": "40", "250": "5"}


def shortened(line: str) -> list[str]:
    """The same command, smaller; what records with W&B is tested elsewhere."""
    words = [SHORT.get(word, word) for word in shlex.split(line)]
    words = [word for word in words if word not in ("WANDB_MODE=offline", "--track")]
    if "train" in words and "-params" not in words:
        words += ["--device", "cpu", "--env-kwargs", "max_episode_steps:20", "-params"]
    if "train" in words:
        words += TINY
    if "enjoy" in words:
        words += ["-n", "40"]
    if "evaluate" in words:
        words += ["--episodes", "2", "--env-kwargs", "max_episode_steps:20"]
    if "plot_train" in words:
        words += ["-w", "2"]
    return words


def test_commands_run(zoo: ModuleType, read_blocks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plt, "show", lambda: None)
    lines = [
        line
        for block in read_blocks(DOCS, "bash")
        for line in block.text.splitlines()
        if not line.startswith("pip ")
    ]
    assert len(lines) >= 11
    for line in lines:
        words = shortened(line)
        if words[0] == "plastic-rl":
            assert cli.main(words[1:]) == 0, line
        else:
            assert words[:3] == ["python", "-m", "plastic_rl.zoo"]
            assert zoo.main(words[3:]) == 0, line
    plt.close("all")
    runs = {path.name for path in Path("logs/plastic_a2c").iterdir() if path.is_dir()}
    # Training, going on, tuning, the trial in full, tracking; and the other environment.
    assert runs == {f"PlasticMaze-v0_{number}" for number in range(1, 6)} | {"CartPole-v1_1"}
    assert list(Path("logs/plastic_a2c/PlasticMaze-v0_2/videos").glob("*.mp4"))
    assert Path("results.png").is_file()


def test_the_settings_file_is_understood(
    zoo: ModuleType, read_blocks: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = read_blocks(DOCS, "yaml")
    Path("settings.yml").write_text(block.text)
    agent = ["--algo", "plastic_a2c", "--env", "CartPole-v1", "--device", "cpu", "--seed", "0"]
    options = ["-conf", "settings.yml", "-n", "800", "--eval-freq", "-1", "--log-interval", "20"]
    assert zoo.main(["train", *agent, *options, "-params", *TINY]) == 0
    out = capsys.readouterr().out
    assert "trace_norm" in out
    # Five falls of an untrained agent, about 20 steps each.
    (length,) = re.findall(r"ep_len_mean\s*\|\s*([\d.]+)", out)
    assert float(length) > 60
