"""An algorithm of one's own on recurrent rollouts: one loss and one loop, from outside the package."""

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.policies import ActorCriticPolicy

from plastic_rl import PlasticPolicy
from plastic_rl.training import PlasticA2C, PlasticOnPolicyAlgorithm, PlasticPPO


class Clipped(PlasticA2C):
    """A clipped surrogate (Schulman et al., 2017), two epochs over two groups of environments."""

    def update(self, policy, rollout):
        for _ in range(2):
            for group in rollout.split(2):
                values, log_prob, entropy = group.evaluate(policy)
                ratio = (log_prob - group.old_log_prob).exp()
                advantages = group.advantages - group.advantages.mean()
                surrogate = torch.min(advantages * ratio, advantages * ratio.clamp(0.8, 1.2))
                value_loss = (group.returns - values).square().mean()
                self.gradient_step(0.5 * value_loss - surrogate.mean() - 0.01 * entropy.mean())
        self._n_updates += 1
        self.record_update(policy)


def make(recall, n_envs=16, policy="MlpPolicy", **options):
    settings = {
        "learning_rate": 3e-3,
        "n_steps": 12,
        "gae_lambda": 0.95,
        "use_rms_prop": False,
        "seed": 0,
        "device": "cpu",
        "policy_kwargs": {"hidden_size": 32, "eta": 0.1, "alpha_init": 0.1, "w_init": 0.1},
    }
    return Clipped(policy, make_vec_env(recall, n_envs, seed=0), **{**settings, **options})


def test_it_learns_a_task_that_needs_memory(recall):
    model = make(recall).learn(16_000)
    mean, _ = evaluate_policy(model, make_vec_env(recall, 8, seed=1000), n_eval_episodes=200)
    assert not isinstance(mean, list)
    assert mean > 0.95


def test_it_is_saved_and_loaded(recall, tmp_path):
    model = make(recall, n_envs=2).learn(48)
    model.save(tmp_path / "model")
    loaded = Clipped.load(tmp_path / "model", env=model.env)
    loaded.learn(24)
    obs = np.ones((2, 3), np.float32)
    assert loaded._n_updates == 3
    assert loaded.predict(obs)[1].trace.shape == (2, 32, 32)


def rollout_of(model):
    _, callback = model._setup_learn(1000)
    for _ in range(2):
        model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
    return model.last_rollout()


@pytest.mark.parametrize("share", [True, False])
def test_groups_are_whole_sequences_of_some_environments(recall, share):
    kwargs = {
        "hidden_size": 8,
        "w_init": 0.5,
        "alpha_init": 0.5,
        "eta": 0.3,
        "share_features_extractor": share,
    }
    model = make(recall, n_envs=5, n_steps=10, policy_kwargs=kwargs)
    rollout = rollout_of(model)
    assert (rollout.n_steps, rollout.n_envs) == (10, 5)
    with torch.no_grad():
        whole = rollout.evaluate(model.policy)
    for name, now, then in zip("vl", whole, (rollout.old_values, rollout.old_log_prob), strict=False):
        torch.testing.assert_close(now, then, rtol=1e-4, atol=1e-5, msg=name)
    groups = rollout.split(2, torch.Generator().manual_seed(0))
    assert sorted(group.n_envs for group in groups) == [2, 3]
    order = torch.randperm(5, generator=torch.Generator().manual_seed(0))
    for group, index in zip(groups, order.tensor_split(2), strict=True):
        assert group.recording is None
        assert torch.equal(group.advantages, rollout.advantages[:, index])
        assert torch.equal(group.observations, rollout.observations[:, index])
        assert torch.equal(group.initial_state.actor.trace, rollout.initial_state.actor.trace[index])
        assert group.initial_state.actor.trace.abs().max() > 0
        for now, all_of_it in zip(group.evaluate(model.policy), whole, strict=True):
            torch.testing.assert_close(now, all_of_it[:, index], rtol=1e-4, atol=1e-5)


def test_the_first_pass_over_the_whole_rollout_is_the_recorded_one(recall):
    rollout = rollout_of(make(recall, n_envs=3))
    (same,) = rollout.split(1)
    assert same is rollout
    assert rollout.recording.is_current()
    rollout.evaluate(rollout.recording.policy)
    assert not rollout.recording.is_current()


@pytest.mark.parametrize("n_groups", [0, 4])
def test_as_many_groups_as_there_are_environments(recall, n_groups):
    with pytest.raises(ValueError, match="n_groups must be between 1 and 3 environments, got"):
        rollout_of(make(recall, n_envs=3)).split(n_groups)


def test_gradients_can_be_averaged_before_they_are_used(recall):
    class Doubled(Clipped):
        def reduce_gradients(self, weight=1.0):
            self.seen = [p.grad.clone() for p in self.policy.parameters() if p.grad is not None]
            for parameter in self.policy.parameters():
                if parameter.grad is not None:
                    parameter.grad.zero_()

    model = make(recall, n_envs=2)
    model.__class__ = Doubled
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(24)
    assert max(gradient.abs().max() for gradient in model.seen) > 0
    for name, value in model.policy.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_memoryless_policy_is_left_to_sb3(recall):
    class Nothing(PlasticOnPolicyAlgorithm, A2C):
        pass

    env = make_vec_env(recall, 2, seed=0)
    assert Nothing(ActorCriticPolicy, env).learn(40)._n_updates == 4
    with pytest.raises(NotImplementedError):
        Nothing(PlasticPolicy, env).learn(40)


@pytest.mark.parametrize("algorithm", [PlasticA2C, PlasticPPO, Clipped])
def test_a_tensorboard_run_has_the_name_of_the_class_that_learned(algorithm, recall, tmp_path):
    pytest.importorskip("tensorboard")
    env = make_vec_env(recall, 2)
    model = algorithm("MlpPolicy", env, n_steps=4, device="cpu", tensorboard_log=str(tmp_path))
    model.learn(8)
    model.learn(8, tb_log_name="mine")
    assert {path.name for path in tmp_path.iterdir()} == {f"{algorithm.__name__}_1", "mine_1"}
