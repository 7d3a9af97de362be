"""What the agent did and what came of it, shown in the next observation."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from plastic_rl.envs.wrappers.transition import Transition


class PreviousActionReward(gym.Wrapper, RecordConstructorArgs):
    """Shows the agent what it did and what came of it: previous action, reward and done.

    With these a recurrent agent can find out by itself what a task is about (Duan et al., "RL^2", 2016;
    Wang et al., "Learning to reinforcement learn", 2016). Around `Lifetime`, not inside it.

    Discrete, MultiDiscrete and MultiBinary observations and those of a Box of up to two dimensions become one
    flat float32 Box: the observation (one-hot where it is discrete), the action, the reward, done, the
    previous observation. Larger boxes, images among them, become a Dict with the observation unchanged as
    `observation`. A Dict gets the keys `previous_action` (A,), `previous_reward` (1,) and `previous_done`
    (1,), all float32, and `previous_` with each of its own.

    What is added, all of it 0 after a reset:

    - action: one-hot for Discrete and MultiDiscrete, 0 or 1 for MultiBinary, for a Box scaled from its bounds
      to [-1, 1];
    - reward: clipped to `reward_range`; the reward that `step` returns is not changed;
    - done: 1 in the first observation of a new inner episode of `Lifetime`, and in the last one of an episode
      that terminated. Where a time limit cuts an episode off it stays 0: the value of that last observation
      stands for the steps that would have followed;
    - previous observation: the one that the action was taken on, so that a network whose memory is read with
      what is seen now can tie the outcome to it; in a Dict, discrete parts of it are one-hot.

    `BatchedPreviousActionReward` is the form for a batch.

    Args:
        env: with Box (finite bounds), Discrete, MultiDiscrete or MultiBinary actions.
        reward_range: the smallest and the largest reward that is observed, finite, the range including 0.
        observe_done: whether done is added.
        observe_previous: whether the previous observation is added.

    Raises:
        ValueError: a space that is not supported, a Dict that has one of the keys already, or an argument
            outside its range.
    """

    def __init__(
        self,
        env: gym.Env,
        reward_range: Sequence[float] = (-10.0, 10.0),
        observe_done: bool = True,
        observe_previous: bool = False,
    ) -> None:
        RecordConstructorArgs.__init__(
            self, reward_range=reward_range, observe_done=observe_done, observe_previous=observe_previous
        )
        gym.Wrapper.__init__(self, env)
        # Kept: a wrapper asks every layer below it for its spaces.
        self._transition = Transition(
            env.observation_space, env.action_space, reward_range, observe_done, observe_previous
        )
        self.observation_space = self._transition.observation_space
        self._last: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode: all that is added is 0."""
        observation, info = self.env.reset(seed=seed, options=options)
        added = np.zeros((1, self._transition.size), np.float32)
        nothing = _zeros_like(self._transition.kept(_one(observation)))
        return self._extend(observation, added, nothing), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step; what is observed of it is described in the class's docstring."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        done = terminated or "inner_return" in info
        added = self._transition.added(_one(action), [float(reward)], [done])
        return self._extend(observation, added, self._last), reward, terminated, truncated, info

    def _extend(self, observation: Any, added: NDArray[np.float32], kept: Any) -> Any:
        self._last = self._transition.kept(_one(observation))
        if self._transition.is_flat:
            return self._transition.join(_one(observation), added, kept)[0]
        return self._transition.join(observation, added[0], {key: part[0] for key, part in kept.items()})


class BatchedPreviousActionReward(VectorWrapper):
    """`PreviousActionReward` for a batch of environments: the same observations, at the batch's speed.

    Args:
        env: a batched environment that resets in the same step, as all of this package do.
        reward_range, observe_done, observe_previous: as for `PreviousActionReward`.

    Raises:
        ValueError: as for `PreviousActionReward`, or the environment resets in another mode.
    """

    def __init__(
        self,
        env: VectorEnv,
        reward_range: Sequence[float] = (-10.0, 10.0),
        observe_done: bool = True,
        observe_previous: bool = False,
    ) -> None:
        super().__init__(env)
        check_same_step(env)
        self._transition = Transition(
            env.single_observation_space,
            env.single_action_space,
            reward_range,
            observe_done,
            observe_previous,
        )
        self.single_observation_space = self._transition.observation_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        # Of every environment, what was added last, and what will be added of its last observation.
        self._added = np.zeros((self.num_envs, self._transition.size), np.float32)
        self._shown: Any = None
        self._next: Any = None

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start episodes, in which all that is added is 0, in all environments or in `reset_mask`."""
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, dtype=bool))
        observations, infos = self.env.reset(seed=seed, options=options)
        self._next = self._transition.kept(observations)
        if self._shown is None:
            self._shown = _zeros_like(self._next)
        self._forget(mask)
        return self._transition.join(observations, self._added.copy(), _copy(self._shown)), infos

    def step(self, actions: ArrayLike) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step; what is observed of it is described in the docstring of `PreviousActionReward`."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        final = infos.get("final_info", {})
        done = terminated | infos.get("_inner_return", False) | final.get("_inner_return", False)
        self._added = self._transition.added(np.asarray(actions), rewards, done)
        self._shown, self._next = self._next, self._transition.kept(observations)
        ended = np.flatnonzero(terminated | truncated)
        if len(ended):
            last = np.full(self.num_envs, None)
            for i in ended:
                added, shown = self._added[i : i + 1].copy(), _rows(self._shown, i)
                whole = self._transition.join(_one(infos["final_obs"][i]), added, shown)
                last[i] = (
                    {key: part[0] for key, part in whole.items()} if isinstance(whole, dict) else whole[0]
                )
            infos = {**infos, "final_obs": last}
            self._forget(ended)
        joined = self._transition.join(observations, self._added.copy(), _copy(self._shown))
        return joined, rewards, terminated, truncated, infos

    def _forget(self, which: NDArray[Any]) -> None:
        self._added[which] = 0
        for part in self._shown.values() if isinstance(self._shown, dict) else [self._shown]:
            part[which] = 0


def check_same_step(env: VectorEnv) -> None:
    """Refuse a batch that resets in another mode than SAME_STEP.

    Raises:
        ValueError: it does.
    """
    mode = env.metadata.get("autoreset_mode")
    if mode != AutoresetMode.SAME_STEP:
        raise ValueError(f"env must reset itself in the mode {AutoresetMode.SAME_STEP}, got {mode}")


def _one(value: Any) -> Any:
    """A value as a batch of one."""
    if isinstance(value, dict):
        return {key: _one(part) for key, part in value.items()}
    return np.asarray(value)[None]


def _rows(batch: Any, i: Any) -> Any:
    """Row i as a batch of one: a copy."""
    if isinstance(batch, dict):
        return {key: part[i : i + 1].copy() for key, part in batch.items()}
    return batch[i : i + 1].copy()


def _copy(batch: Any) -> Any:
    return {key: part.copy() for key, part in batch.items()} if isinstance(batch, dict) else batch.copy()


def _zeros_like(batch: Any) -> Any:
    if isinstance(batch, dict):
        return {key: np.zeros_like(part) for key, part in batch.items()}
    return np.zeros_like(batch)
