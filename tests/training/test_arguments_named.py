"""What an algorithm cannot be made of is named at construction: environments, spaces, numbers."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.envs import FakeImageEnv
from stable_baselines3.common.policies import ActorCriticPolicy

from plastic_rl import PlasticA2C, PlasticPolicy, PlasticPPO, SupervisedMetaLearner

SMALL = {"hidden_size": 6}
BOX = spaces.Box(-1, 1, (3,), np.float32)
NAN = float("nan")


@pytest.mark.parametrize("algorithm", [PlasticA2C, PlasticPPO])
@pytest.mark.parametrize(
    ("argument", "wrong", "allowed"),
    [
        ("gamma", 2, "a finite number from 0 to 1, got 2"),
        ("gamma", NAN, "a finite number from 0 to 1, got nan"),
        ("gae_lambda", 7, "a finite number from 0 to 1, got 7"),
        ("gae_lambda", -0.1, "a finite number from 0 to 1"),
        ("max_grad_norm", -1, "a finite number above 0, got -1"),
        ("max_grad_norm", 0, "a finite number above 0, got 0"),
        ("ent_coef", NAN, "a finite number, got nan"),
        ("ent_coef", "auto", "a finite number, got 'auto'"),
        ("vf_coef", float("inf"), "a finite number, got inf"),
        ("n_steps", 0, "an integer of at least 1, got 0"),
        ("learning_rate", 0, "a finite number above 0, got 0"),
        ("learning_rate", -1e-3, "a finite number above 0, got -0.001"),
        ("stats_window_size", 0, "an integer from 1 to"),
        ("sde_sample_freq", -2, "an integer of at least -1, got -2"),
    ],
)
def test_numbers_outside_their_range(algorithm, argument, wrong, allowed):
    with pytest.raises(ValueError, match=f"{argument} must be {allowed}"):
        algorithm("MlpPolicy", "CartPole-v1", policy_kwargs=SMALL, **{argument: wrong})


def test_numbers_of_one_algorithm_outside_their_range():
    with pytest.raises(ValueError, match="rms_prop_eps must be a finite number above 0, got 0"):
        PlasticA2C("MlpPolicy", "CartPole-v1", rms_prop_eps=0)
    with pytest.raises(ValueError, match="n_epochs must be an integer of at least 1, got 0"):
        PlasticPPO("MlpPolicy", "CartPole-v1", n_epochs=0)
    for argument, wrong in (("gamma", 2), ("n_steps", 1.5)):
        with pytest.raises(ValueError, match=f"{argument} must be"):
            PlasticA2C("MlpPolicy", "CartPole-v1", **{argument: wrong})


def test_numbers_at_the_border_of_their_range(tmp_path):
    kwargs = {
        "gamma": 1,
        "gae_lambda": 0,
        "vf_coef": 0,
        "ent_coef": -0.1,
        "n_steps": 8.0,
        "sde_sample_freq": 3,
    }
    model = PlasticA2C("MlpPolicy", "CartPole-v1", policy_kwargs=SMALL, max_grad_norm=None, **kwargs)
    assert isinstance(model.n_steps, int)
    assert isinstance(model.gamma, float)
    model.learn(16.0)
    assert model.num_timesteps == 16
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="gamma must be a finite number from 0 to 1, got 2"):
        PlasticA2C.load(tmp_path / "model", custom_objects={"gamma": 2})


@pytest.mark.parametrize("wrong", [-5, 2.5, NAN, None, "many"])
def test_steps_to_learn_must_be_a_count(wrong):
    model = PlasticA2C("MlpPolicy", "CartPole-v1", policy_kwargs=SMALL, n_steps=8).learn(8)
    obs = model._last_obs
    with pytest.raises(ValueError, match="total_timesteps must be an integer of at least 0, got"):
        model.learn(wrong)
    assert model._last_obs is obs
    assert model.learn(0).num_timesteps == 0


class Plain(gym.Env):
    observation_space = BOX
    action_space = spaces.Discrete(2)


@pytest.mark.parametrize("algorithm", [PlasticA2C, PlasticPPO, SupervisedMetaLearner])
def test_what_is_no_environment(algorithm):
    policy = "PlasticRNNPolicy" if algorithm is SupervisedMetaLearner else "MlpPolicy"
    wanted = "env must be a gymnasium.Env, its id, or a VecEnv of Stable-Baselines3, got"
    batched = gym.make_vec("CartPole-v1", num_envs=2)
    with pytest.raises(ValueError, match=rf"{wanted} the batched .*: give plastic_rl.GymnasiumVecEnv\(env\)"):
        algorithm(policy, batched)
    for env, named in (
        (Plain, "the class Plain: make one"),
        (3, "3"),
        (None, "None"),
        (lambda: 1, "<function"),
    ):
        with pytest.raises(ValueError, match=f"{wanted} {named}"):
            algorithm(policy, env)
    if algorithm is not SupervisedMetaLearner:
        model = algorithm(policy, Plain(), policy_kwargs=SMALL)
        with pytest.raises(ValueError, match=f"{wanted} the batched"):
            model.set_env(batched)


@pytest.mark.parametrize(
    ("observation_space", "action_space", "named"),
    [
        (spaces.Discrete(5, start=2), spaces.Discrete(3), r"observation_space must start at 0.*start=2"),
        (BOX, spaces.Discrete(3, start=1), r"action_space must start at 0.*start=1.*TransformAction"),
        (BOX, spaces.MultiDiscrete([3, 2], start=[0, 1]), "action_space must start at 0"),
        (
            spaces.Dict(a=BOX, b=spaces.Discrete(4, start=-1)),
            spaces.Discrete(2),
            "observation_space part 'b' must start at 0",
        ),
    ],
)
def test_spaces_that_start_elsewhere(any_spaces, observation_space, action_space, named):
    policy = "MultiInputPolicy" if isinstance(observation_space, spaces.Dict) else "MlpPolicy"
    with pytest.raises(ValueError, match=named):
        PlasticA2C(policy, any_spaces(observation_space, action_space), policy_kwargs=SMALL)


def images(size, as_part):
    env = FakeImageEnv(screen_height=size, screen_width=40, n_channels=1)
    if not as_part:
        return env
    return gym.wrappers.TransformObservation(
        env, lambda obs: {"seen": obs}, spaces.Dict(seen=env.observation_space)
    )


@pytest.mark.parametrize("as_part", [False, True])
def test_images_too_small_for_the_convolutions(as_part):
    policy = "MultiInputPolicy" if as_part else "CnnPolicy"
    where = " part 'seen'" if as_part else ""
    for size in (8, 35):
        with pytest.raises(ValueError, match=f"observation_space{where} must be images of at least 36 x 36"):
            PlasticA2C(policy, images(size, as_part), policy_kwargs=SMALL)
    PlasticA2C(policy, images(36, as_part), policy_kwargs=SMALL, n_steps=4).learn(4)


@pytest.fixture
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("policy", ["MlpPolicy", ActorCriticPolicy])
def test_another_precision_by_default(double_precision, policy, tmp_path):
    with pytest.raises(ValueError, match=r"default dtype must be torch.float32 .* got torch.float64"):
        PlasticA2C(policy, "CartPole-v1")
    torch.set_default_dtype(torch.float32)
    model = PlasticA2C("MlpPolicy", "CartPole-v1", policy_kwargs=SMALL)
    model.save(tmp_path / "model")
    model.policy.save(tmp_path / "policy")
    torch.set_default_dtype(torch.float64)
    for load, name in ((PlasticA2C.load, "model"), (PlasticPolicy.load, "policy")):
        with pytest.raises(ValueError, match=r"default dtype must be torch.float32"):
            load(tmp_path / name)
    with pytest.raises(ValueError, match=r"default dtype must be torch.float32"):
        SupervisedMetaLearner("AutoassociatorPolicy", "plastic_rl:PlasticPatternMemory-v0")


def test_another_precision_that_is_set_later(double_precision):
    torch.set_default_dtype(torch.float32)
    model = PlasticA2C("MlpPolicy", "CartPole-v1", policy_kwargs=SMALL, n_steps=4)
    torch.set_default_dtype(torch.float64)
    for use in (lambda: model.learn(8), lambda: model.predict(model.observation_space.sample())):
        with pytest.raises(ValueError, match=r"default dtype must be torch.float32 .* got torch.float64"):
            use()
    torch.set_default_dtype(torch.float32)
    model.learn(8)


def test_a_loaded_model_that_only_plays_may_have_a_rate_of_0(tmp_path: Path) -> None:
    PlasticA2C("MlpPolicy", "CartPole-v1", policy_kwargs=SMALL).save(tmp_path / "model")
    model = PlasticA2C.load(tmp_path / "model", custom_objects={"learning_rate": 0.0})
    assert model.learning_rate == 0
