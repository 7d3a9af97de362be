"""PlasticA2C.load_core: a trained core goes on learning in another environment."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy

from plastic_rl import PlasticA2C, PlasticPolicy

CORE = {"core.w", "core.alpha", "core.eta_logit"}
KWARGS = {"hidden_size": 8, "eta": 0.3}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.zip"
    model = PlasticA2C("MlpPolicy", "CartPole-v1", n_steps=10, policy_kwargs=KWARGS, seed=0, device="cpu")
    model.learn(50).save(path)
    return path, model


def make(env="Acrobot-v1", **kwargs):
    return PlasticA2C(
        "MlpPolicy", env, **{"n_steps": 10, "policy_kwargs": KWARGS, "seed": 1, "device": "cpu", **kwargs}
    )


@pytest.mark.parametrize("env", ["Acrobot-v1", "Pendulum-v1", "PlasticMaze-v0"])
def test_a_core_goes_on_learning_in_another_environment(saved, env):
    path, source = saved
    model = make(env)
    transfer = model.load_core(path)
    assert set(transfer.copied) == CORE
    assert "core.drive.weight" in transfer.fresh
    assert "action_net.weight" in transfer.fresh
    assert torch.equal(model.policy.core.w, source.policy.core.w)
    model.learn(20)
    assert not torch.equal(model.policy.core.w, source.policy.core.w)


@pytest.mark.parametrize("use_rms_prop", [True, False])
def test_after_training_the_moments_and_the_memory_start_anew(saved, use_rms_prop):
    path, _ = saved
    model = make(use_rms_prop=use_rms_prop)
    model.learn(10)
    assert model._state.actor.hidden.abs().max() > 0
    model.load_core(path)
    assert model._state.actor.hidden.abs().max() == 0
    assert model._state.actor.trace.abs().max() == 0
    assert model.policy.core.w not in model.policy.optimizer.state
    assert model.policy.core.drive.weight in model.policy.optimizer.state
    model.learn(10, reset_num_timesteps=False)
    assert model.num_timesteps == 20


class LoadAtRolloutEnd(BaseCallback):
    """Loads the core between a rollout and its update, and keeps what the update must then see."""

    model: PlasticA2C

    def __init__(self, path):
        super().__init__()
        self.path = path

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        self.model.load_core(self.path)
        buffer = self.model.rollout_buffer
        obs = torch.as_tensor(buffer.observations).flatten(0, 1)
        actions = torch.as_tensor(buffer.actions).flatten().long()
        starts = torch.as_tensor(buffer.episode_starts).bool()
        policy = self.model.policy
        assert isinstance(policy, PlasticPolicy)
        with torch.no_grad():
            values, _, _ = policy.evaluate_actions(obs, actions, policy.initial_state(1), starts)
        returns = torch.as_tensor(buffer.returns).flatten()
        self.expected = torch.nn.functional.mse_loss(returns, values.flatten())


def test_an_update_after_loading_uses_the_new_core(saved):
    model = make()
    callback = LoadAtRolloutEnd(saved[0])
    model.learn(10, callback)
    assert model.logger.name_to_value["train/value_loss"] == pytest.approx(callback.expected.item(), rel=1e-5)


@pytest.mark.parametrize("trained", [False, True])
def test_what_was_copied_is_logged_if_verbose(saved, capsys, trained):
    for verbose in (0, 1):
        model = make(verbose=verbose)
        if trained:
            model.learn(10)
        capsys.readouterr()
        model.load_core(saved[0])
        out = capsys.readouterr().out
        assert (str(saved[0]) in out and "core.w" in out and "action_net.weight" in out) == bool(verbose)


def test_another_kind_of_core_or_none_is_refused(saved):
    with pytest.raises(ValueError, match=r"hidden_size=8.*hidden_size=4"):
        make(policy_kwargs={"hidden_size": 4}).load_core(saved[0])
    model = PlasticA2C(ActorCriticPolicy, "CartPole-v1", device="cpu")
    with pytest.raises(ValueError, match=r"plastic policy.*ActorCriticPolicy"):
        model.load_core(saved[0])


def test_a_model_with_a_transferred_core_can_be_saved_and_loaded(saved, tmp_path):
    model = make()
    model.load_core(saved[0])
    model.save(tmp_path / "again.zip")
    again = PlasticA2C.load(tmp_path / "again.zip", env=gym.make("Acrobot-v1"), device="cpu")
    assert torch.equal(again.policy.core.w, model.policy.core.w)
    assert set(make().load_core(tmp_path / "again.zip").copied) == CORE


def test_load_itself_refuses_other_spaces(saved):
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        PlasticA2C.load(saved[0], env=gym.make("Acrobot-v1"))

    class ThreeActions(gym.ActionWrapper):
        action_space = gym.spaces.Discrete(3)  # type: ignore[override]

    with pytest.raises(ValueError, match="Action spaces do not match"):
        PlasticA2C.load(saved[0], env=ThreeActions(gym.make("CartPole-v1")))
    model = PlasticA2C.load(saved[0], env=gym.make("CartPole-v1"))
    assert model.predict(np.zeros(4, np.float32))[0] in (0, 1)
