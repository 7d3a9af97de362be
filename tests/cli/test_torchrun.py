"""``torchrun -m plastic_rl train``: one run of several processes, its folder, its end."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from plastic_rl.cli.main import main
from plastic_rl.runs import folder as runs
from plastic_rl.runs.plain_data import read_plain

MAZE = ["PlasticMaze-v0", "--env-kwargs", "size:5", "max_episode_steps:12", "--hyperparams", "n_steps:6"]
MAZE += ["policy_kwargs.hidden_size:5", "policy_kwargs.backend:reference", "--seed", "1"]


def torchrun(*arguments: str) -> subprocess.Popen:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.Popen(
        [*launcher, "-m", "plastic_rl", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def train(*arguments: str) -> str:
    process = torchrun("train", *arguments)
    output, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    return output


def returns(folder: Path) -> list[float]:
    return runs.read_monitor(folder / runs.MONITOR)["r"].tolist()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a run of two processes, and what they said."""
    folder = tmp_path_factory.mktemp("torchrun") / "run"
    output = train(*MAZE, "--n-envs", "8", "--timesteps", "480", "--output", str(folder))
    return folder, output


def test_one_run_of_all_environments(trained):
    folder, output = trained
    assert "480 steps, 8 environments in 2 processes, seed 1" in output
    assert output.count("Training plastic_a2c") == output.count("480 steps in") == 1
    record = runs.read_config(folder)
    assert (record.n_envs, record.n_timesteps, record.seed) == (8, 480, 1)
    assert (folder / runs.CURVE).is_file()
    # 60 steps of each environment in episodes of 12.
    assert len(returns(folder)) == 40
    states = read_plain(folder / "training_state.safetensors")["states"]
    assert len(states) == 2
    assert states[0]["num_timesteps"] == 480
    assert not np.array_equal(states[0]["generators"]["torch"], states[1]["generators"]["torch"])


def test_any_number_of_processes_goes_on(trained, capsys):
    folder, _ = trained
    assert main(["train", "--resume", str(folder), "--timesteps", "960"]) == 0
    output = capsys.readouterr().out
    assert "from step 480" in output
    assert "New episodes begin" in output
    assert len(returns(folder)) == 80
    model = runs.find_model(folder)
    assert main(["evaluate", str(model), "--episodes", "3"]) == 0


@pytest.mark.slow
def test_as_many_processes_go_on_to_the_bit(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    arguments = [*MAZE, "--n-envs", "5", "--hyperparams", "normalize:true", "learning_rate:0.01"]
    train(*arguments, "--timesteps", "600", "--output", str(whole))
    train(*arguments, "--timesteps", "300", "--output", str(parts))
    output = train("--resume", str(parts), "--timesteps", "600")
    assert "New episodes begin" not in output
    assert returns(parts) == returns(whole)
    for name in ("model.zip", "normalize.json"):
        assert (parts / name).exists()
    assert (parts / "normalize.json").read_text() == (whole / "normalize.json").read_text()


@pytest.mark.slow
def test_whole_episodes_in_shares_of_a_batch(tmp_path):
    folder = tmp_path / "run"
    arguments = ["PlasticPatternMemory-v0", "--env-kwargs", "n_bits:8", "--timesteps", "20000"]
    output = train(*arguments, "--hyperparams", "batch_size:6", "--output", str(folder))
    assert "batches of 6 episodes in 2 processes" in output
    assert len(returns(folder)) % 6 == 0


@pytest.mark.slow
def test_a_signal_ends_all_and_saves_once(tmp_path):
    folder = tmp_path / "run"
    process = torchrun("train", *MAZE, "--n-envs", "8", "--timesteps", "100000000", "--output", str(folder))
    deadline = time.monotonic() + 120
    log = folder / runs.MONITOR
    # It goes on once its first episodes are logged.
    while (not log.is_file() or log.stat().st_size < 500) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert output.count("Interrupted at step") == 1
    steps = int(output.split("Interrupted at step ")[1].split()[0].replace(",", ""))
    assert len(read_plain(folder / "training_state.safetensors")["states"]) == 2
    assert "from step " + f"{steps:,}" in train("--resume", str(folder), "--timesteps", str(steps + 480))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--n-envs", "1"], "n_envs must be at least 2, one for each of the processes, got 1"),
        pytest.param(
            ["--n-envs", "4", "--algo", "a2c"],
            "--algo a2c trains in one process: several train plastic_a2c, plastic_ppo, supervised",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_bad_input_is_said_once(tmp_path, arguments, words):
    folder = tmp_path / "run"
    process = torchrun("train", "PlasticMaze-v0", *arguments, "--output", str(folder))
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.count("plastic-rl: error:") == errors.count(words) == 1, errors
    assert "Traceback" not in errors.split("torch/distributed")[0]
    assert not folder.exists()


def test_no_place_to_meet_is_one_line(monkeypatch, capsys, tmp_path):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert main(["train", "PlasticMaze-v0", "--output", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.startswith("plastic-rl: error: MASTER_ADDR must say where the 2 processes")
    # The others leave it to the first one.
    monkeypatch.setenv("RANK", "1")
    assert main(["train", "PlasticMaze-v0", "--output", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "run").exists()
