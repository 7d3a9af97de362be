"""Tasks that need memory: what is learned on them, and the benchmark that compares algorithms there."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import plastic_rl
from plastic_rl.runs.hyperparams import load_config
from plastic_rl.training.a2c import PlasticA2C
from plastic_rl.training.evaluation import evaluate

REPEAT = "popgym-RepeatPreviousEasy-v0"


def cartpole_without_velocities() -> gym.Env:
    """RL-Zoo's CartPoleNoVel-v1, made without RL-Zoo."""
    env = gym.make("CartPole-v1")
    mask = np.array([1, 0, 1, 0], np.float32)
    return gym.wrappers.TransformObservation(env, lambda observation: observation * mask, None)


def repeat() -> gym.Env:
    return gym.make(REPEAT)


@pytest.mark.slow
@pytest.mark.long
def test_learns_cartpole_without_velocities() -> None:
    config = load_config("CartPoleNoVel-v1")
    env = plastic_rl.make_vec_env(cartpole_without_velocities, config.n_envs, seed=20)
    model = PlasticA2C(env=env, seed=20, device="cpu", **config.kwargs())
    model.learn(config.n_timesteps)
    score = evaluate(model, plastic_rl.make_vec_env(cartpole_without_velocities, 10, seed=21), 50, True)
    # An agent without memory stays below 60.
    assert score.mean > 400


@pytest.mark.slow
def test_learns_to_repeat_what_was_seen() -> None:
    pytest.importorskip("popgym")
    config = load_config(REPEAT)
    env = plastic_rl.make_vec_env(repeat, config.n_envs, seed=20)
    model = PlasticA2C(env=env, seed=20, device="cpu", **config.kwargs())
    model.learn(config.n_timesteps)
    score = evaluate(model, plastic_rl.make_vec_env(repeat, 10, seed=21), 50, True)
    # Nobody without memory has more than -0.49.
    assert score.mean > 0.5


def test_what_memory_is_worth_in_repeat_previous() -> None:
    """Remembering earns 1; the best without memory is to name any suit but the present card's: -0.49."""
    pytest.importorskip("popgym")
    env = gym.make(REPEAT)
    remembering: list[float] = []
    memoryless: list[float] = []
    for policy, returns in (
        (lambda seen: seen[-4:][0], remembering),
        (lambda seen: (seen[-1] + 1) % 4, memoryless),
    ):
        for seed in range(200):
            seen, total, done = [env.reset(seed=seed)[0]], 0.0, False
            while not done:
                obs, reward, done, _, _ = env.step(policy(seen))
                seen.append(obs)
                total += float(reward)
            returns.append(total)
    np.testing.assert_allclose(remembering, 1)
    assert np.mean(memoryless) == pytest.approx(2 * 13 / 51 - 1, abs=0.03)


@pytest.fixture
def memory() -> ModuleType:
    from benchmarks.science import memory

    return memory


def test_all_algorithms_get_the_same_budget(memory: ModuleType) -> None:
    for env_id in memory.TASKS:
        configs = {name: memory.settings(env_id, learner) for name, learner in memory.LEARNERS.items()}
        assert len({config.n_timesteps for config in configs.values()}) == 1
        kwargs = {name: config.hyperparams.get("policy_kwargs", {}) for name, config in configs.items()}
        assert kwargs["PlasticA2C full"]["alpha"] == "full"
        assert kwargs["PlasticA2C none"]["alpha"] == "none"
        default = load_config("no entry").hyperparams
        assert configs["PlasticA2C full"].hyperparams != default, f"no settings for {env_id}"


def test_benchmark_trains_what_is_missing_and_writes_the_table(
    memory: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("popgym")
    trained = []

    def small(env_id: str, learner: Any) -> Any:
        changed = {"n_timesteps": 120, "n_envs": 2, "n_steps": 20, "policy_kwargs": learner.policy_kwargs}
        if learner.algo == "recurrent_ppo":
            changed |= {"batch_size": 20, "n_epochs": 1}
        return load_config(env_id, learner.algo, overrides=changed)

    def noting(config: Any, seed: int) -> Any:
        trained.append((config.algo, seed))
        return train_and_play(config, seed)

    train_and_play = memory.train_and_play
    monkeypatch.setattr(memory, "settings", small)
    monkeypatch.setattr(memory, "train_and_play", noting)
    monkeypatch.setattr(memory, "EPISODES", 4)
    argv = ["memory.py", "--envs", REPEAT, "--folder", str(tmp_path), "--algorithms", *memory.LEARNERS]
    monkeypatch.setattr(sys, "argv", [*argv, "--seeds", "3"])
    memory.main()
    number = len(memory.LEARNERS)
    assert len(trained) == number
    rows = (tmp_path / "table.md").read_text().splitlines()
    assert len(rows) == 2 + number
    record = json.loads((tmp_path / REPEAT / "PlasticA2C_none_3.json").read_text())
    assert record["settings"]["policy_kwargs"]["alpha"] == "none"
    assert len(record["returns"]) == 4
    assert f"{np.mean(record['returns']):.2f}" in rows[2 + 3]
    assert record["curve"][-1][0] == record["steps"] == 120
    assert (tmp_path / "curves.png").stat().st_size > 10_000

    # A second call adds a seed. Runs with other settings would be trained again.
    monkeypatch.setattr(sys, "argv", [*argv[:-number], "A2C", "--seeds", "3", "4"])
    memory.main()
    assert trained[number:] == [("a2c", 4)]
    assert "A2C | " in capsys.readouterr().out
    run = memory.Run(REPEAT, "PlasticA2C none", 3, record["settings"])
    assert run.is_stored(tmp_path)
    assert not replace(run, settings={**run.settings, "n_steps": 21}).is_stored(tmp_path)
