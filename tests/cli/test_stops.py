"""Signals that end a training, and two trainings in one folder."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from plastic_rl.cli import stops as module
from plastic_rl.cli.main import main
from plastic_rl.cli.stops import Stopped, Stops
from plastic_rl.runs import folder as runs
from plastic_rl.runs.callbacks import ProgressCallback
from plastic_rl.runs.lock import LOCK, locked
from plastic_rl.training.a2c import PlasticA2C

SETTINGS = ["n_steps:20", "policy_kwargs.hidden_size:6", "policy_kwargs.backend:reference"]
# fmt: off
TINY = ["--n-envs", "2", "--seed", "3", "--device", "cpu", "--env-kwargs", "max_episode_steps:20",
        "--hyperparams", *SETTINGS]
# fmt: on
ROLLOUT = 40
ENDLESS = "100000000"


def train(folder: Path, timesteps: int, *more: str) -> int:
    return main(
        ["train", "PlasticMaze-v0", "--timesteps", str(timesteps), "--output", str(folder), *TINY, *more]
    )


def saved(folder: Path) -> PlasticA2C:
    return PlasticA2C.load(folder / "model.zip", device="cpu")


def at_step(step: int, do: Callable[[], object]) -> Callable[[ProgressCallback], bool]:
    """What takes the place of `ProgressCallback._on_step`: does something once."""
    done: list[object] = []

    def on_step(callback: ProgressCallback) -> bool:
        if callback.num_timesteps >= step and not done:
            done.append(do())
        return True

    return on_step


def me(name: str) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), getattr(signal, name))


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_ends_a_training_after_its_rollout(
    name: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a run"
    before = signal.getsignal(getattr(signal, name))
    monkeypatch.setattr(ProgressCallback, "_on_step", at_step(100, me(name)))
    assert train(folder, 4000) == code
    assert signal.getsignal(getattr(signal, name)) is before
    out = capsys.readouterr().out
    assert f"Interrupted at step {3 * ROLLOUT} of 4,000: the model is saved." in out
    assert f"To go on: plastic-rl train --resume '{folder}'" in out
    assert saved(folder).num_timesteps == 3 * ROLLOUT
    # Who sends another signal than Ctrl-C does not wait for pictures.
    assert (folder / "learning_curve.png").exists() == (name == "SIGINT")
    assert not (folder / LOCK).exists()
    assert main(["train", "--resume", str(folder), "--timesteps", "200"]) == 0
    assert saved(folder).num_timesteps == 200


def test_a_long_rollout_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ProgressCallback, "_on_step", at_step(100, me("SIGTERM")))
    monkeypatch.setattr(module, "GRACE", 0.0)
    assert train(tmp_path / "run", 4000) == 143
    assert "Interrupted at step 100 of 4,000: the model is saved." in capsys.readouterr().out
    assert saved(tmp_path / "run").num_timesteps == 100


def test_a_second_ctrl_c_is_obeyed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def press_twice() -> None:
        me("SIGINT")()
        me("SIGINT")()  # the same one: terminal and shell both send it
        time.sleep(0.02)
        me("SIGINT")()
        pytest.fail("it was not obeyed")

    monkeypatch.setattr(module, "_TWICE", 0.01)
    monkeypatch.setattr(ProgressCallback, "_on_step", at_step(100, press_twice))
    assert train(tmp_path / "run", 4000, "--save-every", "0") == 130
    out = capsys.readouterr().out
    assert f"Interrupted at step 100 of 4,000: the model of step {2 * ROLLOUT} is what is saved." in out
    assert saved(tmp_path / "run").num_timesteps == 2 * ROLLOUT


def test_signals_before_the_first_step_end_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("plastic_rl.cli.start.make_env", lambda *_: me("SIGTERM")())
    assert train(tmp_path / "run", 4000) == 143
    assert capsys.readouterr().err == "plastic-rl: stopped by SIGTERM\n"
    assert not (tmp_path / "run").exists()


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with Stops():
            me("SIGHUP")()
            with pytest.raises(Stopped, match="SIGTERM"):
                me("SIGTERM")()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_thread_takes_no_signals() -> None:
    seen: list[int | None] = []

    def run() -> None:
        with Stops() as stops:
            seen.append(stops.asked)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [None]


@pytest.mark.usefixtures("no_pictures")
def test_a_second_process_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert train(folder, 80) == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    # The lock is the opened file's: to this process, its own is as good as that of another.
    with locked(folder):
        assert main(["train", "--resume", str(folder), "--timesteps", "200"]) == 2
    error = capsys.readouterr().err
    assert f"another process trains in {folder} (process {os.getpid()} on " in error
    assert error.count("\n") == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert main(["train", "--resume", str(folder), "--timesteps", "120"]) == 0


def test_a_dead_process_holds_no_lock(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time; from plastic_rl.runs.lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(BlockingIOError, match=f"process {process.pid} on "), locked(tmp_path):
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    assert (tmp_path / LOCK).exists()
    with locked(tmp_path):
        assert str(os.getpid()) in (tmp_path / LOCK).read_text()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["fcntl", "fcntl.flock"])
def test_where_there_are_no_locks_that_is_said(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(f"plastic_rl.runs.lock.{name}", None if name == "fcntl" else fail)
    with locked(tmp_path):
        pass
    out = capsys.readouterr().out
    assert "see to it that nothing else trains" in out
    assert str(tmp_path) in out


@pytest.mark.usefixtures("no_pictures")
def test_a_run_that_died_before_its_first_save_begins_again(tmp_path: Path) -> None:
    whole, claimed = tmp_path / "whole", tmp_path / "claimed"
    assert train(whole, 200) == 0
    assert train(claimed, 200) == 0
    for path in claimed.iterdir():
        if path.name != "config.yml":
            path.unlink()
    assert main(["train", "--resume", str(claimed)]) == 0
    assert saved(claimed).num_timesteps == 200
    one, other = saved(whole).policy.state_dict(), saved(claimed).policy.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert len(runs.read_monitor(claimed)["r"]) == 10


@pytest.mark.parametrize("seconds", ["-1", "nan", "soon", "inf"])
def test_what_is_no_interval_is_named(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "PlasticMaze-v0", "--save-every", seconds]) == 2
    assert f"'{seconds}' is not a number of seconds, at least 0" in capsys.readouterr().err


def wait_for(log: Path, rows: int, is_over: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text().count("\n") > rows):
        assert time.monotonic() < deadline
        assert not is_over()
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="hands over a terminal as Linux does")
def test_a_terminal_that_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = ["-m", "plastic_rl", "train", "PlasticMaze-v0", "--timesteps", ENDLESS, "--output", str(folder)]
    outer, inner = os.openpty()
    process = subprocess.Popen(
        [sys.executable, *command, *TINY],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    os.close(inner)
    try:
        wait_for(folder / "monitor.csv", 20, lambda: process.poll() is not None)
        os.close(outer)
        assert process.wait(60) == 129
    finally:
        process.kill()
    assert saved(folder).num_timesteps >= 10 * ROLLOUT
    assert saved(folder).num_timesteps % ROLLOUT == 0


def test_output_that_nobody_reads_ends_no_training(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = ["train", "PlasticMaze-v0", "--timesteps", "200", "--output", str(tmp_path / "run"), *TINY]
    with open(writing, "w") as nobody:
        done = subprocess.run(
            [sys.executable, "-m", "plastic_rl", *command],
            stdout=nobody,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert saved(tmp_path / "run").num_timesteps == 200
