"""What PlasticA2C remembers, and what it must forget."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor

from plastic_rl import PlasticA2C, PlasticPolicy

STRONG = {"hidden_size": 10, "eta": 0.3, "w_init": 0.4, "alpha_init": 0.4}


class Counter(gym.Env):
    """Observes noise; an episode of ``length`` steps ends by termination or by truncation."""

    def __init__(self, length=7, truncate=False):
        self.observation_space = spaces.Box(-3, 3, (2,), np.float32)
        self.action_space = spaces.Discrete(3)
        self.length = length
        self.truncate = truncate
        self.t = 0

    def _observe(self):
        return self.np_random.normal(size=2).clip(-3, 3).astype(np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._observe(), {}

    def step(self, action):
        self.t += 1
        over = self.t >= self.length
        return self._observe(), float(action), over and not self.truncate, over and self.truncate, {}


class OwnForward(PlasticPolicy):
    """A policy whose acting cannot be taken for granted, so that it is not recorded."""

    def forward(self, *args, **kwargs):
        return super().forward(*args, **kwargs)


class DroppingExtractor(FlattenExtractor):
    def forward(self, observations):
        return torch.nn.functional.dropout(super().forward(observations), 0.2, self.training)


class DroppingInside(FlattenExtractor):
    def forward(self, observations):
        return torch.cat([self.drop(part) for part in super().forward(observations).split(1)])

    def drop(self, x):
        return next(torch.nn.functional.dropout(part, 0.2, self.training) for part in [x])


def make(policy=PlasticPolicy, n_envs=3, n_steps=11, length=7, truncate=False, **kwargs):
    env = make_vec_env(lambda: Counter(length, truncate), n_envs=n_envs, seed=0)
    policy_kwargs = {**STRONG, **kwargs.pop("policy_kwargs", {})}
    model = PlasticA2C(policy, env, n_steps=n_steps, seed=0, policy_kwargs=policy_kwargs, **kwargs)
    with torch.no_grad():  # SB3 starts the action head near zero: make actions depend on the memory
        model.policy.get_parameter("action_net.weight").mul_(100)
    return model


def collect(model):
    """One rollout without an update; returns copies of its arrays and its start state."""
    if model._last_obs is None:
        _, model._callback = model._setup_learn(10**6)
    assert model.collect_rollouts(model.env, model._callback, model.rollout_buffer, model.n_steps)
    buffer = model.rollout_buffer
    names = ("observations", "actions", "episode_starts", "log_probs", "values", "rewards", "returns")
    start = model._rollout_state
    return {name: getattr(buffer, name).copy() for name in names}, start


def evaluate(model, rollout, state):
    obs = torch.tensor(rollout["observations"]).flatten(0, 1)
    actions = torch.tensor(rollout["actions"]).long().flatten()
    starts = torch.tensor(rollout["episode_starts"]).bool()
    values, log_prob, _ = model.policy.evaluate_actions(obs, actions, state, starts)
    shape = rollout["values"].shape
    return values.detach().numpy().reshape(shape), log_prob.detach().numpy().reshape(shape)


@pytest.mark.parametrize("policy", [PlasticPolicy, OwnForward])
@pytest.mark.parametrize("share", [True, False])
def test_recomputed_and_acted_values_agree_across_resets_and_rollout_borders(policy, share):
    model = make(policy, policy_kwargs={"share_features_extractor": share})
    first, first_state = collect(model)
    assert (model._recorder is None) == (policy is OwnForward)
    second, second_state = collect(model)
    for rollout, state in ((first, first_state), (second, second_state)):
        values, log_probs = evaluate(model, rollout, state)
        np.testing.assert_allclose(values, rollout["values"], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(log_probs, rollout["log_probs"], rtol=1e-4, atol=1e-5)
    # Both rollouts as one sequence from the first one's start.
    both = {name: np.concatenate([first[name], second[name]]) for name in first}
    values, log_probs = evaluate(model, both, first_state)
    np.testing.assert_allclose(values, both["values"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(log_probs, both["log_probs"], rtol=1e-4, atol=1e-5)
    # The state over the border matters: from zeros the second rollout looks different.
    values, _ = evaluate(model, second, model.policy.initial_state(3))
    assert np.abs(values - second["values"])[:3].max() > 1e-3


def test_lifetimes_in_one_rollout_equal_the_same_lifetimes_apart():
    model = make(n_envs=1, n_steps=21, length=7)
    rollout, _ = collect(model)
    for start in (0, 7, 14):
        alone = {name: array[start : start + 7] for name, array in rollout.items()}
        values, _ = evaluate(model, alone, model.policy.initial_state(1))
        np.testing.assert_allclose(values, alone["values"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "kwargs",
    [{}, {"core_steps": 2, "inner_updates": "last"}, {"core_steps": 3, "inner_updates": "every"}],
)
def test_the_recorded_update_equals_the_recomputed_one(kwargs):
    def update(policy):
        model = make(policy, normalize_advantage=True, policy_kwargs=kwargs)
        collect(model)
        collect(model)  # the second rollout starts in mid-episode
        model.train()
        return {name: p.grad for name, p in model.policy.named_parameters()}

    recorded, recomputed = update(PlasticPolicy), update(OwnForward)
    assert recorded.keys() == recomputed.keys()
    for name, gradient in recorded.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(gradient, recomputed[name], rtol=1e-3, atol=1e-6)


def test_recorded_rollouts_sample_from_the_policys_distribution():
    model = make(n_envs=1, n_steps=400, policy_kwargs={"alpha": "none", "w_init": 0.0})
    with torch.no_grad():  # the same three probabilities at every step
        model.policy.action_net.weight.zero_()
        model.policy.action_net.bias.copy_(torch.tensor([0.2, 0.3, 0.5]).log())
    counts = np.zeros(3)
    for _ in range(10):
        rollout, _ = collect(model)
        counts += np.bincount(rollout["actions"].astype(int).ravel(), minlength=3)
    # 4,000 samples: the standard deviation of each frequency is below 0.008.
    np.testing.assert_allclose(counts / counts.sum(), [0.2, 0.3, 0.5], atol=0.03)


def gradients(model):
    return {name: p.grad.clone() for name, p in model.policy.named_parameters()}


def assert_same_gradients(left, right):
    for name, gradient in left.items():
        torch.testing.assert_close(gradient, right[name], rtol=1e-3, atol=1e-6, msg=name)


def test_a_second_update_on_one_rollout_recomputes():
    def second_update(policy):
        model = make(policy, learning_rate=0.05)
        collect(model)
        model.train()
        model.train()
        return gradients(model)

    assert_same_gradients(second_update(PlasticPolicy), second_update(OwnForward))


def test_parameters_changed_between_acting_and_update_are_seen():
    def update(policy):
        model = make(policy)
        collect(model)
        with torch.no_grad():
            model.policy.core.w.mul_(1.5)
        model.train()
        return gradients(model)

    assert_same_gradients(update(PlasticPolicy), update(OwnForward))


def test_a_replaced_policy_or_core_is_the_one_that_acts_and_learns():
    model = make(n_steps=11)
    model.learn(33)
    model.policy.core = type(model.policy.core)(2, 10, eta=0.3, w_init=0.4, alpha_init=0.4)
    model.policy.optimizer.add_param_group({"params": list(model.policy.core.parameters())})
    before = model.policy.core.w.detach().clone()
    model.learn(33)
    assert not torch.equal(before, model.policy.core.w)
    other = make().policy
    model.policy = other
    before = other.core.w.detach().clone()
    model.learn(33)
    assert not torch.equal(before, other.core.w)


@pytest.mark.parametrize("policy", [PlasticPolicy, OwnForward])
def test_a_callback_may_read_the_buffer_through_get(policy):
    def update(read):
        model = make(policy)
        collect(model)
        if read:
            next(model.rollout_buffer.get())
            assert model.rollout_buffer.observations.ndim == 2
        model.train()
        return gradients(model)

    assert_same_gradients(update(read=False), update(read=True))


class NeverZero(PlasticPolicy):
    """Masks the first action."""

    def _get_action_dist_from_latent(self, latent_pi):
        logits = self.action_net(latent_pi)
        mask = torch.zeros_like(logits)
        mask[:, 0] = -1e8
        return self.action_dist.proba_distribution(action_logits=logits + mask)


def test_acting_honours_an_overridden_distribution():
    rollout, _ = collect(make(NeverZero, n_steps=50))
    assert rollout["actions"].min() == 1
    assert rollout["log_probs"].min() > -1e3


class Blind(PlasticPolicy):
    def extract_features(self, obs, features_extractor=None):
        return torch.zeros_like(super().extract_features(obs, features_extractor))


def test_predict_honours_overridden_features():
    policy = make(Blind).policy
    _, first = policy.predict(np.ones((1, 2), np.float32))
    _, second = policy.predict(-np.ones((1, 2), np.float32))
    np.testing.assert_array_equal(first.hidden, second.hidden)


@pytest.mark.parametrize("extractor", [DroppingExtractor, DroppingInside])
def test_policies_that_act_otherwise_than_they_train_are_not_recorded(extractor):
    model = make(policy_kwargs={"features_extractor_class": extractor})
    collect(model)
    assert model._recorder is None
    model.train()

    class OwnBuffer(RolloutBuffer):
        pass

    model = make(rollout_buffer_class=OwnBuffer)
    collect(model)
    assert model._recorder is None


def test_truncation_bootstraps_from_the_state_before_the_reset():
    model = make(n_envs=2, n_steps=10, length=7, truncate=True, gamma=0.9)
    terminal = {}

    class Watch(BaseCallback):
        def _on_step(self):
            for i, info in enumerate(self.locals["infos"]):
                if "terminal_observation" in info:
                    terminal[i] = info["terminal_observation"]
                    assert info["TimeLimit.truncated"]
            return True

    _, callback = model._setup_learn(1000, Watch())
    model.collect_rollouts(model.env, callback, model.rollout_buffer, 10)
    buffer = model.rollout_buffer
    obs = torch.tensor(buffer.observations[:7]).flatten(0, 1)
    with torch.no_grad():
        _, _, state = model.policy.run_cores(obs, model.policy.initial_state(2), torch.zeros(7, 2).bool())
        last = torch.tensor(np.stack([terminal[0], terminal[1]]))
        bonus = 0.9 * model.policy.predict_values(last, state).flatten().numpy()
        without_memory = 0.9 * model.policy.predict_values(last).flatten().numpy()
    expected = buffer.actions[6].flatten() + bonus
    np.testing.assert_allclose(buffer.rewards[6], expected, rtol=1e-5)
    assert np.abs(bonus - without_memory).max() > 1e-3
    np.testing.assert_array_equal(buffer.rewards[:6], buffer.actions[:6, :, 0])


def test_termination_does_not_bootstrap():
    model = make(n_envs=2, n_steps=10, length=7, truncate=False)
    rollout, _ = collect(model)
    np.testing.assert_array_equal(rollout["rewards"], rollout["actions"][:, :, 0])


def test_advantages_against_analytic_values():
    """A reward of one at each step and a value of zero: returns are geometric series, cut at the end."""

    class Worthless(OwnForward):
        def values(self, y):
            return torch.zeros(len(y), 1)

    class Ones(Counter):
        def step(self, action):
            obs, _, terminated, truncated, info = super().step(action)
            return obs, 1.0, terminated, truncated, info

    env = make_vec_env(lambda: Ones(5), n_envs=1, seed=0)
    model = PlasticA2C(Worthless, env, n_steps=12, gamma=0.5, gae_lambda=0.5, policy_kwargs=STRONG)
    rollout, _ = collect(model)
    left = np.array([5, 4, 3, 2, 1] * 2 + [2, 1])  # steps to the end of the episode or of the rollout
    np.testing.assert_allclose(rollout["returns"][:, 0], (1 - 0.25**left) / 0.75, rtol=1e-6)


def test_a_stopped_run_goes_on_where_it_stopped():
    class StopAt(BaseCallback):
        def __init__(self, at):
            super().__init__()
            self.at = at

        def _on_step(self):
            return self.n_calls < self.at

    model = make(n_envs=2, n_steps=10)
    model.learn(1000, callback=StopAt(4))
    assert model.num_timesteps == 8
    # Four steps of each environment were taken: an unbroken run of the same seed shows what they were.
    reference = make(n_envs=2, n_steps=4)
    collect(reference)
    np.testing.assert_array_equal(model._last_obs, reference._last_obs)
    torch.testing.assert_close(model._state.actor.trace, reference._state.actor.trace)
    assert model._state.actor.trace.abs().max() > 1e-3
    model.learn(20, reset_num_timesteps=False)
    assert not model.rollout_buffer.episode_starts[0].any()
    assert model._n_updates == 1


@pytest.mark.parametrize("policy", [PlasticPolicy, OwnForward])
def test_a_new_learn_starts_from_fresh_episodes(policy):
    class FirstValues(BaseCallback):
        model: PlasticA2C

        def _on_step(self):
            return True

        def _on_rollout_end(self):
            obs = torch.tensor(self.model.rollout_buffer.observations[0])
            assert isinstance(self.model.policy, PlasticPolicy)
            with torch.no_grad():
                fresh = self.model.policy.predict_values(obs).flatten().numpy()
            np.testing.assert_allclose(self.model.rollout_buffer.values[0], fresh, rtol=1e-4, atol=1e-6)

    model = make(policy)
    model.learn(33)
    assert model._state.actor.hidden.abs().max() > 0.1
    model.learn(33, callback=FirstValues())
    assert model.rollout_buffer.episode_starts[0].all()


@pytest.mark.parametrize("policy", [PlasticPolicy, OwnForward])
def test_after_an_error_in_the_environment_new_episodes_begin(policy):
    model = make(policy, n_envs=1)
    inner = model.env.envs[0].unwrapped
    step, calls = inner.step, []

    def fail_once(action):
        calls.append(action)
        if len(calls) == 5:
            raise RuntimeError("out of order")
        return step(action)

    inner.step = fail_once
    with pytest.raises(RuntimeError, match="out of order"):
        model.learn(33)
    model.learn(11, reset_num_timesteps=False)
    assert model.rollout_buffer.episode_starts[0].all()


def test_a_model_loaded_without_a_reset_knows_that_its_memory_is_empty(tmp_path):
    model = make(n_envs=1, n_steps=4)
    model.learn(4)
    assert not model._last_episode_starts.any()
    model.save(tmp_path / "model")
    loaded = PlasticA2C.load(tmp_path / "model", env=model.env, force_reset=False)
    assert loaded._last_episode_starts.all()
    loaded.learn(4, reset_num_timesteps=False)


def test_one_sample_has_no_spread_to_normalize_by():
    model = make(n_envs=1, n_steps=1, normalize_advantage=True)
    model.learn(3)
    assert all(torch.isfinite(p).all() for p in model.policy.parameters())


@pytest.mark.parametrize("use_rms_prop", [True, False])
def test_a_memoryless_policy_class_is_trained_as_a2c_would(use_rms_prop):
    def train(algorithm):
        env = make_vec_env("CartPole-v1", n_envs=2, seed=0)
        model = algorithm(ActorCriticPolicy, env, n_steps=8, seed=0, use_rms_prop=use_rms_prop).learn(64)
        assert model._n_updates == 4
        return model

    ours, theirs = train(PlasticA2C), train(A2C)
    for left, right in zip(ours.policy.parameters(), theirs.policy.parameters(), strict=True):
        torch.testing.assert_close(left, right)
    _, state = ours.predict(np.zeros((2, 4), np.float32))
    assert state is None


def test_learns_a_task_that_provably_needs_memory(recall):
    env = make_vec_env(recall, n_envs=16, seed=0)
    model = PlasticA2C(
        "MlpPolicy",
        env,
        learning_rate=3e-3,
        n_steps=12,
        use_rms_prop=False,
        seed=0,
        policy_kwargs={"hidden_size": 32},
    )
    model.learn(30_000)
    test = make_vec_env(recall, n_envs=8, seed=1000)
    rewards: list[float] = []
    state, starts = None, np.ones(8, dtype=bool)
    obs = test.reset()
    for _ in range(4 * 25):
        actions, state = model.predict(obs, state, starts, deterministic=True)
        obs, reward, starts, _ = test.step(actions)
        rewards.extend(reward[starts])
    assert len(rewards) == 200
    assert np.mean(rewards) > 0.95
