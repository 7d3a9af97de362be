"""The LSTM of examples/own_core.py: a core unknown to the package, with a state of its own kind."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

import plastic_rl
from plastic_rl.training.rollout import can_record

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not (ROOT / "examples").is_dir(), reason="not a checkout")


@pytest.fixture
def lstm(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT))
    from examples import own_core

    return own_core


def make_model(lstm: Any, **options: Any) -> plastic_rl.PlasticA2C:
    env = plastic_rl.make_vec_env("PlasticMaze-v0", 3, seed=0, env_kwargs={"max_episode_steps": 7})
    settings = {"n_steps": 10, "seed": 0, "device": "cpu", "policy_kwargs": {"hidden_size": 5}}
    return plastic_rl.PlasticA2C(lstm.LstmPolicy, env, **{**settings, **options})


def test_a_sequence_is_its_steps_one_by_one(lstm: Any) -> None:
    torch.manual_seed(0)
    core = lstm.LstmCore(4, 5)
    features, starts = torch.randn(9, 3, 4), torch.zeros(9, 3, dtype=torch.bool)
    starts[0], starts[4, 1], starts[6] = True, True, True
    state = core.initial_state(3)
    state = lstm.LstmState(torch.randn(3, 5), torch.randn(3, 5))
    with torch.no_grad():
        y, last = core(features, state, starts)
        for t in range(9):
            y_t, state = core.step(features[t], state, starts[t])
            assert torch.allclose(y_t, y[t], atol=1e-6)
    assert torch.allclose(state.hidden, last.hidden, atol=1e-6)
    assert torch.allclose(state.cell, last.cell, atol=1e-6)
    # Nothing from before a start is left after it.
    fresh, _ = core(features[6:], core.initial_state(3))
    assert torch.allclose(fresh, y[6:], atol=1e-6)
    assert not torch.allclose(fresh, core(features[6:], last)[0], atol=1e-3)


def test_training_goes_through_the_whole_rollout(lstm: Any) -> None:
    model = make_model(lstm, learning_rate=0.01)
    assert not can_record(model.policy, model.rollout_buffer)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(60)
    for name, value in model.policy.state_dict().items():
        assert not torch.equal(value, before[name]), name
    # The rollout's log-probabilities are those of the sequence that the update runs.
    model.learn(30)
    model = make_model(lstm, learning_rate=1e-12)
    model.learn(60)
    buffer = model.rollout_buffer
    values, log_prob, _ = model.last_rollout().evaluate(model.policy)
    assert torch.allclose(log_prob, torch.as_tensor(buffer.log_probs), atol=1e-5)
    assert torch.allclose(values, torch.as_tensor(buffer.values), atol=1e-5)


def test_it_can_be_saved_and_acts_again_as_before(lstm: Any, tmp_path: Path) -> None:
    model = make_model(lstm)
    model.save(tmp_path / "model")
    again = plastic_rl.PlasticA2C.load(tmp_path / "model", device="cpu")
    obs, state, other = np.ones((3, 10), dtype=np.float32), None, None
    for _ in range(3):
        action, state = model.predict(obs, state, deterministic=True)
        same, other = again.predict(obs, other, deterministic=True)
        np.testing.assert_array_equal(action, same)
        np.testing.assert_array_equal(state.hidden, other.hidden)
        np.testing.assert_array_equal(state.cell, other.cell)
    assert isinstance(state, lstm.LstmState)
    assert state.cell.shape == (3, 5)


def test_predict_zeroes_and_checks_a_state_of_its_own_kind(lstm: Any) -> None:
    model = make_model(lstm)
    obs = np.random.default_rng(0).random((2, 3, 10), dtype=np.float32)
    _, state = model.predict(obs[0])
    _, kept = model.predict(obs[1], state)
    _, reset = model.predict(obs[1], state, episode_start=np.array([False, True, False]))
    _, fresh = model.predict(obs[1])
    for part, of_kept, of_fresh in zip(reset, kept, fresh, strict=True):
        np.testing.assert_array_equal(part[[0, 2]], of_kept[[0, 2]])
        np.testing.assert_array_equal(part[1], of_fresh[1])
        assert not np.array_equal(of_kept[1], of_fresh[1])
    with pytest.raises(ValueError, match=r"hidden \(3, 5\) and cell \(3, 5\) .* got hidden \(2, 5\)"):
        model.predict(obs[1], lstm.LstmState(*(part[:2] for part in state)))


def test_time_limits_bootstrap_and_evaluation_runs(lstm: Any) -> None:
    env = make_vec_env(lambda: gym.make("CartPole-v1", max_episode_steps=7), 3, seed=0)
    kwargs = {"hidden_size": 5, "share_features_extractor": False}
    model = plastic_rl.PlasticA2C(lstm.LstmPolicy, env, n_steps=10, seed=0, policy_kwargs=kwargs)
    model.learn(30)
    # Each step gives 1. The seventh is cut off: its reward has the value of what would have come in it.
    rewards = model.rollout_buffer.rewards
    assert (rewards[:6] == 1).all()
    assert (np.abs(rewards[6] - 1) > 1e-4).all()
    mean, _ = evaluate_policy(model, model.env, n_eval_episodes=3)
    assert np.isfinite(mean)


def test_what_is_no_core_is_named() -> None:
    class Half(plastic_rl.PlasticPolicy):
        def _make_core(self) -> Any:
            return torch.nn.LSTM(self.features_dim, self.hidden_size)

    with pytest.raises(ValueError, match="got LSTM without initial_state, step, scaled_parameters"):
        plastic_rl.PlasticA2C(Half, "CartPole-v1")
