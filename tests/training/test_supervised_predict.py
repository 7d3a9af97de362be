"""Trained networks as agents: answers step by step, evaluation, and what the learner refuses."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from plastic_rl.envs import Episodes, EpisodicTaskEnv
from plastic_rl.policies import AutoassociatorPolicy, PlasticPolicy, SupervisedPolicy
from plastic_rl.training.episode_batches import to_tensors
from plastic_rl.training.evaluation import evaluate_episodes
from plastic_rl.training.supervised import SupervisedMetaLearner

N_WAY, N_PIXELS = 3, 31**2


class Completion:
    """Patterns between -1 and 1 in random order, then half of one."""

    episode_length = 7

    def __init__(self, n: int = 6) -> None:
        self.observation_space = gym.spaces.Box(-1, 1, (n,))
        self.action_space = gym.spaces.Box(-1, 1, (n,))

    def sample_episodes(self, batch: int, rng: np.random.Generator) -> Episodes:
        shown = rng.uniform(-1, 1, (2, batch, *self.action_space.shape)).astype(np.float32)
        probe = np.where(rng.random(shown[0].shape) < 0.5, shown[0], 0).astype(np.float32)
        nothing = np.zeros_like(probe)
        return Episodes(np.stack([shown[0], shown[0], shown[1], shown[1], nothing, probe, probe]), shown[0])

    def score(self, episodes: Episodes, actions: np.ndarray) -> np.ndarray:
        return -((actions - episodes.targets) ** 2).mean(axis=1)

    def metrics(self, episodes: Episodes, actions: np.ndarray) -> dict[str, np.ndarray]:
        return {"worst": np.abs(actions - episodes.targets).max(axis=1)}


class Images:
    """Three random images with their labels, then one of the three."""

    episode_length = N_WAY + 1
    observation_space = gym.spaces.Dict(
        image=gym.spaces.Box(0, 1, (N_PIXELS,)), label=gym.spaces.Box(0, 1, (N_WAY,))
    )
    action_space = gym.spaces.Discrete(N_WAY)

    def sample_episodes(self, batch: int, rng: np.random.Generator) -> Episodes:
        images = rng.random((N_WAY + 1, batch, N_PIXELS), np.float32)
        labels = np.zeros((N_WAY + 1, batch, N_WAY), np.float32)
        labels[:N_WAY] = np.eye(N_WAY, dtype=np.float32)[
            rng.permuted(np.tile(range(N_WAY), (batch, 1)), axis=1).T
        ]
        asked = rng.integers(N_WAY, size=batch)
        images[N_WAY] = images[asked, np.arange(batch)]
        return Episodes({"image": images, "label": labels}, labels[asked, np.arange(batch)].argmax(axis=1))

    def score(self, episodes: Episodes, actions: np.ndarray) -> np.ndarray:
        return (actions == episodes.targets).astype(float)


SMALL = {"hidden_size": 12, "channels": 4}
CASES = [
    (Completion, "AutoassociatorPolicy", {"w_init": 0.5, "alpha_init": 0.5, "eta": 0.3}),
    (Completion, "AutoassociatorPolicy", {"w_init": 0.5, "alpha": "none"}),
    (Completion, "LSTMPolicy", {"hidden_size": 12}),
    (Completion, "RNNPolicy", {"hidden_size": 12}),
    (Completion, "PlasticRNNPolicy", {"hidden_size": 12, "w_init": 0.5, "alpha_init": 0.5, "eta": 0.3}),
    (Images, "ClassifierPolicy", {"channels": 4}),
    (Images, "ClassifierPolicy", {"channels": 4, "alpha": "none", "w_init": 0.5}),
    (Images, "LSTMPolicy", SMALL),
    (Images, "RNNPolicy", SMALL),
    (Images, "PlasticRNNPolicy", SMALL),
]


def learner(
    task: Any, policy: Any = "AutoassociatorPolicy", policy_kwargs: dict | None = None, **kwargs: Any
):
    settings = {"batch_size": 4, "seed": 0, "device": "cpu", "policy_kwargs": policy_kwargs, **kwargs}
    return SupervisedMetaLearner(policy, EpisodicTaskEnv(task), **settings)


def at(observations: Any, index: Any) -> Any:
    if isinstance(observations, dict):
        return {key: part[index] for key, part in observations.items()}
    return observations[index]


@pytest.mark.parametrize(("task", "policy", "policy_kwargs"), CASES)
def test_step_by_step_the_answer_is_that_of_training(task: type, policy: str, policy_kwargs: dict) -> None:
    model = learner(task(), policy, policy_kwargs)
    model.learn(3 * 4 * task.episode_length)
    episodes = task().sample_episodes(5, np.random.default_rng(1))
    with torch.no_grad():
        outputs = model.policy(to_tensors(episodes.observations, model.device))
    state = None
    for t in range(task.episode_length):
        start = np.full(5, t == 0)
        before = None if state is None else [part.copy() for part in state]
        actions, new = model.predict(at(episodes.observations, t), state, start)
        if state is not None:
            assert all(np.array_equal(one, other) for one, other in zip(before, state, strict=True))
        state = new
    assert isinstance(state, tuple)
    assert all(isinstance(part, np.ndarray) for part in state)
    assert actions.shape == (5, *model.action_space.shape)
    np.testing.assert_allclose(actions, model.policy.answers(outputs), atol=1e-5)
    assert len(np.unique(np.round(outputs.numpy(), 5))) > 4
    assert model.policy.training is False


@pytest.mark.parametrize(("task", "policy", "policy_kwargs"), CASES[::2])
def test_one_observation_at_a_time(task: type, policy: str, policy_kwargs: dict) -> None:
    model = learner(task(), policy, policy_kwargs)
    episodes = task().sample_episodes(2, np.random.default_rng(1))
    batched = single = None
    for t in range(task.episode_length):
        seen = at(episodes.observations, t)
        actions, batched = model.predict(seen, batched, episode_start=np.array([t == 0, t == 0]))
        action, single = model.predict(at(seen, 1), single, episode_start=np.array([t == 0]))
    assert np.shape(action) == model.action_space.shape
    np.testing.assert_allclose(action, actions[1], atol=1e-5)


def test_an_episode_start_forgets_one_row_only() -> None:
    model = learner(Completion(), policy_kwargs={"eta": 0.3, "alpha_init": 0.5, "w_init": 0.5})
    episodes = Completion().sample_episodes(2, np.random.default_rng(2)).observations
    assert isinstance(episodes, np.ndarray)
    state = None
    for seen in episodes[:4]:
        _, state = model.predict(seen, state)
    kept, after = model.predict(episodes[5], state, episode_start=np.array([False, True]))
    without, _ = model.predict(episodes[5], state)
    fresh, _ = model.predict(episodes[5])
    np.testing.assert_array_equal(kept[0], without[0])
    np.testing.assert_array_equal(kept[1], fresh[1])
    assert not np.array_equal(without[1], fresh[1])
    forgotten, _ = model.predict(episodes[5], after, episode_start=True)
    np.testing.assert_array_equal(forgotten, fresh)


def test_states_that_do_not_fit_are_refused() -> None:
    model = learner(Completion())
    _, state = model.predict(np.zeros((3, 6), np.float32))
    with pytest.raises(ValueError, match="state must be what predict returned"):
        model.predict(np.zeros((2, 6), np.float32), state)
    with pytest.raises(ValueError, match="state must be what predict returned"):
        model.predict(np.zeros((3, 6), np.float32), state[:1])
    with pytest.raises(ValueError, match=r"episode_start must have shape \(3,\), got \(2,\)"):
        model.predict(np.zeros((3, 6), np.float32), state, np.zeros(2, bool))
    with pytest.raises(ValueError, match="got a tuple"):
        model.predict((np.zeros(6, np.float32), {}))


@pytest.mark.parametrize(("task", "policy", "policy_kwargs"), [CASES[0], CASES[5]])
def test_both_ways_of_evaluating_agree(task: type, policy: str, policy_kwargs: dict) -> None:
    env = Monitor(EpisodicTaskEnv(task()))
    check_env(env)
    model = learner(task(), policy, policy_kwargs)
    results = evaluate_episodes(model, env, 400, seed=1)
    rewards, lengths = evaluate_policy(model, env, 100, return_episode_rewards=True)
    assert set(lengths) == {task.episode_length}
    spread = np.hypot(np.std(rewards) / 10, results["reward"].std / 20)
    assert abs(np.mean(rewards) - results["reward"].mean) < 4 * spread + 1e-9


def test_evaluation_reports_every_measure() -> None:
    model = learner(Completion())
    state = model.episode_rng.bit_generator.state
    results = evaluate_episodes(model, EpisodicTaskEnv(Completion()), 50, batch_size=20, seed=3)
    assert list(results) == ["reward", "worst"]
    assert results["reward"].returns.shape == results["worst"].returns.shape == (50,)
    for result in results.values():
        assert result.mean == pytest.approx(result.returns.mean())
        assert result.interval[0] < result.mean < result.interval[1]
    assert model.episode_rng.bit_generator.state == state
    again = evaluate_episodes(
        model, DummyVecEnv([lambda: EpisodicTaskEnv(Completion())]), 50, batch_size=20, seed=3
    )
    assert again["worst"].mean == results["worst"].mean
    other = evaluate_episodes(model, EpisodicTaskEnv(Completion()), 50, seed=4)
    assert other["worst"].mean != results["worst"].mean
    for wrong in ({"episodes": 0}, {"batch_size": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be an integer of at least 1, got 0"):
            evaluate_episodes(model, EpisodicTaskEnv(Completion()), **wrong)
    with pytest.raises(ValueError, match="spaces do not match"):
        evaluate_episodes(model, EpisodicTaskEnv(Completion(5)), 5)


def test_the_policy_can_be_saved_alone(tmp_path: Path) -> None:
    model = learner(Completion(), policy_kwargs={"alpha": "homogeneous", "alpha_init": 0.2})
    model.policy.save(tmp_path / "policy.pth")
    policy = AutoassociatorPolicy.load(tmp_path / "policy.pth", device="cpu")
    seen = Completion().sample_episodes(3, np.random.default_rng(0)).observations
    assert isinstance(seen, np.ndarray)
    np.testing.assert_array_equal(policy.predict(seen[-1])[0], model.predict(seen[-1])[0])


def test_answers_stay_within_the_action_space() -> None:
    class Linear(AutoassociatorPolicy):
        def make_network(self, **kwargs: Any):
            return super().make_network(activation="linear", w_init=50.0, **kwargs)

    model = learner(Completion(), Linear)
    actions, _ = model.predict(np.zeros((4, 6), np.float32))
    _, state = model.predict(np.full((4, 6), 0.5, np.float32))
    actions, _ = model.predict(np.zeros((4, 6), np.float32), state)
    assert np.abs(actions).max() == 1
    assert model.action_space.contains(actions[0])


class Other(gym.Env):
    """An environment without a task behind it."""

    observation_space = gym.spaces.Box(-1, 1, (3,))
    action_space = gym.spaces.Discrete(2)


class Doubled(gym.ActionWrapper):
    """Changes what actions mean, and their space."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.action_space = gym.spaces.Box(-2, 2, (6,))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"policy": "MlpPolicy"}, "policy must be one of AutoassociatorPolicy, .*, got 'MlpPolicy'"),
        ({"policy": PlasticPolicy}, "policy must be a subclass of SupervisedPolicy, got PlasticPolicy"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"batch_size": 2.5}, "batch_size must be an integer of at least 1, got 2.5"),
        ({"learning_rate": -1.0}, "learning_rate must be a finite number above 0, got -1.0"),
        ({"max_grad_norm": 0}, "max_grad_norm must be a finite number above 0, got 0"),
        ({"policy_kwargs": {"eta": 2}}, "eta must lie strictly between 0 and 1, got 2"),
        ({"policy": "ClassifierPolicy"}, r"ClassifierPolicy needs an observation_space Dict\(image, label"),
        ({"env": EpisodicTaskEnv(Images())}, r"AutoassociatorPolicy needs Boxes of the same shape \(n,\)"),
        ({"env": Other()}, "env must be an EpisodicTaskEnv"),
        ({"env": Doubled(EpisodicTaskEnv(Completion()))}, "env must not change the observations or actions"),
        ({"env": VecNormalize(DummyVecEnv([lambda: EpisodicTaskEnv(Completion())]))}, "env must not"),
    ],
)
def test_bad_arguments_are_named(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SupervisedMetaLearner(
            **{"policy": "AutoassociatorPolicy", "env": EpisodicTaskEnv(Completion()), **kwargs}
        )


def test_action_spaces_without_an_answer_are_refused() -> None:
    space = gym.spaces.MultiDiscrete([2, 2])
    with pytest.raises(ValueError, match="action_space must be Box or Discrete, got MultiDiscrete"):
        type("Any", (SupervisedPolicy,), {"make_network": None})(space, space, lambda _: 1e-3)
