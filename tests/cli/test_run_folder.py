"""A run's folder: what a training leaves there, and going on after it ended, was stopped or was killed."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio.v3 as iio
import numpy as np
import pytest
import yaml
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv

from plastic_rl.cli.main import main
from plastic_rl.runs import folder as runs
from plastic_rl.runs.callbacks import ProgressCallback, SaveModelCallback
from plastic_rl.training.a2c import PlasticA2C
from plastic_rl.training.vec_env import make_vec_env

SHORT = ["--env-kwargs", "max_episode_steps:20"]
SETTINGS = ["n_steps:20", "policy_kwargs.hidden_size:6", "policy_kwargs.backend:reference"]
# fmt: off
TINY = ["--n-envs", "2", "--seed", "3", "--device", "cpu", *SHORT, "--hyperparams", *SETTINGS]
# fmt: on
FILES = {"config.yml", "episode.gif", "learning_curve.png", "model.zip", "monitor.csv", "progress.csv"}
# Of environments without an entry of their own: their rewards are normalized.
DEFAULT_FILES = FILES | {"normalize.json"}
STATE = "training_state.safetensors"


def train(folder: Path, timesteps: int, *more: str) -> int:
    return main(
        ["train", "PlasticMaze-v0", "--timesteps", str(timesteps), "--output", str(folder), *TINY, *more]
    )


def resume(folder: Path, *more: str) -> int:
    return main(["train", "--resume", str(folder), *more])


def parameters(folder: Path) -> list[np.ndarray]:
    model = PlasticA2C.load(folder / "model.zip", device="cpu")
    return [parameter.detach().numpy() for parameter in model.policy.parameters()]


def logged_steps(folder: Path) -> list[int]:
    with open(folder / "progress.csv", newline="") as file:
        return [int(row["time/total_timesteps"]) for row in csv.DictReader(file)]


def test_a_training_leaves_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a" / "new run"
    assert train(folder, 2000, "--n-envs", "10") == 0
    assert {path.name for path in folder.iterdir()} == FILES | {STATE}
    config = yaml.safe_load((folder / "config.yml").read_text())
    assert (config["env_id"], config["algo"], config["seed"]) == ("PlasticMaze-v0", "plastic_a2c", 3)
    assert (config["n_envs"], config["n_timesteps"]) == (10, 2000)
    assert config["env_kwargs"] == {"max_episode_steps": 20}
    assert config["hyperparams"]["policy_kwargs"]["hidden_size"] == 6
    assert config["hyperparams"]["gamma"] == 0.9
    assert {"python", "torch", "stable-baselines3", "gymnasium"} <= set(config["versions"])

    monitor = runs.read_monitor(folder)
    assert monitor["l"].tolist() == [20] * 100
    assert (np.diff(monitor["t"]) >= 0).all()
    assert logged_steps(folder) == [2000]
    assert iio.imread(folder / "learning_curve.png").std() > 10
    assert iio.imread(folder / "episode.gif").ndim == 4

    out = capsys.readouterr().out
    assert f"2,000 steps, 10 environments, seed 3, cpu, from step 0, stored in {folder}" in out
    assert f"Mean return of the last 100 training episodes: {monitor['r'].mean():.2f}" in out
    assert f"plastic-rl evaluate '{folder}' PlasticMaze-v0" in out
    assert f"plastic-rl watch '{folder}' PlasticMaze-v0 --output episode.gif" in out
    assert "bayes-optimal" not in out


@pytest.mark.usefixtures("no_pictures")
def test_the_log_reads_as_a_monitor_log_does(tmp_path: Path) -> None:
    assert train(tmp_path / "run", 80) == 0
    header, columns, *rows = (tmp_path / "run" / "monitor.csv").read_text().splitlines()
    assert Monitor.EXT == "monitor.csv"
    assert header.startswith('#{"t_start": ')
    assert '"env_id": "PlasticMaze-v0"' in header
    assert columns == "r,l,t"
    assert len(rows) == 4


@pytest.mark.usefixtures("no_pictures")
def test_levels_of_the_default_maze_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "PlasticMazePrevAction-v0", "--timesteps", "250", "--n-envs", "1"]
    assert main([*command, "--output", str(tmp_path / "run"), "--hyperparams", *SETTINGS]) == 0
    out = capsys.readouterr().out
    levels = "random 0, paper non-plastic 55, paper plastic 150, bayes-optimal 293, oracle 407\n"
    assert f"For comparison: {levels}" in out
    assert "training episodes: " in out
    assert out.count("bayes-optimal 293") == 2


@pytest.mark.usefixtures("no_pictures")
def test_same_seed_same_training(tmp_path: Path) -> None:
    for name, more in (("a", []), ("b", []), ("c", ["--seed", "4"])):
        assert train(tmp_path / name, 80, *more) == 0
    a, b, c = (parameters(tmp_path / name) for name in "abc")
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert not all(np.array_equal(x, y) for x, y in zip(a, c, strict=True))


@pytest.mark.usefixtures("no_pictures")
def test_without_a_seed_one_is_drawn_and_kept(tmp_path: Path) -> None:
    seeds = []
    for name in "ab":
        command = ["train", "PlasticMaze-v0", "--timesteps", "40", "--n-envs", "1", *SHORT]
        assert main([*command, "--output", str(tmp_path / name), "--hyperparams", *SETTINGS]) == 0
        seeds.append(runs.read_config(tmp_path / name).seed)
    assert seeds[0] != seeds[1]
    assert PlasticA2C.load(tmp_path / "b" / "model.zip", device="cpu").seed == seeds[1]


@pytest.mark.usefixtures("no_pictures")
def test_default_folders_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        command = ["train", "plastic_rl:PlasticMaze-v0", "--timesteps", "20", "--n-envs", "1", *SHORT]
        assert main([*command, "--hyperparams", *SETTINGS]) == 0
    assert [path.name for path in sorted(Path("runs/plastic_a2c").iterdir())] == [
        "PlasticMaze-v0_1",
        "PlasticMaze-v0_2",
    ]


@pytest.mark.parametrize(
    ("algo", "settings"),
    [
        ("a2c", ["n_steps:20"]),
        ("plastic_ppo", ["n_steps:20", "n_epochs:2", "policy_kwargs.hidden_size:4"]),
        ("recurrent_ppo", ["n_steps:20", "batch_size:40", "policy_kwargs.lstm_hidden_size:4"]),
    ],
)
def test_other_algorithms_train_resume_and_are_evaluated(
    tmp_path: Path, algo: str, settings: list[str]
) -> None:
    folder = str(tmp_path / "run")
    # Steps and a seed with which an episode ends: without one there is no learning curve.
    command = ["train", "CartPole-v1", "--algo", algo, "--timesteps", "200", "--n-envs", "2", "--seed", "0"]
    assert main([*command, "--output", folder, "--hyperparams", *settings]) == 0
    expected = FILES if algo == "a2c" else DEFAULT_FILES
    assert {path.name for path in (tmp_path / "run").iterdir()} == expected
    assert main(["train", "--resume", folder, "--timesteps", "240"]) == 0
    assert main(["evaluate", folder, "--episodes", "2"]) == 0


# Stable-Baselines3 asks every environment for pictures.
@pytest.mark.filterwarnings("ignore:.*render_mode='rgb_array' that is not in the possible:UserWarning")
def test_what_cannot_be_drawn_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], invisible: str
) -> None:
    folder = tmp_path / "run"
    command = ["train", invisible, "--timesteps", "20", "--n-envs", "1", "--output", str(folder)]
    assert main([*command, "--hyperparams", *SETTINGS]) == 0
    out = capsys.readouterr().out
    assert "no episode has finished yet, so there is no learning_curve.png" in out
    assert "no episode.gif: Invisible-v0 has no render mode rgb_array" in out
    assert {path.name for path in folder.iterdir()} == DEFAULT_FILES - {"learning_curve.png", "episode.gif"}


class Awkward(gym.Env):
    """Has pictures that fail, or that grow."""

    observation_space = gym.spaces.Box(0, 1, (3,))
    action_space = gym.spaces.Discrete(2)

    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012

    def __init__(self, fails: bool, render_mode: str | None = None) -> None:
        self.fails, self.render_mode, self.steps = fails, render_mode, 0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return np.zeros(3, dtype=np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.steps += 1
        return np.zeros(3, dtype=np.float32), 1.0, self.steps % 5 == 0, False, {}

    def render(self) -> np.ndarray:
        if self.fails:
            raise RuntimeError("no display")
        return np.zeros((8 + self.steps, 8, 3), dtype=np.uint8)


AWKWARD = ["train", "Awkward-v0", "--timesteps", "40", "--n-envs", "1"]


@pytest.fixture
def awkward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        gym.registry, "Awkward-v0", gym.envs.registration.EnvSpec("Awkward-v0", entry_point=Awkward)
    )


@pytest.mark.usefixtures("awkward")
@pytest.mark.parametrize(
    ("fails", "note"),
    [
        ("true", "Note: no episode.gif: RuntimeError: no display\n"),
        (
            "false",
            "Note: no episode.gif: ValueError: frames must be pictures of one size, got (8, 8",
        ),
    ],
)
def test_a_picture_that_fails_fails_no_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: str, note: str
) -> None:
    folder = tmp_path / "run"
    command = [*AWKWARD, "--output", str(folder), "--env-kwargs", f"fails:{fails}"]
    assert main([*command, "--hyperparams", *SETTINGS]) == 0
    out = capsys.readouterr().out
    assert note in out
    assert "Next: plastic-rl evaluate" in out
    assert {path.name for path in folder.iterdir()} == DEFAULT_FILES - {"episode.gif"}
    assert PlasticA2C.load(folder / "model.zip", device="cpu").num_timesteps == 40
    assert main(["watch", str(folder), "--output", str(tmp_path / "a.gif")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert note.partition("Error: ")[2].strip() in error


@pytest.mark.usefixtures("awkward")
@pytest.mark.parametrize("error", [OSError("disk is full"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_a_curve_that_fails_fails_no_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("plastic_rl.cli.session.learning_curve", fail)
    command = [*AWKWARD, "--output", str(tmp_path / "run"), "--env-kwargs", "fails:true"]
    assert main([*command, "--hyperparams", *SETTINGS]) == 0
    reason = "interrupted" if isinstance(error, KeyboardInterrupt) else "OSError: disk is full"
    out = capsys.readouterr().out
    assert f"Note: no learning_curve.png: {reason}\n" in out
    assert "Note: no episode.gif: RuntimeError: no display\n" in out


@pytest.mark.usefixtures("no_pictures")
def test_environments_in_processes_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[object] = []

    def noted(*arguments: Any, **more: Any) -> VecEnv:
        made.append(more["vec_env_cls"])
        return make_vec_env(*arguments, **more)

    monkeypatch.setattr("plastic_rl.cli.user_input.make_vec_env", noted)
    folder = tmp_path / "run"
    assert train(folder, 80, "--vec-env", "subproc") == 0
    assert runs.read_config(folder).vec_env == "subproc"
    assert resume(folder, "--timesteps", "120", "--vec-env", "dummy") == 2
    assert "--vec-env is fixed for a run that is resumed" in capsys.readouterr().err
    assert resume(folder, "--timesteps", "120") == 0
    assert made[0] is made[-1] is SubprocVecEnv
    assert PlasticA2C.load(folder / "model.zip", device="cpu").num_timesteps == 120


def test_a_process_that_ends_before_its_environment_is_made_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ended(*arguments: Any, **more: Any) -> VecEnv:
        raise RuntimeError("a process has ended")

    monkeypatch.setattr("plastic_rl.cli.user_input.make_vec_env", ended)
    assert train(tmp_path / "run", 80, "--vec-env", "subproc") == 2
    assert capsys.readouterr().err == "plastic-rl: error: a process has ended\n"
    assert train(tmp_path / "run", 80) == 2
    assert "the settings do not fit" in capsys.readouterr().err


@pytest.mark.usefixtures("no_pictures")
def test_resume_goes_on_to_a_new_total(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert train(folder, 2000, "--n-envs", "10", "--hyperparams", "learning_rate:1e-12") == 0
    before = (folder / "monitor.csv").read_text()
    first = runs.read_monitor(folder)
    capsys.readouterr()
    assert resume(folder) == 0
    assert "Nothing left to do: 2,000 of 2,000 steps are done" in capsys.readouterr().out
    assert resume(folder, "--timesteps", "4000") == 0
    assert "from step 2,000" in capsys.readouterr().out

    assert (folder / "monitor.csv").read_text().startswith(before)
    both = runs.read_monitor(folder)
    assert len(both["r"]) == 200
    assert (np.diff(both["t"]) >= 0).all()
    # New episodes, not the first ones again.
    assert both["r"][100:].tolist() != first["r"].tolist()
    assert logged_steps(folder) == [2000, 4000]
    assert PlasticA2C.load(folder / "model.zip", device="cpu").num_timesteps == 4000
    assert runs.read_config(folder).n_timesteps == 4000


@pytest.mark.usefixtures("no_pictures")
def test_resume_refuses_another_environment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert train(folder, 40) == 0
    assert main(["train", "PlasticMazePrevAction-v0", "--resume", str(folder)]) == 2
    assert "holds a run on PlasticMaze-v0, not on PlasticMazePrevAction-v0" in capsys.readouterr().err
    assert main(["train", "PlasticMaze-v0", "--resume", str(folder), "--timesteps", "0"]) == 2
    assert main(["train", "plastic_rl:PlasticMaze-v0", "--resume", str(folder)]) == 0


def test_an_interrupted_run_is_saved_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(callback: ProgressCallback) -> bool:
        if callback.num_timesteps >= 60:
            raise KeyboardInterrupt
        return True

    folder = tmp_path / "a run"
    with monkeypatch.context() as patch:
        patch.setattr(ProgressCallback, "_on_step", interrupt)
        assert train(folder, 120) == 130
    out = capsys.readouterr().out
    assert "Interrupted at step 60 of 120: the model is saved." in out
    assert f"To go on: plastic-rl train --resume '{folder}'" in out
    assert {path.name for path in folder.iterdir()} == FILES
    assert PlasticA2C.load(folder / "model.zip", device="cpu").num_timesteps == 60
    assert resume(folder) == 0
    assert PlasticA2C.load(folder / "model.zip", device="cpu").num_timesteps == 140
    assert len(runs.read_monitor(folder)["r"]) == 2 + 4


@pytest.mark.parametrize("more", [[], ["--vec-env", "subproc"]], ids=["batched", "processes"])
def test_ctrl_c_in_a_real_process(tmp_path: Path, more: list[str]) -> None:
    folder = tmp_path / "run"
    # fmt: off
    command = [sys.executable, "-m", "plastic_rl", "train", "PlasticMaze-v0", "--timesteps", "100000000",
               "--output", str(folder), *more, *TINY]
    # fmt: on
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        # Started in the background, tests may have been told to ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 60
        log = folder / "monitor.csv"
        while not (log.exists() and log.read_text().count("\n") > 20) and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        # As a terminal does: to all processes.
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert f"To go on: plastic-rl train --resume {folder}" in out
    # Environments elsewhere keep their episodes to themselves.
    assert {path.name for path in folder.iterdir()} - {STATE} == FILES
    assert (folder / STATE).exists() == (not more)
    assert PlasticA2C.load(folder / "model.zip", device="cpu").num_timesteps >= 20 * 20


@pytest.mark.usefixtures("no_pictures")
def test_a_killed_run_forgets_what_came_after_its_last_saved_model(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert train(folder, 2000, "--n-envs", "10") == 0
    kept = (folder / "monitor.csv").read_text()
    shutil.copy(folder / "model.zip", tmp_path / "checkpoint.zip")
    assert resume(folder, "--timesteps", "4000") == 0
    shutil.copy(tmp_path / "checkpoint.zip", folder / "model.zip")
    assert resume(folder, "--timesteps", "6000") == 0
    assert (folder / "monitor.csv").read_text().startswith(kept)
    assert len(runs.read_monitor(folder)["r"]) == 300
    assert logged_steps(folder) == [2000, 4000, 6000]


def test_the_model_is_saved_during_the_training(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    model = PlasticA2C("MlpPolicy", "CartPole-v1", n_steps=10, policy_kwargs={"hidden_size": 4}, device="cpu")
    model.learn(40, callback=SaveModelCallback(path, every=0.0))
    # Saved at the start of every rollout, the last of which begins at step 30.
    assert PlasticA2C.load(path, device="cpu").num_timesteps == 30
    assert [file.name for file in tmp_path.iterdir()] == ["model.zip"]  # CartPole has no state to be had
    path.unlink()
    model.learn(40, callback=SaveModelCallback(path, every=3600.0))
    assert not path.exists()


def test_saving_keeps_the_old_model_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = PlasticA2C("MlpPolicy", "CartPole-v1", policy_kwargs={"hidden_size": 4}, device="cpu")
    path = tmp_path / "model.zip"
    runs.save_model(model, path)
    whole = path.read_bytes()

    def half_a_model(_: PlasticA2C, target: Path) -> None:
        target.write_bytes(whole[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "save_model_file", half_a_model)
    with pytest.raises(KeyboardInterrupt):
        runs.save_model(model, path)
    assert path.read_bytes() == whole
