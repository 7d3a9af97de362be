"""PlasticA2C through the SB3 API."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CheckpointCallback,
    EvalCallback,
    StopTrainingOnMaxEpisodes,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import FakeImageEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize

from plastic_rl import PlasticA2C

SMALL = {"hidden_size": 8, "eta": 0.3, "w_init": 0.5, "alpha_init": 0.5}


def cartpoles(n_envs=3, seed=0):
    return make_vec_env("CartPole-v1", n_envs=n_envs, seed=seed)


def parameters(model):
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


BOX = spaces.Box(-1, 1, (3,), np.float32)


@pytest.mark.parametrize(
    ("observation_space", "policy"),
    [
        (BOX, "MlpPolicy"),
        (spaces.Discrete(5), "MlpPolicy"),
        (spaces.MultiDiscrete([3, 2]), "MlpPolicy"),
        (spaces.MultiBinary(4), "MlpPolicy"),
        (spaces.Dict({"a": BOX, "b": spaces.Discrete(3)}), "MultiInputPolicy"),
    ],
)
@pytest.mark.parametrize(
    "action_space",
    [
        spaces.Discrete(4),
        spaces.MultiDiscrete([3, 2]),
        spaces.MultiBinary(3),
        spaces.Box(-2, 1, (2,), np.float32),
        spaces.Box(-1, 1, (2, 2), np.float32),
    ],
)
def test_spaces(any_spaces, observation_space, policy, action_space):
    env = make_vec_env(lambda: any_spaces(observation_space, action_space), n_envs=2, seed=0)
    model = PlasticA2C(policy, env, n_steps=10, seed=0, policy_kwargs=SMALL)
    before = parameters(model)
    model.learn(40)
    assert any(not torch.equal(value, before[name]) for name, value in parameters(model).items())
    evaluate_policy(model, env, n_eval_episodes=2)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"use_rms_prop": False},
        {"normalize_advantage": True, "gae_lambda": 0.9, "learning_rate": lambda left: 1e-3 * left},
        {"policy_kwargs": {**SMALL, "net_arch": {"pi": [5], "vf": [6, 4]}, "activation_fn": torch.nn.ReLU}},
        {"policy_kwargs": {**SMALL, "share_features_extractor": False}},
        {"policy_kwargs": {**SMALL, "rule": "oja", "alpha": "homogeneous"}},
        {"policy_kwargs": {**SMALL, "rule": "modulated"}},
        {"policy_kwargs": {**SMALL, "alpha": "none"}},
    ],
)
def test_run(kwargs):
    model = PlasticA2C("MlpPolicy", cartpoles(), n_steps=16, **{"policy_kwargs": SMALL, **kwargs})
    model.learn(16 * 3 * 3)
    assert model.num_timesteps == 144
    assert model._n_updates == 3


@pytest.mark.parametrize(
    "kwargs",
    [
        {"use_sde": True, "sde_sample_freq": 4},
        {"use_sde": True, "policy_kwargs": {**SMALL, "squash_output": True}},
        {},
    ],
)
def test_run_continuous_actions(kwargs):
    env = make_vec_env("Pendulum-v1", n_envs=2, seed=0)
    model = PlasticA2C("MlpPolicy", env, n_steps=16, **{"policy_kwargs": SMALL, **kwargs}).learn(100)
    actions, _ = model.predict(env.reset())
    assert env.action_space.contains(actions[0])


@pytest.mark.parametrize("share", [True, False])
def test_run_images(share):
    env = FakeImageEnv(screen_height=40, screen_width=40, n_channels=1)
    kwargs = {**SMALL, "share_features_extractor": share, "features_extractor_kwargs": {"features_dim": 6}}
    model = PlasticA2C("CnnPolicy", env, n_steps=8, policy_kwargs=kwargs)
    before = parameters(model)
    model.learn(16)
    changed = {name for name, value in parameters(model).items() if not np.array_equal(value, before[name])}
    # The convolutions, one set of them or two, are trained with the rest.
    assert {name for name in before if ".cnn." in name} <= changed
    assert ("critic_core.w" in changed) == (not share)
    mean, _ = evaluate_policy(model, model.get_env(), n_eval_episodes=1, warn=False)
    assert np.isfinite(mean)


def test_run_under_vec_wrappers():
    normalized = VecNormalize(cartpoles())
    model = PlasticA2C("MlpPolicy", VecFrameStack(normalized, n_stack=2), n_steps=16, policy_kwargs=SMALL)
    before = parameters(model)
    model.learn(96)
    assert model.num_timesteps == 96
    assert model.observation_space.shape == (8,)
    assert normalized.obs_rms.count > 96
    assert not np.array_equal(parameters(model)["core.w"], before["core.w"])


def test_same_seed_same_bits():
    def train():
        model = PlasticA2C("MlpPolicy", cartpoles(seed=4), n_steps=32, seed=4, policy_kwargs=SMALL)
        return parameters(model.learn(500))

    first, second = train(), train()
    assert_same(first, second)


def test_saved_and_loaded_models_are_the_same(tmp_path):
    model = PlasticA2C("MlpPolicy", cartpoles(), n_steps=32, policy_kwargs=dict(SMALL)).learn(200)
    model.save(tmp_path / "model")
    # As in SB3, the policy's arguments may be given again, and must then be those of the saved model.
    loaded = PlasticA2C.load(tmp_path / "model", policy_kwargs=dict(SMALL))
    obs = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    state = loaded_state = None
    for _ in range(4):
        actions, state = model.predict(obs, state, deterministic=True)
        loaded_actions, loaded_state = loaded.predict(obs, loaded_state, deterministic=True)
        np.testing.assert_array_equal(actions, loaded_actions)
        np.testing.assert_array_equal(state.trace, loaded_state.trace)
    assert_same(parameters(model), parameters(loaded))


@pytest.mark.parametrize("n_envs", [1, 5])
def test_a_model_loads_onto_another_number_of_environments_and_goes_on(tmp_path, n_envs):
    model = PlasticA2C("MlpPolicy", cartpoles(), n_steps=32, policy_kwargs=SMALL).learn(200)
    model.save(tmp_path / "model")
    loaded = PlasticA2C.load(tmp_path / "model", env=cartpoles(n_envs))
    assert loaded.policy.optimizer.state_dict()["state"].keys()
    steps = loaded.num_timesteps
    loaded.learn(32 * n_envs, reset_num_timesteps=False)
    assert loaded.num_timesteps == steps + 32 * n_envs


def test_the_callers_policy_kwargs_stay_as_they_were():
    given = dict(SMALL)
    model = PlasticA2C("MlpPolicy", "CartPole-v1", policy_kwargs=given)
    assert given == SMALL
    assert isinstance(model.policy.optimizer, torch.optim.RMSprop)
    model = PlasticA2C("MlpPolicy", "CartPole-v1", policy_kwargs=given, use_rms_prop=False)
    assert isinstance(model.policy.optimizer, torch.optim.Adam)


def test_callbacks_progress_bar_and_logs(tmp_path):
    env = cartpoles()
    evaluation = EvalCallback(
        cartpoles(2), eval_freq=20, n_eval_episodes=2, best_model_save_path=str(tmp_path)
    )
    checkpoints = CheckpointCallback(20, str(tmp_path))
    model = PlasticA2C(
        "MlpPolicy", env, n_steps=16, policy_kwargs=SMALL, tensorboard_log=str(tmp_path / "tensorboard")
    )
    model.learn(300, callback=[evaluation, checkpoints], progress_bar=True, log_interval=1)
    assert (tmp_path / "best_model.zip").exists()
    assert list(tmp_path.glob("rl_model_*_steps.zip"))
    assert list((tmp_path / "tensorboard" / "PlasticA2C_1").glob("events*"))
    assert 0 < model.logger.name_to_value["train/eta"] < 1
    for key in ("policy_loss", "value_loss", "entropy_loss", "explained_variance", "grad_norm"):
        assert np.isfinite(model.logger.name_to_value[f"train/{key}"])


def test_stops_where_a_callback_says():
    model = PlasticA2C("MlpPolicy", cartpoles(1), n_steps=16, policy_kwargs=SMALL)
    model.learn(10_000, callback=StopTrainingOnMaxEpisodes(max_episodes=2))
    assert model.num_timesteps < 10_000


def test_evaluation_leaves_the_training_as_it_was():
    def train(callback):
        model = PlasticA2C("MlpPolicy", cartpoles(), n_steps=32, seed=0, policy_kwargs=SMALL)
        return parameters(model.learn(600, callback=callback))

    with_evaluation = train(EvalCallback(cartpoles(2, seed=9), eval_freq=7, n_eval_episodes=2, verbose=0))
    assert_same(with_evaluation, train(None))


def test_optimizer_kwargs_join_the_defaults():
    kwargs = {"rms_prop_eps": 1e-3, "policy_kwargs": {**SMALL, "optimizer_kwargs": {"momentum": 0.5}}}
    group = PlasticA2C("MlpPolicy", "CartPole-v1", **kwargs).policy.optimizer.param_groups[0]
    assert (group["eps"], group["momentum"], group["alpha"]) == (1e-3, 0.5, 0.99)


def test_numpy_numbers_are_numbers():
    kwargs = {"hidden_size": np.int64(8), "eta": np.float32(0.1)}
    assert PlasticA2C("MlpPolicy", "CartPole-v1", n_steps=np.int64(8), policy_kwargs=kwargs).n_steps == 8


@pytest.mark.parametrize(
    ("observation_space", "action_space", "named"),
    [
        (spaces.Text(3), spaces.Discrete(2), "observations must be Box, .*got Text"),
        (spaces.Tuple([BOX]), spaces.Discrete(2), "observations must be Box, .*got Tuple"),
        (
            spaces.Dict({"a": spaces.Dict({"b": BOX})}),
            spaces.Discrete(2),
            "observations must be Box, .*got Dict",
        ),
        (
            BOX,
            spaces.MultiDiscrete(np.array([[2, 2], [3, 3]])),
            "actions of a MultiDiscrete must have one dimension, got MultiDiscrete",
        ),
    ],
)
def test_unsupported_spaces_are_named(any_spaces, observation_space, action_space, named):
    with pytest.raises(NotImplementedError, match=f"(?s){named}"):
        PlasticA2C("MlpPolicy", any_spaces(observation_space, action_space), policy_kwargs=SMALL)


@pytest.mark.parametrize("n_steps", [0, -3, 2.5, True])
def test_n_steps_must_be_a_positive_integer(n_steps):
    with pytest.raises(ValueError, match=f"n_steps must be an integer of at least 1, got {n_steps}"):
        PlasticA2C("MlpPolicy", "CartPole-v1", n_steps=n_steps)


def test_bad_policy_arguments_are_named():
    with pytest.raises(ValueError, match=r"eta must lie strictly between 0 and 1, got 1\.5"):
        PlasticA2C("MlpPolicy", "CartPole-v1", policy_kwargs={"eta": 1.5})
    with pytest.raises(ValueError, match="rule must be one of"):
        PlasticA2C("MlpPolicy", "CartPole-v1", policy_kwargs={"rule": "anti-hebb"})


class Spoil(BaseCallback):
    def _on_step(self):
        return True

    def _on_rollout_end(self):
        self.model.rollout_buffer.advantages[3] = float("nan")


def test_a_diverged_training_stops_before_it_spoils_the_parameters(any_spaces):
    model = PlasticA2C("MlpPolicy", any_spaces(BOX, spaces.Discrete(2)), n_steps=8, policy_kwargs=SMALL)
    before = parameters(model)
    with pytest.raises(ValueError, match="the gradient is nan after 8 steps: the training has diverged"):
        model.learn(16, Spoil())
    assert_same(before, parameters(model))
    # What made it so may be in the memory: new episodes begin.
    state = model._state.actor.hidden.clone()
    model.learn(1, reset_num_timesteps=False)
    assert model.num_timesteps == 16
    assert state.abs().max() > 0
    assert model._rollout_state.actor.hidden.abs().max() == 0


def test_loading_onto_other_spaces_is_refused(tmp_path):
    PlasticA2C("MlpPolicy", "CartPole-v1", policy_kwargs=SMALL).save(tmp_path / "model")
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        PlasticA2C.load(tmp_path / "model", env=make_vec_env("Acrobot-v1"))
