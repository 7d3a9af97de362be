"""The LSTM baseline: it remembers and forgets as it should, and PlasticA2C trains it through time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import plastic_rl
from plastic_rl.training.rollout import can_record


@pytest.fixture
def lstm() -> Any:
    from benchmarks import lstm_policy

    return lstm_policy


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
    state = state._replace(hidden=torch.randn_like(state.hidden))
    with torch.no_grad():
        y, last = core(features, state, starts)
        for t in range(9):
            y_t, state = core.step(features[t], state, starts[t])
            assert torch.allclose(y_t, y[t], atol=1e-6)
    assert torch.allclose(state.hidden, last.hidden, atol=1e-6)
    # Nothing from before a start is left after it.
    fresh, _ = core(features[6:], core.initial_state(3))
    assert torch.allclose(fresh, y[6:], atol=1e-6)
    assert not torch.allclose(fresh, core(features[6:], last)[0], atol=1e-3)


def test_it_is_as_large_as_asked_for(lstm: Any) -> None:
    model = make_model(lstm)
    space = model.observation_space
    for n in (5, 139):
        policy = make_model(lstm, policy_kwargs={"hidden_size": n}).policy
        assert lstm.lstm_size(space, 4, lstm.count_weights(policy)) == n
    plastic = plastic_rl.PlasticA2C("MlpPolicy", model.env, policy_kwargs={"hidden_size": 200}).policy
    size = lstm.lstm_size(space, 4, lstm.count_weights(plastic))
    assert lstm.count_weights(make_model(lstm, policy_kwargs={"hidden_size": size}).policy) == pytest.approx(
        lstm.count_weights(plastic), rel=0.01
    )


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
    actions = model._buffer_actions(buffer)
    values, log_prob, _ = model._evaluate_rollout(model.policy, buffer, actions)
    assert torch.allclose(log_prob, torch.as_tensor(buffer.log_probs).flatten(), atol=1e-5)
    assert torch.allclose(values.flatten(), torch.as_tensor(buffer.values).flatten(), atol=1e-5)


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
    assert state.hidden.shape == (3, 10)
