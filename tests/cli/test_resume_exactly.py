"""A training that was stopped and resumed ends with the numbers of one that never was."""

import csv
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch

from plastic_rl.cli.main import main
from plastic_rl.runs import folder as runs
from plastic_rl.runs.callbacks import ProgressCallback
from plastic_rl.runs.checkpoint import STATE
from plastic_rl.runs.hyperparams import algorithm_class
from plastic_rl.saving import load_model

pytestmark = pytest.mark.usefixtures("no_pictures")

TASK = ["n_bits:8", "n_patterns:2", "show_steps:2", "blank_steps:1", "n_passes:1", "probe_steps:2"]
CASES: dict[str, tuple[str, str, list[str], list[str]]] = {
    "plastic_a2c": (
        "PlasticMaze-v0",
        "plastic_a2c",
        ["max_episode_steps:33"],
        ["n_steps:10", "policy_kwargs.hidden_size:6", "learning_rate:0.003"],
    ),
    "normalized": (
        "PlasticMaze-v0",
        "plastic_a2c",
        ["max_episode_steps:33"],
        ["n_steps:10", "policy_kwargs.hidden_size:6", "learning_rate:0.003", "normalize:true"],
    ),
    "plastic_ppo": (
        "PlasticPairs-v0",
        "plastic_ppo",
        ["n_pairs:[1,3]"],
        ["n_steps:10", "n_epochs:2", "batch_size:10", "policy_kwargs.hidden_size:6"],
    ),
    "supervised": (
        "PlasticPatternMemory-v0",
        "supervised",
        TASK,
        ["batch_size:2", "policy_kwargs.backend:reference"],
    ),
    "stepping": (
        "PlasticPatternMemory-v0",
        "plastic_a2c",
        TASK,
        [
            "n_steps:5",
            "policy:MlpPolicy",
            "policy_kwargs.hidden_size:6",
            "policy_kwargs.share_features_extractor:false",
            "use_sde:true",
        ],
    ),
    "bandit": (
        "PlasticBandit-v0",
        "plastic_a2c",
        ["n_pairs:2"],
        ["n_steps:7", "policy_kwargs.hidden_size:6", "learning_rate:lin_0.01"],
    ),
    "a2c": ("PlasticMaze-v0", "a2c", ["max_episode_steps:33"], ["n_steps:10"]),
    "recurrent_ppo": (
        "PlasticMaze-v0",
        "recurrent_ppo",
        ["max_episode_steps:33"],
        ["n_steps:10", "batch_size:10", "policy_kwargs.lstm_hidden_size:4"],
    ),
}
TOTAL = 600


def train(folder: Path, case: str, *more: str) -> int:
    env_id, algo, env_kwargs, settings = CASES[case]
    # fmt: off
    return main(["train", env_id, "--algo", algo, "--timesteps", str(TOTAL), "--n-envs", "3", "--seed", "3",
                 "--device", "cpu", "--output", str(folder), "--env-kwargs", *env_kwargs,
                 "--hyperparams", *settings, *more])
    # fmt: on


def resume(folder: Path, *more: str) -> int:
    return main(["train", "--resume", str(folder), *more])


def everything(folder: Path, case: str) -> dict[str, Any]:
    """The numbers of a model: parameters, and what its optimiser keeps."""
    model = load_model(algorithm_class(CASES[case][1]), folder / "model.zip", device="cpu")
    optimizer = model.policy.optimizer.state_dict()["state"]
    kept = {f"{i} {name}": value for i, state in optimizer.items() for name, value in state.items()}
    return {"steps": model.num_timesteps, **model.policy.state_dict(), **kept}


def assert_same(one: Path, other: Path, case: str) -> None:
    left, right = everything(one, case), everything(other, case)
    assert left.keys() == right.keys()
    for name, value in left.items():
        same = torch.equal(value, right[name]) if isinstance(value, torch.Tensor) else value == right[name]
        assert same, name


def terminate_at(step: int) -> Callable[[ProgressCallback], bool]:
    done: list[int] = []

    def on_step(callback: ProgressCallback) -> bool:
        if callback.num_timesteps >= step and not done:
            done.append(step)
            os.kill(os.getpid(), signal.SIGTERM)
        return True

    return on_step


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a training that was never stopped, by case."""
    folder = tmp_path_factory.mktemp("whole")

    def trained(case: str) -> Path:
        if not (folder / case).exists():
            assert train(folder / case, case) == 0
        return folder / case

    return trained


@pytest.mark.parametrize("case", CASES)
def test_stopped_three_times(
    case: str,
    whole: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "run"
    for number, step in enumerate((100, 250, 251)):
        monkeypatch.setattr(ProgressCallback, "_on_step", terminate_at(step))
        assert (resume(folder) if number else train(folder, case)) == 143
    monkeypatch.undo()
    assert resume(folder) == 0
    out = capsys.readouterr().out
    assert "New episodes begin" not in out
    assert out.count("Interrupted at step ") == 3
    assert_same(folder, whole(case), case)
    # The episodes that came out of it are the same ones, too.
    one, other = runs.read_monitor(folder), runs.read_monitor(whole(case))
    assert one["r"].tolist() == other["r"].tolist()
    assert one["l"].tolist() == other["l"].tolist()


@pytest.mark.parametrize("case", ["plastic_a2c", "plastic_ppo", "supervised"])
@pytest.mark.parametrize("step", [1, 300])
def test_killed_and_sent_back_to_its_last_checkpoint(
    step: int, case: str, whole: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, checkpoint = tmp_path / "run", tmp_path / "checkpoint"

    def keep(callback: ProgressCallback) -> bool:
        if callback.num_timesteps >= step and not checkpoint.exists():
            checkpoint.mkdir()
            for name in (runs.MODEL, STATE):
                shutil.copy(folder / name, checkpoint / name)
        return True

    monkeypatch.setattr(ProgressCallback, "_on_step", keep)
    assert train(folder, case, "--save-every", "0") == 0
    assert_same(folder, whole(case), case)  # saving draws no random numbers
    assert everything(checkpoint, case)["steps"] <= step
    for name in (runs.MODEL, STATE):
        shutil.copy(checkpoint / name, folder / name)
    assert resume(folder) == 0
    assert_same(folder, whole(case), case)
    with open(folder / runs.PROGRESS, newline="") as file:
        steps = [int(row["time/total_timesteps"]) for row in csv.DictReader(file)]
    assert steps == sorted(set(steps))


def test_what_was_half_written_is_cleared_up(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert train(folder, "plastic_a2c", "--timesteps", "300") == 0
    names = {one.name for one in folder.iterdir()}
    for name in ("model.0123abcd.partial.zip", "monitor.0123abcd.partial.csv"):
        (folder / name).write_text("half")
    (folder / "mine.0123abcd.partial.zip").write_text("another's")
    assert resume(folder, "--timesteps", "400") == 0
    assert {one.name for one in folder.iterdir()} == names | {"mine.0123abcd.partial.zip"}


def test_a_training_is_lengthened(whole: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert train(folder, "plastic_a2c", "--timesteps", "300") == 0
    assert resume(folder, "--timesteps", str(TOTAL)) == 0
    assert_same(folder, whole("plastic_a2c"), "plastic_a2c")


def test_killed_between_model_and_state(whole: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert train(folder, "plastic_a2c", "--timesteps", "300") == 0
    # The model has taken its place, the state not yet, and that of an older model is still there.
    os.replace(folder / STATE, folder / "training_state.next.safetensors")
    shutil.copy(whole("plastic_a2c") / STATE, folder / STATE)
    assert resume(folder, "--timesteps", str(TOTAL)) == 0
    assert_same(folder, whole("plastic_a2c"), "plastic_a2c")
    assert not (folder / "training_state.next.safetensors").exists()


@pytest.mark.parametrize("lost", ["removed", "of another model"])
def test_without_its_state_new_episodes_begin(
    lost: str, whole: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert train(folder, "plastic_a2c", "--timesteps", "300") == 0
    (folder / STATE).unlink()
    if lost != "removed":
        shutil.copy(whole("plastic_a2c") / STATE, folder / STATE)
    assert resume(folder, "--timesteps", str(TOTAL)) == 0
    assert "New episodes begin" in capsys.readouterr().out
    with pytest.raises(AssertionError):
        assert_same(folder, whole("plastic_a2c"), "plastic_a2c")


def test_a_damaged_state_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert train(folder, "plastic_a2c", "--timesteps", "300") == 0
    path = folder / STATE
    path.write_bytes(path.read_bytes()[:-1])
    before = {one.name: one.read_bytes() for one in folder.iterdir()}
    assert resume(folder, "--timesteps", str(TOTAL)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{path} is damaged" in error
    assert "without it new episodes begin" in error
    assert {one.name: one.read_bytes() for one in folder.iterdir()} == before


def test_environments_without_a_state_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert not hasattr(gym.make("CartPole-v1").unwrapped, "get_state")
    monkeypatch.setattr(ProgressCallback, "_on_step", terminate_at(100))
    command = ["train", "CartPole-v1", "--timesteps", "400", "--n-envs", "2", "--output", str(folder)]
    settings = ["--hyperparams", "n_steps:20", "policy_kwargs.hidden_size:4"]
    assert main([*command, *settings]) == 143
    monkeypatch.undo()
    assert resume(folder) == 0
    assert "New episodes begin" in capsys.readouterr().out
    assert not (folder / STATE).exists()
