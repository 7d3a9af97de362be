"""Models and their policies can be copied at any time: nothing that they keep holds a graph."""

import copy
import gc

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env

from plastic_rl import PlasticA2C, PlasticPolicy, PlasticPPO, SupervisedMetaLearner

SMALL = {"hidden_size": 6}
BOX = spaces.Box(-1, 1, (3,), np.float32)
CASES = {
    "categorical": (spaces.Discrete(3), {}, {}),
    "multi_categorical": (spaces.MultiDiscrete([3, 2]), {}, {}),
    "bernoulli": (spaces.MultiBinary(2), {}, {}),
    "gaussian": (spaces.Box(-1, 1, (2,), np.float32), {}, {}),
    "gsde": (spaces.Box(-1, 1, (2,), np.float32), {"use_sde": True, "sde_sample_freq": 2}, {}),
    "squashed_gsde": (spaces.Box(-1, 1, (2,), np.float32), {"use_sde": True}, {"squash_output": True}),
    "two_cores": (spaces.Discrete(3), {}, {"share_features_extractor": False}),
}


class OwnForward(PlasticPolicy):
    """Not recorded: its update runs the rollout again."""

    def forward(self, *args, **kwargs):
        return super().forward(*args, **kwargs)


@pytest.fixture(scope="module", autouse=True)
def others_aside():
    """What was there before these tests need not be searched, over and over again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def graphs():
    """The tensors alive that lead back to a graph."""
    gc.collect()
    return [held for held in gc.get_objects() if type(held) is torch.Tensor and held.grad_fn is not None]


def predicted(model, obs):
    return model.predict(obs, deterministic=True)


@pytest.mark.parametrize("policy", [PlasticPolicy, OwnForward])
@pytest.mark.parametrize("algorithm", [PlasticA2C, PlasticPPO])
@pytest.mark.parametrize("case", CASES)
def test_copies_hold_no_graph_and_train_on(any_spaces, case, algorithm, policy):
    action_space, kwargs, policy_kwargs = CASES[case]
    env = make_vec_env(lambda: any_spaces(BOX, action_space), n_envs=2, seed=0)
    model = algorithm(policy, env, n_steps=6, policy_kwargs={**SMALL, **policy_kwargs}, **kwargs, seed=0)
    assert not graphs()
    copy.deepcopy(model.policy)
    model.learn(24)
    assert not graphs()

    opponent, twin = copy.deepcopy(model.policy), copy.deepcopy(model)
    obs = env.reset()
    wanted, state = predicted(model, obs)
    weights = {name: value.clone() for name, value in model.policy.state_dict().items()}
    twin.learn(24, reset_num_timesteps=False)
    assert twin.num_timesteps == 48
    assert any(not twin.policy.state_dict()[name].equal(value) for name, value in weights.items())
    # What was copied stays where it was.
    for policy in (model.policy, opponent):
        assert all(policy.state_dict()[name].equal(value) for name, value in weights.items())
        actions, memory = policy.predict(obs, deterministic=True)
        np.testing.assert_array_equal(actions, wanted)
        np.testing.assert_array_equal(memory.trace, state.trace)


def test_a_distribution_stays_what_it_was_when_the_policy_acts_again(any_spaces):
    env = make_vec_env(lambda: any_spaces(BOX, spaces.Box(-1, 1, (2,), np.float32)), n_envs=2, seed=0)
    policy = PlasticA2C("MlpPolicy", env, policy_kwargs=SMALL, seed=0).policy
    first = policy.get_distribution(torch.ones(2, 3))
    mean = first.mode().clone()
    policy.get_distribution(-torch.ones(2, 3))
    assert torch.equal(first.mode(), mean)
    assert mean.abs().min() > 0


def test_a_supervised_model_can_be_copied():
    kwargs = {"policy_kwargs": {"hidden_size": 12}, "batch_size": 2}
    env = make_vec_env("plastic_rl:PlasticPatternMemory-v0", env_kwargs={"n_bits": 10})
    model = SupervisedMetaLearner("PlasticRNNPolicy", env, **kwargs, seed=0)
    model.learn(model.batch_size * 100)
    twin = copy.deepcopy(model)
    twin.learn(model.batch_size * 100, reset_num_timesteps=False)
    assert twin.num_timesteps > model.num_timesteps > 0
