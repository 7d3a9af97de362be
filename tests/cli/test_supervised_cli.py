"""``plastic-rl`` and its settings on the supervised tasks."""

import csv
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio.v3 as iio
import numpy as np
import pytest
import torch
import yaml

from plastic_rl.cli.main import main
from plastic_rl.envs import EpisodicTaskEnv, OmniglotTask, PatternMemoryTask
from plastic_rl.runs import folder as runs
from plastic_rl.runs.callbacks import ProgressCallback
from plastic_rl.runs.hyperparams import default_algorithm, hyperparams, load_config
from plastic_rl.training.supervised import SupervisedMetaLearner

ENV = "PlasticPatternMemory-v0"
SMALL = [
    "--env-kwargs",
    "n_bits:8",
    "n_patterns:2",
    "show_steps:2",
    "blank_steps:1",
    "n_passes:1",
    "probe_steps:2",
]
LENGTH = 8
QUICK = ["--hyperparams", "policy_kwargs.backend:reference", "batch_size:2", "--seed", "3", "--device", "cpu"]


def train(folder: Path, timesteps: int, *more: str) -> int:
    return main(["train", ENV, "--timesteps", str(timesteps), "--output", str(folder), *SMALL, *QUICK, *more])


def parameters(folder: Path) -> dict[str, torch.Tensor]:
    return SupervisedMetaLearner.load(folder / "model.zip", device="cpu").policy.state_dict()


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def logged_steps(folder: Path) -> list[int]:
    with open(folder / "progress.csv", newline="") as file:
        return [int(row["time/total_timesteps"]) for row in csv.DictReader(file)]


def test_the_learner_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PlasticPatternMemory-v0", "PlasticImageCompletion-v0", "PlasticOmniglot-v0"):
        assert default_algorithm(name) == default_algorithm(f"plastic_rl:{name}") == "supervised"
        assert load_config(name).source.name == "supervised.yml"
    assert default_algorithm("PlasticMaze-v0") == default_algorithm("Unknown-v0") == "plastic_a2c"
    # Both files have an entry for the pairs, one of them for target discovery.
    assert default_algorithm("PlasticPairs-v0") == "plastic_a2c"
    assert default_algorithm("PlasticTargetDiscovery-v0") == "plastic_ppo"
    assert load_config("PlasticTargetDiscovery-v0").source.name == "plastic_ppo.yml"
    assert hyperparams("PlasticOmniglot-v0")["policy"] == "ClassifierPolicy"
    assert hyperparams("PlasticOmniglot-v0", algo="plastic_a2c")["policy"] == "OmniglotPolicy"
    assert hyperparams("PlasticPatternMemory-v0", algo="plastic_a2c")["policy"] == "MlpPolicy"
    with pytest.raises(ImportError):
        default_algorithm("no_such_module:X-v0")

    class Own(EpisodicTaskEnv):
        pass

    monkeypatch.setitem(gym.registry, "Own-v0", gym.envs.registration.EnvSpec("Own-v0", entry_point=Own))
    assert default_algorithm("Own-v0") == "supervised"
    assert hyperparams("Own-v0")["policy"] == "PlasticRNNPolicy"


# Registered as docs/environments.md does it. Stable-Baselines3 asks every environment for pictures.
@pytest.mark.filterwarnings("ignore:.*render_mode='rgb_array' that is not in the possible:UserWarning")
def test_a_task_that_is_registered_as_a_function_is_trained_on_whole_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = gym.envs.registration.EnvSpec("Own-v0", lambda: EpisodicTaskEnv(PatternMemoryTask(n_bits=8)))
    monkeypatch.setitem(gym.registry, "Own-v0", spec)
    assert default_algorithm("Own-v0") == "supervised"
    folder = tmp_path / "run"
    assert main(["train", "Own-v0", "--timesteps", "1000", "--output", str(folder), *QUICK]) == 0
    assert runs.read_config(folder).algo == "supervised"
    assert SupervisedMetaLearner.load(folder / "model.zip", device="cpu").num_timesteps >= 1000
    assert (folder / "learning_curve.png").is_file()
    out = capsys.readouterr().out
    assert "Note: no episode.gif: render_mode rgb_array: TypeError: " in out
    assert main(["evaluate", str(folder), "--episodes", "4"]) == 0
    assert main(["train", "Own-v0", "--env-kwargs", "size:3", "--output", str(tmp_path / "other")]) == 2
    assert "unknown key 'size' among the arguments of Own-v0" in capsys.readouterr().err
    alone = shutil.copy(folder / "model.zip", tmp_path / "alone.zip")
    assert main(["evaluate", str(alone), "Own-v0", "--episodes", "4"]) == 0
    assert main(["evaluate", str(alone), "Own-v0", "--env-kwargs", "size:3"]) == 2
    assert "unknown key 'size' among the arguments of Own-v0" in capsys.readouterr().err


def test_an_environment_that_is_registered_as_a_function_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = gym.envs.registration.EnvSpec("Own-v0", lambda: gym.make("CartPole-v1"))
    monkeypatch.setitem(gym.registry, "Own-v0", spec)
    assert default_algorithm("Own-v0") == "plastic_a2c"


@pytest.mark.parametrize("name", ["PlasticPatternMemory-v0", "PlasticOmniglot-v0", "Else-v0"])
def test_every_entry_builds_the_learner(name: str) -> None:
    images = np.random.default_rng(0).integers(256, size=(80, 5, 31, 31), dtype=np.uint8)
    tasks: dict[str, Any] = {
        "PlasticPatternMemory-v0": lambda: PatternMemoryTask(n_bits=8),
        "PlasticOmniglot-v0": lambda: OmniglotTask(data=images, n_validation=5, n_test=5),
        "Else-v0": lambda: PatternMemoryTask(n_bits=8),
    }
    kwargs = hyperparams(name, "supervised")
    env = EpisodicTaskEnv(tasks[name]())
    model = SupervisedMetaLearner(env=env, device="cpu", **kwargs).learn(1)
    assert model.num_timesteps == model.batch_size * env.task.episode_length


def test_a_training_leaves_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert train(folder, 30 * 2 * LENGTH) == 0
    files = {"config.yml", "episode.gif", "learning_curve.png", "model.zip", "monitor.csv", "progress.csv"}
    files.add("training_state.safetensors")
    assert {path.name for path in folder.iterdir()} == files
    config = yaml.safe_load((folder / "config.yml").read_text())
    assert (config["env_id"], config["algo"], config["seed"]) == (ENV, "supervised", 3)
    assert config["env_kwargs"]["n_bits"] == 8
    assert config["hyperparams"]["policy"] == "AutoassociatorPolicy"
    monitor = runs.read_monitor(folder)
    assert monitor["l"].tolist() == [LENGTH] * 60
    assert monitor["r"].min() < 0
    assert (np.diff(monitor["t"]) >= 0).all()
    assert logged_steps(folder) == [10 * 2 * LENGTH, 20 * 2 * LENGTH, 30 * 2 * LENGTH]
    assert iio.imread(folder / "episode.gif").ndim == 4
    out = capsys.readouterr().out
    assert "480 steps, batches of 2 episodes, seed 3, cpu, from step 0" in out
    assert f"Mean return of the last 60 training episodes: {monitor['r'].mean():.4f}" in out
    assert f"Next: plastic-rl evaluate {folder} {ENV}\n" in out


@pytest.mark.usefixtures("no_pictures")
def test_a_resumed_run_is_that_without_a_break(tmp_path: Path) -> None:
    # The default rate falls to 0 at the end of a training, whenever that is.
    constant = ("--hyperparams", "learning_rate:0.01")
    assert train(tmp_path / "whole", 40 * LENGTH, *constant) == 0
    assert train(tmp_path / "parts", 20 * LENGTH, *constant) == 0
    assert main(["train", "--resume", str(tmp_path / "parts"), "--timesteps", str(40 * LENGTH)]) == 0
    assert_same(parameters(tmp_path / "whole"), parameters(tmp_path / "parts"))
    whole, parts = (runs.read_monitor(tmp_path / name)["r"] for name in ("whole", "parts"))
    np.testing.assert_array_equal(whole, parts)


@pytest.mark.usefixtures("no_pictures")
def test_an_interrupted_run_is_resumed_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = (40 * LENGTH, "--hyperparams", "learning_rate:lin_0.01")
    assert train(tmp_path / "whole", *more) == 0

    def interrupt(callback: ProgressCallback) -> bool:
        if callback.num_timesteps >= 14 * LENGTH:
            raise KeyboardInterrupt
        return True

    with monkeypatch.context() as patch:
        patch.setattr(ProgressCallback, "_on_step", interrupt)
        assert train(tmp_path / "parts", *more) == 130
    interrupted = SupervisedMetaLearner.load(tmp_path / "parts" / "model.zip", device="cpu")
    assert interrupted.num_timesteps == 14 * LENGTH
    assert main(["train", "--resume", str(tmp_path / "parts")]) == 0
    assert_same(parameters(tmp_path / "whole"), parameters(tmp_path / "parts"))
    assert len(runs.read_monitor(tmp_path / "parts")["r"]) == 40


@pytest.mark.usefixtures("no_pictures")
def test_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "run", 200 * 2 * LENGTH) == 0
    capsys.readouterr()
    command = ["evaluate", str(tmp_path / "run"), "--episodes", "50"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "50 episodes, seed 0\n" in out
    assert "mean reward -0." in out
    assert "mean bit_error 0" in out
    assert "95 % interval of the mean" in out
    assert "split" not in out
    assert main([*command, "--seed", "0"]) == 0
    assert capsys.readouterr().out == out
    assert main([*command, "--seed", "1"]) == 0
    assert capsys.readouterr().out != out
    assert main([*command, "--env-kwargs", "n_bits:9"]) == 2
    assert "does not fit" in capsys.readouterr().err


def test_watching(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "run", LENGTH) == 0
    assert main(["watch", str(tmp_path / "run"), "--output", str(tmp_path / "episode.gif")]) == 0
    assert f"in {LENGTH} steps" in capsys.readouterr().out
    assert len(iio.imread(tmp_path / "episode.gif")) > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--algo", "supervised"], "env must be an EpisodicTaskEnv"),
        (
            ["--algo", "supervised", "--hyperparams", "batch_size:0"],
            "batch_size must be an integer of at least 1",
        ),
        (["--algo", "supervised", "--hyperparams", "loss_fn:x"], "unknown key 'loss_fn'"),
        (["--algo", "supervised", "--hyperparams", "policy:MlpPolicy"], "unknown policy 'MlpPolicy'"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["train", "CartPole-v1", "--output", str(tmp_path / "run"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_unknown_arguments_of_the_network_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "run", 100, "policy_kwargs.channels:3") == 2
    assert main(["train", ENV, *SMALL, "--hyperparams", "policy_kwargs.channels:3"]) == 2
    assert "unknown key 'channels' among policy_kwargs" in capsys.readouterr().err


def test_missing_data_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLASTIC_RL_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PLASTIC_RL_CACHE", str(tmp_path / "cache"))
    assert main(["train", "PlasticOmniglot-v0", "--output", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert str(tmp_path) in message
    assert "plastic-rl data fetch omniglot" in message
    assert not (tmp_path / "run").exists()
