"""Disks that are full, read-only or gone in the middle of a training: each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plastic_rl.cli.main import main
from plastic_rl.runs import folder as runs
from plastic_rl.training.a2c import PlasticA2C

# Each is a training in a process of its own.
pytestmark = pytest.mark.slow

# fmt: off
SETTINGS = ["--n-envs", "8", "--seed", "3", "--device", "cpu", "--env-kwargs", "max_episode_steps:5",
            "--hyperparams", "n_steps:5", "policy_kwargs.hidden_size:6", "policy_kwargs.backend:reference"]
# fmt: on
# Does something once, at a step of the training, with `folder` at hand.
DRIVER = """
import os, resource, shutil, sys
from pathlib import Path
from plastic_rl.cli.main import main
from plastic_rl.runs.callbacks import ProgressCallback

folder, step, action, done = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], []

def on_step(callback):
    if callback.num_timesteps >= step and not done:
        done.append(True)
        exec(action)
    return True

ProgressCallback._on_step = on_step
sys.exit(main(sys.argv[4:]))
"""
FULL = "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))"
READ_ONLY = """
def refuse(path, *arguments, **more):
    raise OSError(30, os.strerror(30))
Path.open = refuse
"""
GONE = "shutil.rmtree(folder)"


def train(folder: Path, timesteps: int, action: str, *more: str) -> "subprocess.CompletedProcess[str]":
    command = ["train", "PlasticMaze-v0", "--timesteps", str(timesteps), "--output", str(folder)]
    return subprocess.run(
        [sys.executable, "-c", DRIVER, str(folder), "1000", action, *command, *SETTINGS, *more],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )


def steps(folder: Path) -> int:
    return PlasticA2C.load(folder / runs.MODEL, device="cpu").num_timesteps


def test_a_log_that_does_not_fit_is_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, limit = tmp_path / "run", 40_000
    action = FULL.replace("1000", str(limit))
    done = train(folder, 24_000, action, "--save-every", "0.2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Note: ") == done.stdout.count("\nNote: ") <= 3  # a picture may not fit, too
    note = f"Note: {folder / runs.MONITOR} cannot be written, the training goes on without it: File too large"
    assert done.stdout.count(note) == 1
    assert steps(folder) == 24_000
    # What stands in it is whole rows, as many as fit.
    log = (folder / runs.MONITOR).read_bytes()
    assert limit - 500 < len(log) <= limit
    assert log.endswith(b"\n")
    assert main(["train", "--resume", str(folder), "--timesteps", "24400"]) == 0
    capsys.readouterr()
    assert len(runs.read_monitor(folder)["r"]) == log.count(b"\n") - 2 + 400 // 5


@pytest.mark.parametrize(
    ("action", "reason"),
    [(FULL, "File too large"), (READ_ONLY, "Read-only file system")],
    ids=["full", "read"],
)
def test_the_old_model_stays_where_the_new_one_cannot_be_saved(
    action: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    done = train(folder, 2000, action, "--save-every", "0")
    assert done.returncode == 1
    assert done.stderr == ""
    assert f"Note: step 1,000 was not saved: {reason}\n" in done.stdout
    assert f"The model of step 2,000 could not be saved: {reason}\n" in done.stdout
    assert "Next: " not in done.stdout
    assert steps(folder) == 960  # of the last rollout before
    assert not list(folder.glob("*.partial*"))
    assert main(["train", "--resume", str(folder)]) == 0
    assert "New episodes begin" not in capsys.readouterr().out
    assert steps(folder) == 2000


def test_a_folder_that_has_vanished_is_made_again_for_the_model(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = train(folder, 2000, GONE, "--save-every", "0")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\nNote: step ") > 3
    assert steps(folder) == 2000
    assert runs.read_config(folder).n_timesteps == 2000
    assert main(["train", "--resume", str(folder), "--timesteps", "2400"]) == 0


def test_a_disk_that_is_full_before_the_first_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    code = f"import resource, sys; {FULL}; from plastic_rl.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = ["train", "PlasticMaze-v0", "--timesteps", "400", "--output", str(folder), *SETTINGS]
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "File too large" in done.stderr
    # As soon as there is room, it is trained.
    assert main(["train", "--resume", str(folder)]) == 0
    assert steps(folder) == 400
