"""What ``predict`` returns can be given to whatever of the policy takes a state."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from plastic_rl import PlasticA2C, PlasticPolicy
from plastic_rl.policies import PolicyState

N_ENVS = 3
OBS = spaces.Box(-1, 1, (2,), np.float32)


class Pair(nn.Module):
    """A core whose state is a plain pair."""

    def __init__(self, features):
        super().__init__()
        self.layer = nn.Linear(features + 8, 8)

    def initial_state(self, batch_size):
        return torch.zeros(batch_size, 8), torch.zeros(batch_size, 1)

    def forward(self, features, state, episode_starts=None):
        ys = []
        for t, step in enumerate(features):
            y, state = self.step(step, state, None if episode_starts is None else episode_starts[t])
            ys.append(y)
        return torch.stack(ys), state

    def step(self, features, state, episode_start=None):
        hidden, count = state
        if episode_start is not None:
            hidden = hidden.masked_fill(episode_start[:, None], 0)
        y = torch.tanh(self.layer(torch.cat([features, hidden], dim=-1)))
        return y, (y, count + 1)

    def scaled_parameters(self):
        return []


class OwnCore(PlasticPolicy):
    def _make_core(self):
        return Pair(self.features_dim)


class Space(gym.Env):
    observation_space = OBS
    action_space = spaces.Discrete(4)


def make(policy=PlasticPolicy, **kwargs):
    strong = {"hidden_size": 8, "eta": 0.3, "w_init": 0.5, "alpha_init": 0.5, **kwargs}
    policy = PlasticA2C(policy, Space(), policy_kwargs=strong, seed=0).policy
    with torch.no_grad():
        policy.action_net.weight.mul_(100)
    return policy


def observations(seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (N_ENVS, 2)).astype(np.float32)


def lived(policy, n_steps=4):
    """The states after some steps: as NumPy arrays from predict, as tensors from forward."""
    arrays, tensors = None, policy.initial_state(N_ENVS)
    for t in range(n_steps):
        obs = observations(t)
        with torch.no_grad():
            tensors = policy(torch.tensor(obs), tensors)[3]
        arrays = policy.predict(obs, arrays)[1]
    return arrays, tensors


@pytest.mark.parametrize("policy", [PlasticPolicy, OwnCore])
def test_what_predict_returned_gives_the_same_as_the_state_of_forward(policy):
    policy = make(policy)
    arrays, tensors = lived(policy)
    obs, starts = torch.tensor(observations(9)), np.array([False, True, False])
    actions = torch.tensor([0, 1, 2])
    forms = (arrays, list(arrays), PolicyState(arrays), tensors.actor, tensors)
    values = [policy.predict_values(obs, form, starts) for form in forms]
    log_probs = [policy.get_distribution(obs, form, starts).log_prob(actions) for form in forms]
    evaluated = [policy.evaluate_actions(obs, actions, form, starts) for form in forms]
    for value, log_prob, (value_again, log_prob_again, _) in zip(values, log_probs, evaluated, strict=True):
        torch.testing.assert_close(value, values[-1])
        torch.testing.assert_close(value_again, value)
        torch.testing.assert_close(log_prob, log_probs[-1])
        torch.testing.assert_close(log_prob_again, log_prob)
    # The state counts, but where an episode starts.
    fresh = policy.predict_values(obs)
    assert ((fresh - values[0]).abs().squeeze(1) > 1e-4).tolist() == [True, False, True]
    torch.manual_seed(0)
    wanted = policy(obs, tensors, torch.tensor(starts))
    torch.manual_seed(0)
    given = policy(obs, arrays, starts)
    for one, other in zip(given[:3], wanted[:3], strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(given[3].actor[0], wanted[3].actor[0])


def test_what_is_given_stays_as_it_is():
    policy = make()
    arrays, _ = lived(policy)
    before = [part.copy() for part in arrays]
    with torch.no_grad():
        policy(torch.tensor(observations()), arrays, np.ones(N_ENVS, dtype=bool))
    for part, was in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(part, was)


def test_gradients_go_back_through_a_state_of_tensors():
    policy = make()
    state = lived(policy)[1].actor.map(lambda part: part.clone().requires_grad_())
    policy.predict_values(torch.tensor(observations()), state).sum().backward()
    assert state.trace.grad.abs().max() > 0


def test_a_critic_of_its_own_needs_its_own_memory():
    policy = make(share_features_extractor=False)
    arrays, tensors = lived(policy)
    obs, actions = torch.tensor(observations(9)), torch.zeros(N_ENVS, dtype=torch.long)
    asked = (
        lambda state: policy.predict_values(obs, state),
        lambda state: policy.evaluate_actions(obs, actions, state),
        lambda state: policy(obs, state),
    )
    for ask in asked:
        for state in (arrays, PolicyState(arrays), tensors._replace(critic=None)):
            with pytest.raises(ValueError, match=r"state must have the critic's memory.*core of its own"):
                ask(state)
        ask(tensors)
    as_arrays = tensors.map(lambda part: part.numpy())
    torch.testing.assert_close(policy.predict_values(obs, as_arrays), policy.predict_values(obs, tensors))
    # The distribution is the actor's.
    log_prob = policy.get_distribution(obs, arrays).log_prob(actions)
    torch.testing.assert_close(log_prob, policy.get_distribution(obs, tensors).log_prob(actions))


def test_a_state_that_does_not_fit_is_named():
    policy = make()
    arrays, _ = lived(policy)
    obs = torch.tensor(observations())
    for wrong in (
        arrays[:1],
        (*arrays, arrays[0]),
        (arrays[0], arrays[1][:, :3]),
        (),
        3.0,
        PolicyState(None),
    ):
        with pytest.raises(ValueError, match="state must be what predict returned"):
            policy.predict_values(obs, wrong)
    with pytest.raises(ValueError, match="obs must be steps of the state's 3 environments, got 2"):
        policy.predict_values(obs[:2], arrays)
