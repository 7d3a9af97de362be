"""Actions that an environment rules out are never taken, and learning reckons with that."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib.common.envs import (
    InvalidActionEnvDiscrete,
    InvalidActionEnvMultiBinary,
    InvalidActionEnvMultiDiscrete,
)
from sb3_contrib.common.maskable.utils import get_action_masks
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from plastic_rl import GymnasiumVecEnv, PlasticA2C, PlasticPPO
from plastic_rl.analysis.playback import play
from plastic_rl.policies import PlasticPolicy
from plastic_rl.policies.masking import check_masks, mask_distribution
from plastic_rl.training import MaskedAgent, MaskedEvalCallback
from plastic_rl.training.evaluation import evaluate
from plastic_rl.training.rollout_data import Rollout

SMALL = {"hidden_size": 8}
ALGORITHMS = (PlasticA2C, PlasticPPO)


class Strict(gym.Wrapper):
    """Dies of an action that its mask rules out."""

    def step(self, action):
        mask = np.asarray(self.get_wrapper_attr("action_masks")())
        space = self.action_space
        if isinstance(space, spaces.Discrete):
            taken = [int(action)]
        else:
            sizes = space.nvec if isinstance(space, spaces.MultiDiscrete) else [2] * space.n
            taken = np.cumsum([0, *sizes[:-1]]) + np.asarray(action).astype(int)
        assert mask[taken].all(), f"{action} is ruled out by {mask}"
        return super().step(action)


ENVS = {
    "discrete": lambda: InvalidActionEnvDiscrete(dim=20, ep_length=7, n_invalid_actions=15),
    "multi_discrete": lambda: InvalidActionEnvMultiDiscrete(dims=[4, 5], ep_length=7, n_invalid_actions=6),
    "multi_binary": lambda: InvalidActionEnvMultiBinary(dims=6, ep_length=7, n_invalid_actions=5),
}


def strict(kind, n_envs=3, vec_env=DummyVecEnv):
    return vec_env([lambda: Monitor(Strict(ENVS[kind]()))] * n_envs)


class OwnForward(PlasticPolicy):
    """Is not recorded."""

    def forward(self, *args, **kwargs):
        return super().forward(*args, **kwargs)


@pytest.mark.parametrize("policy", ["MlpPolicy", OwnForward])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", ENVS)
def test_what_is_ruled_out_is_never_taken(kind, algorithm, policy):
    env = strict(kind)
    model = algorithm(policy, env, n_steps=16, policy_kwargs=SMALL, seed=0)
    model.learn(3 * 16 * 4, MaskedEvalCallback(strict(kind), eval_freq=16, n_eval_episodes=3))
    assert model._masks.kept.float().mean() < 0.8
    evaluate(model, env, episodes=5)
    evaluate_policy(MaskedAgent(model, env), env, n_eval_episodes=5)
    for _ in play(model, env, 20):
        pass
    model.use_masking = False
    with pytest.raises(AssertionError, match="is ruled out by"):
        model.learn(10_000)


def test_masks_come_from_other_processes_and_batches():
    model = PlasticA2C("MlpPolicy", strict("discrete", 2, SubprocVecEnv), n_steps=8, policy_kwargs=SMALL)
    model.learn(64)
    model.env.close()

    class Batch(gym.vector.VectorWrapper):
        def action_masks(self):
            return np.stack([env.get_wrapper_attr("action_masks")() for env in self.env.unwrapped.envs])

    batch = gym.vector.SyncVectorEnv(
        [lambda: Strict(ENVS["discrete"]())] * 3, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP
    )
    ppo = PlasticPPO("MlpPolicy", GymnasiumVecEnv(Batch(batch)), n_steps=8, policy_kwargs=SMALL)
    ppo.learn(96)
    assert ppo._masks.kept.sum() == 8 * 3 * 5


class Lock(gym.Env):
    """A cue is seen first; two of many buttons work at each step, and the cue says which is right.

    One that does not work ends the episode, so that without masks nearly every press is the last one.
    """

    n_buttons, n_steps = 20, 2
    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(n_buttons)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cue, self.time = int(self.np_random.integers(2)), 0
        self._draw()
        return np.array([self.cue * 2 - 1, 1], np.float32), {}

    def _draw(self):
        half = self.n_buttons // 2
        self.works = self.np_random.integers(half, size=2) + np.array([0, half])

    def action_masks(self):
        return np.isin(np.arange(self.n_buttons), self.works)

    def step(self, action):
        self.time += 1
        works, right = action in self.works, action == self.works[self.cue]
        over = self.time == self.n_steps
        self._draw()
        return np.zeros(2, np.float32), float(right) / self.n_steps, not works or over, False, {}


@pytest.mark.parametrize("algorithm", [PlasticA2C, pytest.param(PlasticPPO, marks=pytest.mark.slow)])
def test_a_task_is_learned_that_cannot_be_without_masks(algorithm):
    scores = {}
    for use_masking in (True, False):
        env = DummyVecEnv([lambda: Monitor(Lock())] * 16)
        env.seed(0)
        kwargs = {"n_epochs": 4} if algorithm is PlasticPPO else {"use_rms_prop": False}
        model = algorithm(
            "MlpPolicy",
            env,
            learning_rate=3e-3,
            n_steps=8,
            policy_kwargs={"hidden_size": 32},
            seed=0,
            use_masking=use_masking,
            **kwargs,
        )
        model.learn(8_000)
        scores[use_masking] = evaluate(model, env, episodes=100, deterministic=True).mean
    assert scores[True] > 0.9
    assert scores[False] < 0.1


def test_recorded_and_repeated_passes_agree_and_count_only_what_is_allowed():
    model = PlasticA2C("MlpPolicy", strict("discrete"), n_steps=8, policy_kwargs=SMALL, seed=0)
    model.learn(24, log_interval=None)
    model.collect_rollouts(model.env, *_callback_and_buffer(model))
    rollout = model.last_rollout()
    again = Rollout(**{**rollout.__dict__, "recording": None})
    for one, other in zip(rollout.evaluate(model.policy), again.evaluate(model.policy), strict=True):
        torch.testing.assert_close(one, other)
    _, log_prob, entropy = again.evaluate(model.policy)
    torch.testing.assert_close(rollout.old_log_prob, log_prob.detach())
    assert entropy.max() < np.log(5) + 1e-6
    some = rollout.environments(torch.tensor([2, 0]))
    torch.testing.assert_close(some.evaluate(model.policy)[1], log_prob[:, [2, 0]])


def _callback_and_buffer(model):
    _, callback = model._setup_learn(24, reset_num_timesteps=False)
    return callback, model.rollout_buffer, model.n_steps


@pytest.mark.parametrize("kind", ENVS)
def test_a_masked_distribution_is_the_plain_one_among_what_is_allowed(kind):
    env = ENVS[kind]()
    model = PlasticA2C("MlpPolicy", env, policy_kwargs=SMALL, seed=0)
    space = env.action_space
    assert isinstance(model.policy, PlasticPolicy)
    distribution = model.policy.action_distribution(torch.randn(1, 8))
    all_allowed = torch.ones(1, len(env.action_masks()), dtype=torch.bool)
    masked = mask_distribution(distribution, space, all_allowed)
    action = torch.as_tensor(np.asarray(space.sample()))[None]
    torch.testing.assert_close(masked.log_prob(action), distribution.log_prob(action.float()))
    torch.testing.assert_close(masked.entropy(), distribution.entropy())


def test_predict_takes_masks_and_says_where_they_are_missing():
    env = ENVS["discrete"]()
    obs, _ = env.reset()
    model = PlasticA2C("MlpPolicy", ActionMasker(env, lambda env: env.action_masks()), policy_kwargs=SMALL)
    for seen in range(20):
        only = np.arange(20) == seen
        action, _ = model.predict(obs, action_masks=only, deterministic=bool(seen % 2))
        assert action == seen
    model.learn(10)
    with pytest.warns(UserWarning, match="predict has no action_masks"):
        evaluate_policy(model, model.env, n_eval_episodes=1)
    # As contrib's users write it.
    vec_env = model.get_env()
    obs = vec_env.reset()
    model.predict(obs, action_masks=get_action_masks(vec_env))


@pytest.mark.parametrize(
    ("space", "masks", "message"),
    [
        (spaces.Discrete(3), [[1, 1]], r"must have shape \(1, 3\), got \(1, 2\)"),
        (spaces.Discrete(3), [[1, np.nan, 1]], "must be true or false, got nan at .1. for environment 0"),
        (spaces.Discrete(3), [[1, 2, 1]], "must be true or false, got .*2.* at .1. for environment 0"),
        (spaces.Discrete(3), [[0, 0, 0]], "must allow an action, got none for environment 0"),
        (spaces.MultiDiscrete([2, 3]), [[1, 1, 0, 0, 0]], "got none in dimension 1 of its actions"),
        (spaces.MultiBinary(2), [[0, 0, 1, 0]], "got none in dimension 0 of its actions for environment 0"),
        (spaces.Box(0, 1, (2,)), [[1, 1]], "action_masks are for a Discrete"),
        (spaces.MultiDiscrete(np.full((1, 2), 2)), [[1, 1, 1, 1]], "action_masks are for a Discrete"),
    ],
)
def test_bad_masks_are_named(space, masks, message):
    with pytest.raises(ValueError, match=message):
        check_masks(masks, space, 1)


def test_a_bad_mask_in_training_names_environment_and_step():
    env = strict("discrete", 2)
    model = PlasticA2C("MlpPolicy", env, n_steps=8, policy_kwargs=SMALL)
    bad = env.envs[1].unwrapped
    bad.invalid_actions = []
    bad.action_masks = lambda: [False] * 20
    with pytest.raises(ValueError, match="got none for environment 1 before step 1 of the rollout"):
        model.learn(16)
    del bad.action_masks
    model.learn(16)


def test_masks_that_cannot_be_used_are_refused_before_a_training():
    env = ENVS["discrete"]()
    with pytest.raises(ValueError, match="use_masking must be False for ActorCriticPolicy"):
        PlasticA2C(ActorCriticPolicy, env).learn(8)
    boxes = gym.make("Pendulum-v1").unwrapped
    boxes.action_masks = lambda: [True]
    with pytest.raises(ValueError, match="give use_masking=False to leave them unused"):
        PlasticA2C("MlpPolicy", boxes, policy_kwargs=SMALL).learn(8)
    PlasticA2C("MlpPolicy", boxes, policy_kwargs=SMALL, use_masking=False).learn(8)
