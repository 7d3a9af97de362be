"""A tracker of one's own: a file with a class, and a row in the table."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from plastic_rl.cli.main import main
from plastic_rl.runs import folder as runs
from plastic_rl.tracking.options import TRACKERS, TrackerEntry, TrackerOption

FILE = '''
import json
from pathlib import Path

from plastic_rl.tracking.tracker import Tracker


class ToyTracker(Tracker):
    """Writes everything that it is told into one file, a line each."""

    def __init__(self, record, plan, folder, report):
        super().__init__(record, plan, folder, report)
        self.path = folder / plan["file"]
        self.say("begin", record.seed)
        report(f"toy: {self.path}")

    @classmethod
    def plan(cls, given, folder, old=None):
        return {"file": "toy.jsonl", "level": None, **(old or {}), **given}

    def say(self, what, value=None):
        with self.path.open("a") as file:
            file.write(json.dumps([what, value]) + "\\n")

    def write(self, key_values, key_excluded, step=0):
        self.say("row", [step, sorted(key_values)])

    def close(self):
        self.say("close")

    def log_results(self, model):
        self.say("results", sorted(path.name for path in self.folder.iterdir()))

    def finish(self, exit_code=0):
        self.say("finish", exit_code)
'''


class Endless(gym.Env):
    """Takes actions, or fails in its first step."""

    observation_space = gym.spaces.Box(0, 1, (3,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self, fails: bool = False, render_mode: str | None = None) -> None:
        self.fails, self.render_mode = fails, render_mode

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return np.zeros(3, dtype=np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        if self.fails:
            raise RuntimeError("broken")
        return np.zeros(3, dtype=np.float32), 0.0, False, False, {}


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_tracker.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)
    options = {
        "file": TrackerOption(help="where to write", fixed=True),
        "level": TrackerOption(help="how much", choices=("low", "high")),
    }
    entry = TrackerEntry(title="Toy", path="toy_tracker:ToyTracker", options=options)
    monkeypatch.setitem(TRACKERS, "toy", entry)
    spec = gym.envs.registration.EnvSpec("Endless-v0", entry_point=Endless)
    monkeypatch.setitem(gym.registry, "Endless-v0", spec)


# fmt: off
TRAIN = ["train", "Endless-v0", "--algo", "a2c", "--timesteps", "20", "--n-envs", "1", "--seed", "3",
         "--device", "cpu", "--hyperparams", "n_steps:5", "--track", "--tracker", "toy"]
# fmt: on
pytestmark = pytest.mark.filterwarnings(
    # Stable-Baselines3 asks every environment for pictures.
    "ignore:.*render_mode='rgb_array' that is not in the possible:UserWarning"
)


def told(folder: Path, name: str = "toy.jsonl") -> list[Any]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_it_is_told_all_of_a_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    command = [*TRAIN, "--toy-level", "low", "--timesteps", "2000", "--output", str(folder)]
    assert main(command) == 0
    assert "toy: " in capsys.readouterr().out
    kinds = [what for what, _ in told(folder)]
    assert kinds == ["begin", "row", "close", "results", "finish"]
    values = dict(told(folder))
    assert values["begin"] == 3
    step, keys = values["row"]
    assert step == 2000
    assert "train/policy_loss" in keys
    assert {"model.zip", "progress.csv", "config.yml"} <= set(values["results"])
    assert values["finish"] == 0
    assert runs.read_config(folder).others == {"toy": {"file": "toy.jsonl", "level": "low"}}

    # Resumed without a word: it goes on.
    assert main(["train", "--resume", str(folder), "--timesteps", "4000", "--toy-level", "high"]) == 0
    assert [what for what, _ in told(folder)] == kinds * 2
    assert runs.read_config(folder).others == {"toy": {"file": "toy.jsonl", "level": "high"}}
    assert main(["train", "--resume", str(folder), "--timesteps", "4010", "--no-track"]) == 0
    assert len(told(folder)) == 2 * len(kinds)


def test_it_is_told_of_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="broken"):
        main([*TRAIN, "--toy-file", "t", "--env-kwargs", "fails:true", "--output", str(tmp_path / "run")])
    assert told(tmp_path / "run", "t")[-1] == ["finish", 1]


def test_its_options_stand_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--help"])
    out = capsys.readouterr().out
    assert "Toy:\n  --toy-file NAME" in out
    assert "--toy-level {low,high}" in out
    assert "--tracker {wandb,toy}" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tracker", "toy"], "--tracker needs --track"),
        (["--toy-file", "a"], "--toy-file needs --track"),
        (["--track", "--toy-file", "a"], "--toy-file needs --tracker toy"),
        (["--track", "--tracker", "other"], "invalid choice: 'other'"),
        (["--track", "--tracker", "toy", "--toy-file", ""], "--toy-file is empty"),
        (["--track", "--tracker", "toy", "--toy-level", "no"], "invalid choice: 'no'"),
    ],
)
def test_options_without_effect_are_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "Endless-v0", "--output", str(tmp_path / "run"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_is_fixed_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert main([*TRAIN, "--output", str(folder)]) == 0
    resume = ["train", "--resume", str(folder), "--timesteps", "40", "--track"]
    for more, message in {
        ("--toy-file", "b"): "--toy-file is fixed for a tracked run that is resumed",
        ("--tracker", "wandb"): "--tracker is fixed for a tracked run that is resumed: toy",
    }.items():
        assert main([*resume, *more]) == 2
        assert message in capsys.readouterr().err
