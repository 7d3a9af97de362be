"""Acting serves as the training pass only where the policy computes the same in both modes."""

import logging
import random

import pytest
import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import FlattenExtractor, MlpExtractor
from torch import nn

from plastic_rl import PlasticA2C, PlasticPolicy
from plastic_rl.training.rollout import can_record


def drop(module, x):
    return nn.functional.dropout(x, 0.5, module.training)


class DropoutThroughAHelper(FlattenExtractor):
    def forward(self, observations):
        return drop(self, super().forward(observations))


class RareDropout(FlattenExtractor):
    def forward(self, observations):
        return nn.functional.dropout(super().forward(observations), 1e-6, self.training)


class BatchNorm(FlattenExtractor):
    def __init__(self, observation_space):
        super().__init__(observation_space)
        self.norm = nn.BatchNorm1d(self.features_dim)

    def forward(self, observations):
        return self.norm(super().forward(observations))


class NoiseInBothModes(FlattenExtractor):
    def forward(self, observations):
        features = super().forward(observations)
        return features + 0.1 * torch.randn_like(features)


class PythonsNoise(FlattenExtractor):
    def forward(self, observations):
        return super().forward(observations) + float(self.training and random.random())


class Failing(FlattenExtractor):
    def forward(self, observations):
        if self.training:
            raise RuntimeError("not on such observations")
        return super().forward(observations)


class DroppingHeads(PlasticPolicy):
    def _build_mlp_extractor(self):
        super()._build_mlp_extractor()
        self.drop = nn.Dropout(0.5)

    def values(self, y):
        return super().values(self.drop(y))


class Harmless(FlattenExtractor):
    def forward(self, observations):
        self.last = super().forward(observations) * (1.0 + 0.0 * self.training)
        return self.last


class OwnForward(PlasticPolicy):
    def forward(self, *args, **kwargs):
        return super().forward(*args, **kwargs)


def make(extractor=FlattenExtractor, policy=PlasticPolicy, **options):
    env = make_vec_env("CartPole-v1", 2, seed=0)
    kwargs = {"features_extractor_class": extractor, "hidden_size": 8, **options}
    return PlasticA2C(policy, env, n_steps=32, seed=0, device="cpu", policy_kwargs=kwargs)


DIFFERENT = [DropoutThroughAHelper, RareDropout, BatchNorm, NoiseInBothModes, PythonsNoise, Failing]


@pytest.mark.parametrize("extractor", DIFFERENT)
def test_features_that_depend_on_the_mode_are_not_recorded(extractor):
    model = make(extractor)
    assert not can_record(model.policy, model.rollout_buffer)


def test_heads_that_depend_on_the_mode_are_not_recorded():
    model = make(policy=DroppingHeads)
    assert not can_record(model.policy, model.rollout_buffer)


@pytest.mark.parametrize("use", [{}, {"extractor": Harmless}, {"share_features_extractor": False}])
def test_what_is_the_same_in_both_modes_is_recorded(use):
    model = make(**use)
    assert can_record(model.policy, model.rollout_buffer)
    model.learn(64)
    assert model._recorder is not None


@pytest.mark.parametrize("extractor", [DropoutThroughAHelper, BatchNorm, FlattenExtractor])
def test_the_updates_values_are_those_of_a_true_training_pass(extractor):
    def values(policy):
        torch.manual_seed(0)
        model = make(extractor, policy)
        _, model._callback = model._setup_learn(10**6)
        model.collect_rollouts(model.env, model._callback, model.rollout_buffer, 32)
        model.policy.set_training_mode(True)
        torch.manual_seed(1)
        return model.last_rollout().evaluate(model.policy)[0].detach()

    torch.testing.assert_close(values(PlasticPolicy), values(OwnForward), rtol=1e-4, atol=1e-5)


def test_trying_changes_nothing_and_is_logged_once(caplog):
    model = make(BatchNorm)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    states = torch.get_rng_state(), random.getstate()
    model.policy.set_training_mode(True)
    with caplog.at_level(logging.INFO, logger="plastic_rl"):
        for _ in range(3):
            assert not can_record(model.policy, model.rollout_buffer)
    assert [record.getMessage() for record in caplog.records] == [
        "PlasticPolicy: every update runs its rollout again, because its features are not the same in "
        "training and in evaluation mode"
    ]
    assert model.policy.training
    for name, value in model.policy.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]


def test_an_exchanged_module_is_tried_anew():
    model = make()
    assert can_record(model.policy, model.rollout_buffer)
    model.policy.features_extractor = BatchNorm(model.observation_space)
    model.policy.pi_features_extractor = model.policy.features_extractor
    assert not can_record(model.policy, model.rollout_buffer)


def test_a_policy_that_was_trained_can_be_tried():
    model = make(Harmless).learn(64)
    model.policy.mlp_extractor = MlpExtractor(8, [], nn.Tanh)
    assert can_record(model.policy, model.rollout_buffer)


def test_a_policy_with_state_dependent_exploration_is_recorded():
    env = make_vec_env("Pendulum-v1", 2, seed=0)
    model = PlasticA2C("MlpPolicy", env, use_sde=True, seed=0, policy_kwargs={"hidden_size": 8})
    assert can_record(model.policy, model.rollout_buffer)
    model.learn(20)
    assert model._recorder is not None
