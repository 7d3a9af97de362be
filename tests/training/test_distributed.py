"""Two processes that train one network do what one process does with all of the environments."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from plastic_rl import PlasticA2C, PlasticPPO
from plastic_rl.training.distributed import Processes, join

RANKS = Path(__file__).with_name("ranks.py")
TRAININGS = ("a2c", "ppo", "supervised")
# Sums of 32-bit numbers in another order.
RTOL, ATOL = 1e-3, 1e-6


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start(folder: Path, *what: str, size: int = 2, **more: str) -> list[subprocess.Popen]:
    """Processes that run parts of ranks.py together."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(size)}
    return [
        subprocess.Popen(
            [sys.executable, str(RANKS), str(folder), *what],
            env={**os.environ, **meeting, "RANK": str(rank), "LOCAL_WORLD_SIZE": str(size), **more},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what one process and two have learned."""
    folder = tmp_path_factory.mktemp("ranks")
    what = (*TRAININGS, "stopped", "statistics", "differs")
    for process in [*start(folder, *what, size=1), *start(folder, *what, size=2)]:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    return folder


@pytest.mark.parametrize("what", TRAININGS)
def test_two_processes_learn_what_one_does(results, what):
    alone, first, second = (np.load(results / f"{what}_{name}.npz") for name in ("1_0", "2_0", "2_1"))
    assert set(alone.files) == set(first.files) == set(second.files)
    for name in alone.files:
        np.testing.assert_allclose(first[name], alone[name], err_msg=name, rtol=RTOL, atol=ATOL)
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert len(alone["returns"]) > 10
    assert np.ptp(alone["returns"]) > 0.01


def test_learning_rate_divergence_and_losses_are_those_of_all_processes(results):
    a2c, ppo = (np.load(results / f"{what}_2_1.npz") for what in ("a2c", "ppo"))
    np.testing.assert_allclose(a2c["train/learning_rate"][1:], [0.008, 0.006, 0.004, 0.002])
    epochs = np.diff(ppo["train/n_updates"][1:])
    assert epochs.min() < 3, "target_kl ends no update"
    assert np.isfinite(a2c["train/explained_variance"][1:]).all()


def test_statistics_are_those_of_all_that_was_seen(results):
    first, second = (np.load(results / f"statistics_2_{rank}.npz") for rank in range(2))
    seen = np.concatenate([first["seen"], second["seen"]])
    for name, expected in (("mean", seen.mean(0)), ("var", seen.var(0))):
        np.testing.assert_allclose(first[name], expected, atol=2e-5)
        np.testing.assert_allclose(first[name], second[name], rtol=1e-12)
    assert np.abs(first["seen"].mean(0) - seen.mean(0)).max() > 1e-3, "both saw the same"
    assert first["ret"] == second["ret"] != 1


def test_a_process_that_is_stopped_stops_all(results):
    updates = [int(np.load(results / f"stopped_{name}.npz")["updates"]) for name in ("1_0", "2_0", "2_1")]
    assert updates == [1, 1, 1]


def test_different_settings_are_named_in_every_process(results):
    said = [str(np.load(results / f"differs_{name}.npz")["error"]) for name in ("1_0", "2_0", "2_1")]
    words = "n_steps must be the same in all processes, got"
    assert said == [
        "",
        f"{words} 6 in process 0 and 7 in process 1",
        f"{words} 7 in process 1 and 6 in process 0",
    ]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("fails", "has ended, so this one ends, too: process 1 of 2: OSError: its disk is full"),
        ("killed", "another process of this training has ended, so this one ends, too"),
    ],
)
def test_a_process_that_cannot_go_on_ends_all(tmp_path, what, words):
    first, second = start(tmp_path, what)
    second.communicate(timeout=300)
    ended = time.monotonic()
    _, errors = first.communicate(timeout=30)
    assert first.returncode
    assert second.returncode
    assert time.monotonic() - ended < 10
    assert words in errors


@pytest.fixture
def launched(monkeypatch):
    """The variables of a process that torchrun has started as one of two, but for where they meet."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)


def test_without_others_training_is_alone(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert join() == join(False) == Processes(0, 1)
    with pytest.raises(ValueError, match=r"distributed=True needs processes .* start them with torchrun"):
        PlasticA2C("MlpPolicy", "CartPole-v1", distributed=True)
    with pytest.raises(ValueError, match="distributed must be true, false or None, got 2"):
        PlasticPPO("MlpPolicy", "CartPole-v1", distributed=2)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "MASTER_ADDR must say where the 2 processes of WORLD_SIZE meet, but is not set"),
        ({"MASTER_ADDR": "localhost"}, "MASTER_PORT must say where"),
        (
            {"MASTER_ADDR": "localhost", "MASTER_PORT": "here"},
            "MASTER_PORT must be a whole number, got 'here'",
        ),
        ({"RANK": "2"}, "RANK must lie between 0 and WORLD_SIZE - 1 = 1, got 2"),
        ({"WORLD_SIZE": "many"}, "WORLD_SIZE must be a whole number, got 'many'"),
    ],
)
def test_variables_that_are_missing_or_wrong_are_named(launched, monkeypatch, variables, words):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=words):
        PlasticA2C("MlpPolicy", "CartPole-v1")
    assert PlasticA2C("MlpPolicy", "CartPole-v1", distributed=False).processes.alone


def test_others_that_do_not_come_are_waited_for_a_while(launched, monkeypatch):
    from datetime import timedelta

    from plastic_rl.training import distributed

    monkeypatch.setattr(distributed, "MEETING", timedelta(seconds=1))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    threads = torch.get_num_threads()
    try:
        with pytest.raises(ValueError, match="the 2 processes of WORLD_SIZE did not meet at MASTER_ADDR"):
            join()
    finally:
        torch.set_num_threads(threads)


def test_shares_differ_by_one_at_most():
    assert [Processes(rank, 4).share("n_envs", 10) for rank in range(4)] == [3, 3, 2, 2]
    with pytest.raises(ValueError, match="n_envs must be at least 4, one for each of the processes, got 3"):
        Processes(3, 4).share("n_envs", 3)


def test_what_several_processes_were_is_not_saved(tmp_path):
    model = PlasticA2C("MlpPolicy", "CartPole-v1", distributed=False)
    model.save(tmp_path / "model")
    assert PlasticA2C.load(tmp_path / "model").distributed is None
