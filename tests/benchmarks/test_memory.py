"""Tasks that need memory: what is learned on them."""

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
