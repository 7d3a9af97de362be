"""Several workers tune together through one file, and others go on where one was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

TUNE = [
    "train",
    "--algo",
    "plastic_a2c",
    "--env",
    "PlasticMaze-v0",
    "-n",
    "400",
    "--device",
    "cpu",
    "-optimize",
]
TUNE += [
    "--n-evaluations",
    "2",
    "--n-startup-trials",
    "2",
    "--pruner",
    "none",
    "--env-kwargs",
    "max_episode_steps:20",
]
TUNE += ["--storage", "logs/maze.log", "--study-name", "maze"]
TINY = ["-params", "n_envs:2", "n_steps:20"]


def worker(folder: Path, seed: int, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "plastic_rl.zoo", *TUNE, "--seed", str(seed), *options, *TINY]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ
    )


def trials(folder: Path) -> list[Any]:
    import optuna

    if not (folder / "logs" / "maze.log").is_file():
        return []
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "logs" / "maze.log"))
    try:
        study = optuna.load_study(study_name="maze", storage=optuna.storages.JournalStorage(backend))
    except KeyError:
        return []
    return study.trials


@pytest.mark.slow
def test_two_workers_share_a_study_that_outlives_them(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    pytest.importorskip("rl_zoo3")
    first, second = (worker(tmp_path, seed, "--n-trials", "3") for seed in (1, 2))
    deadline = time.monotonic() + 150
    while len(trials(tmp_path)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    second.send_signal(signal.SIGKILL)
    second.communicate()
    _, errors = first.communicate(timeout=150)
    assert first.returncode == 0, errors
    done = [one for one in trials(tmp_path) if one.state == optuna.trial.TrialState.COMPLETE]
    before = len(trials(tmp_path))
    assert len(done) >= 3
    # Two started at once: not the same ones.
    assert len({one.params["learning_rate"] for one in trials(tmp_path)}) == before

    # Whatever the second was about: it may have been killed with the lock on the file.
    if not os.path.lexists(tmp_path / "logs" / "maze.log.lock"):
        os.symlink(tmp_path / "logs" / "maze.log", tmp_path / "logs" / "maze.log.lock")
    third = worker(tmp_path, 3, "--n-trials", "2")
    _, errors = third.communicate(timeout=150)
    assert third.returncode == 0, errors
    assert len(trials(tmp_path)) == before + 2
    assert [one.number for one in trials(tmp_path)] == list(range(before + 2))
