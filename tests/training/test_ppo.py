"""PlasticPPO through the SB3 API: several epochs over whole sequences."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.policies import ActorCriticPolicy

from plastic_rl import PlasticPolicy, PlasticPPO

SMALL = {"hidden_size": 8, "eta": 0.3, "w_init": 0.5, "alpha_init": 0.5}
BOX = spaces.Box(-1, 1, (3,), np.float32)


class Kept(KVWriter):
    """What the logger was given, by key."""

    def __init__(self):
        self.values = {}

    def write(self, key_values, key_excluded, step=0):
        self.values |= key_values

    def close(self):
        pass


def logged(model, steps):
    kept = Kept()
    model.set_logger(Logger(None, [kept]))
    model.learn(steps)
    return kept.values


def cartpoles(n_envs=4, seed=0):
    return make_vec_env("CartPole-v1", n_envs=n_envs, seed=seed)


def make(env=None, **options):
    settings = {"n_steps": 16, "n_epochs": 2, "seed": 0, "device": "cpu", "policy_kwargs": SMALL, **options}
    return PlasticPPO("MlpPolicy", cartpoles() if env is None else env, **settings)


def parameters(model):
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


@pytest.mark.parametrize(
    ("observation_space", "policy"),
    [
        (BOX, "MlpPolicy"),
        (spaces.Discrete(5), "MlpPolicy"),
        (spaces.Dict({"a": BOX, "b": spaces.MultiBinary(3)}), "MultiInputPolicy"),
        (spaces.Box(0, 255, (36, 36, 3), np.uint8), "CnnPolicy"),
    ],
)
@pytest.mark.parametrize(
    "action_space",
    [
        spaces.Discrete(4),
        spaces.MultiDiscrete([3, 2]),
        spaces.MultiBinary(3),
        spaces.Box(-2, 1, (2, 2), np.float32),
    ],
)
def test_spaces(any_spaces, observation_space, policy, action_space):
    env = make_vec_env(lambda: any_spaces(observation_space, action_space), n_envs=2, seed=0)
    model = PlasticPPO(policy, env, n_steps=8, n_epochs=2, seed=0, policy_kwargs=SMALL)
    before = parameters(model)
    model.learn(32)
    assert any(not torch.equal(value, before[name]) for name, value in parameters(model).items())
    evaluate_policy(model, env, n_eval_episodes=2)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"batch_size": 16, "normalize_advantage": False},
        {"batch_size": 64, "learning_rate": lambda left: 1e-3 * left, "clip_range": lambda left: 0.2 * left},
        {"batch_size": 48, "clip_range_vf": 0.1, "target_kl": 0.05},
        {"n_steps": 1, "n_epochs": 1},
        {"policy_kwargs": {**SMALL, "share_features_extractor": False, "net_arch": [5]}},
        {"policy_kwargs": {**SMALL, "rule": "modulated"}},
    ],
)
def test_run(kwargs):
    model = make(**kwargs)
    model.learn(3 * model.n_steps * 4)
    assert model._n_updates == 3 * model.n_epochs


@pytest.mark.parametrize("sde", [{}, {"use_sde": True, "sde_sample_freq": 4}])
def test_continuous_actions_are_saved_and_loaded(sde, tmp_path):
    env = make_vec_env("Pendulum-v1", n_envs=3, seed=0)
    model = make(env, clip_range_vf=0.2, target_kl=0.1, **sde).learn(96)
    model.save(tmp_path / "model")
    loaded = PlasticPPO.load(tmp_path / "model", env=make_vec_env("Pendulum-v1", n_envs=1, seed=0))
    obs, state, other = np.ones((1, 3), np.float32), None, None
    for _ in range(3):
        action, state = model.predict(obs, state, deterministic=True)
        same, other = loaded.predict(obs, other, deterministic=True)
        np.testing.assert_array_equal(action, same)
    loaded.learn(32)
    assert callable(loaded.clip_range_vf)
    assert loaded.clip_range_vf(1) == 0.2


def test_a_batch_for_many_environments_is_loaded_with_few(tmp_path):
    make(batch_size=64).save(tmp_path / "model")
    loaded = PlasticPPO.load(tmp_path / "model", env=cartpoles(1))
    assert loaded.n_minibatches == 1
    loaded.learn(32)


@pytest.mark.parametrize(
    ("n_envs", "batch_size", "expected"), [(8, None, 4), (3, None, 3), (4, 16, 4), (4, 48, 2), (4, 64, 1)]
)
def test_minibatches_are_groups_of_environments(n_envs, batch_size, expected):
    model = make(cartpoles(n_envs), batch_size=batch_size)
    assert model.n_minibatches == expected
    steps = []

    def count(loss, weight):
        steps.append(loss)
        return 0.0

    model.gradient_step = count
    model.learn(16 * n_envs)
    assert len(steps) == expected * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 40}, "multiple of n_steps=16, .* got 40: the nearest are 32 and 48"),
        ({"batch_size": 7}, "multiple of n_steps=16, .* got 7: the nearest are 16 and 32"),
        ({"batch_size": 80}, r"at most a rollout, n_steps \* n_envs = 64, got 80"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"n_epochs": 0}, "n_epochs must be an integer of at least 1, got 0"),
        ({"n_steps": 0}, "n_steps must be an integer of at least 1, got 0"),
        ({"clip_range": -0.2}, "clip_range must be a finite number above 0, got -0.2"),
        ({"clip_range_vf": 0}, "clip_range_vf must be a finite number above 0, got 0"),
        ({"target_kl": -1}, "target_kl must be a finite number above 0, got -1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_the_gradient_is_that_of_the_clipped_surrogate():
    """One epoch on the whole rollout, from the recorded pass, against the definition in plain torch."""
    model = make(
        batch_size=64, n_epochs=1, normalize_advantage=False, vf_coef=0.3, ent_coef=0.1, max_grad_norm=1e9
    )
    _, callback = model._setup_learn(10**6)
    for _ in range(2):
        model.collect_rollouts(model.env, callback, model.rollout_buffer, 16)
    assert model.last_rollout().recording.is_current()
    model.train()
    got = {name: p.grad.clone() for name, p in model.policy.named_parameters()}

    twin = make(batch_size=64, n_epochs=1)
    rollout = model.last_rollout()
    values, log_prob, entropy = twin.policy.evaluate_actions(
        rollout.observations.flatten(0, 1),
        rollout.actions.flatten(),
        rollout.initial_state,
        rollout.episode_starts,
    )
    ratio = (log_prob - rollout.old_log_prob.flatten()).exp()
    advantages, returns = rollout.advantages.flatten(), rollout.returns.flatten()
    surrogate = torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages).mean()
    loss = 0.3 * (returns - values.flatten()).square().mean() - surrogate - 0.1 * entropy.mean()
    loss.backward()
    for name, p in twin.policy.named_parameters():
        assert p.grad.abs().max() > 0, name
        torch.testing.assert_close(got[name], p.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_the_same_seed_is_the_same_training():
    one, other = parameters(make().learn(128)), parameters(make().learn(128))
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_a_memoryless_policy_class_is_trained_as_ppo_would():
    def train(algorithm):
        settings = {"learning_rate": 3e-4, "n_steps": 32, "n_epochs": 2, "batch_size": 16, "ent_coef": 0.0}
        model = algorithm(ActorCriticPolicy, cartpoles(), seed=0, **settings)
        return parameters(model.learn(256))

    ours, theirs = train(PlasticPPO), train(PPO)
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def test_the_logger_gets_what_ppo_gives():
    ours = logged(make(clip_range_vf=0.2), 128)
    theirs = logged(
        PPO("MlpPolicy", cartpoles(), n_steps=16, batch_size=16, n_epochs=2, clip_range_vf=0.2), 128
    )
    train = {key for key in theirs if key.startswith("train/")}
    assert len(train) >= 11
    assert train <= set(ours)
    assert {"train/grad_norm", "train/eta"} <= set(ours)
    assert ours["train/approx_kl"] >= 0
    assert 0 <= ours["train/clip_fraction"] <= 1


def test_an_update_ends_where_the_policy_has_gone_far_enough():
    assert make(n_epochs=5, learning_rate=0.05, target_kl=1e-6).learn(64)._n_updates < 5
    assert make(n_epochs=5, learning_rate=1e-7, target_kl=1.0).learn(64)._n_updates == 5


def test_callbacks_and_evaluation_run():
    model = make()
    callback = EvalCallback(cartpoles(1, 5), n_eval_episodes=1, eval_freq=16, verbose=0)
    model.learn(128, callback=callback)
    assert np.isfinite(callback.last_mean_reward)


def test_learns_a_task_that_provably_needs_memory(recall):
    env = make_vec_env(recall, n_envs=16, seed=0)
    model = PlasticPPO(
        PlasticPolicy,
        env,
        learning_rate=3e-3,
        n_steps=12,
        n_epochs=4,
        seed=0,
        policy_kwargs={"hidden_size": 32},
    )
    model.learn(12_000)
    mean, _ = evaluate_policy(model, make_vec_env(recall, 8, seed=1000), n_eval_episodes=200)
    assert not isinstance(mean, list)
    assert mean > 0.95


def test_nothing_said_is_a_gated_core_and_another_for_the_critic():
    model = PlasticPPO("MlpPolicy", "CartPole-v1", device="cpu")
    assert model.policy_kwargs == PlasticPPO.default_policy_kwargs
    assert model.policy.core.cell == "gru"
    assert model.policy.hidden_size == 64
    assert model.policy.critic_core is not None
    assert model.policy.critic_core.cell == "gru"


class Own(PlasticPolicy):
    """A policy of somebody's own."""


def test_what_is_said_of_the_network_holds_and_another_policy_keeps_its_own_defaults():
    said = {"cell": "rnn", "share_features_extractor": True, "hidden_size": 8}
    model = PlasticPPO("MlpPolicy", "CartPole-v1", device="cpu", policy_kwargs=said)
    assert model.policy.core.cell == "rnn"
    assert PlasticPPO(Own, "CartPole-v1", device="cpu", policy_kwargs={"hidden_size": 8}).policy_kwargs == {
        "hidden_size": 8
    }


def test_a_model_is_loaded_with_the_arguments_that_it_was_made_with(tmp_path):
    given = {"hidden_size": 8}
    model = make(policy_kwargs=given)
    assert given == {"hidden_size": 8}
    model.save(tmp_path / "model")
    again = PlasticPPO.load(tmp_path / "model", policy_kwargs=given)
    assert again.policy_kwargs == model.policy_kwargs
    assert again.policy.core.cell == "gru"
    with pytest.raises(ValueError, match="policy_kwargs must equal"):
        PlasticPPO.load(tmp_path / "model", policy_kwargs={"hidden_size": 8, "cell": "rnn"})


def test_a_file_that_says_nothing_of_the_cell_is_one_without_gates(tmp_path):
    model = make(policy_kwargs={"hidden_size": 8, "cell": "rnn", "share_features_extractor": True})
    model.policy_kwargs = {"hidden_size": 8}
    model.save(tmp_path / "model")
    again = PlasticPPO.load(tmp_path / "model")
    assert again.policy.core.cell == "rnn"
    assert PlasticPPO.load(tmp_path / "model", policy_kwargs={"hidden_size": 8}).policy.core.cell == "rnn"
