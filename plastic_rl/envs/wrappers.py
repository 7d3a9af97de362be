"""Wrappers that turn any Gymnasium environment into a meta-learning one."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import load_env_creator
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from plastic_rl.arguments import PLAIN_SPACES, check_count, check_flag

SampleTask = Callable[[Any, np.random.Generator], Mapping[str, Any] | None]


class PreviousActionReward(gym.Wrapper, RecordConstructorArgs):
    """Shows the agent what it did and what came of it: previous action, reward and done.

    With these a recurrent agent can find out by itself what a task is about (Duan et al., "RL^2", 2016;
    Wang et al., "Learning to reinforcement learn", 2016). Around `Lifetime`, not inside it.

    Discrete, MultiDiscrete and MultiBinary observations and those of a Box of up to two dimensions become one
    flat float32 Box: the observation (one-hot where it is discrete), the action, the reward, done. Larger
    boxes, images among them, become a Dict with the observation unchanged as `observation`. A Dict gets the
    keys `previous_action` (A,), `previous_reward` (1,) and `previous_done` (1,), all float32.

    What is added, all of it 0 after a reset:

    - action: one-hot for Discrete and MultiDiscrete, 0 or 1 for MultiBinary, for a Box scaled from its bounds
      to [-1, 1];
    - reward: clipped to `reward_range`; the reward that `step` returns is not changed;
    - done: 1 in the first observation of a new inner episode of `Lifetime`, and in the last one of an episode
      that terminated. Where a time limit cuts an episode off it stays 0: the value of that last observation
      stands for the steps that would have followed.

    Args:
        env: with Box (finite bounds), Discrete, MultiDiscrete or MultiBinary actions.
        reward_range: the smallest and the largest reward that is observed, finite, the range including 0.
        observe_done: whether done is added.

    Raises:
        ValueError: a space that is not supported, a Dict that has one of the keys already, or an argument
            outside its range.
    """

    def __init__(
        self, env: gym.Env, reward_range: Sequence[float] = (-10.0, 10.0), observe_done: bool = True
    ) -> None:
        RecordConstructorArgs.__init__(self, reward_range=reward_range, observe_done=observe_done)
        gym.Wrapper.__init__(self, env)
        self._low, self._high = _check_range(reward_range)
        self._observe_done = check_flag("observe_done", observe_done)
        # Kept: a wrapper asks every layer below it for its spaces.
        self._given, self._actions = env.observation_space, env.action_space
        self._n_actions = _action_size(self._actions)
        low = np.zeros(self._n_actions + 1 + observe_done, np.float32)
        high = np.ones_like(low)
        low[: self._n_actions] = -1 if isinstance(self._actions, spaces.Box) else 0
        low[self._n_actions], high[self._n_actions] = self._low, self._high
        large = isinstance(self._given, spaces.Box) and len(self._given.shape) > 2
        self._is_flat = isinstance(self._given, PLAIN_SPACES) and not large
        if self._is_flat:
            flat = spaces.utils.flatten_space(self._given)
            assert isinstance(flat, spaces.Box)
            with np.errstate(over="ignore"):  # float64 bounds beyond float32 become infinite
                low = np.concatenate([flat.low.astype(np.float32), low])
                high = np.concatenate([flat.high.astype(np.float32), high])
            self.observation_space = spaces.Box(low, high)
        elif isinstance(self._given, spaces.Dict | spaces.Box):
            keys, lows, highs = self._by_key(self._given), self._named(low), self._named(high)
            if taken := keys.keys() & lows:
                raise ValueError(f"the observation must not have the keys {sorted(taken)}: they are added")
            self.observation_space = spaces.Dict(keys | {k: spaces.Box(lows[k], highs[k]) for k in lows})
        else:
            allowed = "Box, Discrete, MultiDiscrete, MultiBinary or Dict"
            raise ValueError(f"observations must be {allowed}, got {self._given}")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode: the previous action, reward and done are 0."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._extend(observation, None, 0.0, False), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step; what is observed of it is described in the class's docstring."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        done = terminated or "inner_return" in info
        return self._extend(observation, action, float(reward), done), reward, terminated, truncated, info

    def _extend(self, observation: Any, action: Any, reward: float, done: bool) -> Any:
        added = np.zeros(self._n_actions + 1 + self._observe_done, np.float32)
        if action is not None:
            added[: self._n_actions] = _encode_action(self._actions, action)
        added[self._n_actions] = min(max(reward, self._low), self._high)
        if self._observe_done:
            added[-1] = done
        if self._is_flat:
            flat = spaces.utils.flatten(self._given, observation)
            return np.concatenate([flat, added], dtype=np.float32)  # type: ignore[list-item]
        return self._by_key(observation) | self._named(added)

    def _by_key(self, whole: Any) -> dict[str, Any]:
        return dict(whole) if isinstance(self._given, spaces.Dict) else {"observation": whole}

    def _named(self, added: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The parts of what is added, by the keys that they have in a Dict."""
        n = self._n_actions
        parts = {"previous_action": added[:n], "previous_reward": added[n : n + 1]}
        return {**parts, "previous_done": added[n + 1 :]} if self._observe_done else parts


class Lifetime(gym.Wrapper, RecordConstructorArgs):
    """Makes one episode, a lifetime, of several episodes of any environment: the inner ones.

    The end of an inner episode does not end the lifetime. The next one starts at once: the step returns its
    first observation, with the reward of the last one's last step. So a recurrent agent keeps its memory, and
    can do better in a later inner episode by what it found out in earlier ones. Let it see what happened:
    `PreviousActionReward(Lifetime(env))`.

    The lifetime terminates with its last inner episode, however that one ended, and is truncated after
    `max_steps` steps. The time limit of the environment (`max_episode_steps`) counts for inner episodes.

    What stays the same through a lifetime, the task, is what an inner reset does not draw anew. Say what it
    is with `sample_task` or `repeat_seed` where the environment's own resets draw it.

    `info` has `inner_episode`, the number of the inner episode that the step belongs to, from 0. The step
    that ends one has `inner_return` and `inner_length`, and `inner_reset_info` if another one follows. Where
    a monitor inside records inner episodes as `episode`, the lifetime's record takes their place, at its end:
    Stable-Baselines3's `make_vec_env(wrapper_class=Lifetime)` and `evaluate_policy` count lifetimes.

    Args:
        env: any environment; its episodes must end.
        episodes: number of inner episodes, at least 1.
        max_steps: of the lifetime, at least 1; None for no limit.
        sample_task: called as `sample_task(env.unwrapped, np_random)` before every lifetime. It may set
            attributes of the environment, and may return the options that each inner reset of the lifetime
            then gets. A function, or "package.module:function", which files and specifications can hold.
        repeat_seed: reset all inner episodes of a lifetime with one seed, drawn per lifetime. This fixes a
            task that the environment draws in its reset (a layout, a goal), and all other chance with it.

    Raises:
        ValueError: an argument outside its range, or `PreviousActionReward` inside, which would forget the
            last reward at every inner reset.
    """

    def __init__(
        self,
        env: gym.Env,
        episodes: int = 10,
        max_steps: int | None = None,
        sample_task: SampleTask | str | None = None,
        repeat_seed: bool = False,
    ) -> None:
        RecordConstructorArgs.__init__(
            self, episodes=episodes, max_steps=max_steps, sample_task=sample_task, repeat_seed=repeat_seed
        )
        gym.Wrapper.__init__(self, env)
        self.episodes = check_count("episodes", episodes)
        self.max_steps = None if max_steps is None else check_count("max_steps", max_steps)
        self.repeat_seed = check_flag("repeat_seed", repeat_seed)
        self._sample_task = _load_function("sample_task", sample_task)
        if any(isinstance(layer, PreviousActionReward) for layer in _layers(env)):
            raise ValueError("env must not contain PreviousActionReward: put that around Lifetime instead")
        # Stable-Baselines3's Monitor is known by its method: this module does without that package.
        self._monitored = any(
            isinstance(layer, gym.wrappers.RecordEpisodeStatistics) or hasattr(layer, "get_episode_rewards")
            for layer in _layers(env)
        )
        self._made = time.monotonic()
        self._random: np.random.Generator | None = None
        self._seed: int | None = None
        self._options: dict[str, Any] = {}
        self._running = False
        self._episode = self._steps = self._inner_steps = 0
        self._return = self._inner_return = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start a lifetime with a new task.

        Args:
            seed: of the task and of the first inner reset; later inner resets continue from it.
            options: for every inner reset of this lifetime; they beat those of `sample_task`.

        Raises:
            ValueError: `sample_task` returned neither options nor None.
        """
        if seed is not None or self._random is None:
            # Spawned: the environment seeds a generator of its own with the same number.
            self._random = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])
        task = None if self._sample_task is None else self._sample_task(self.env.unwrapped, self._random)
        if task is not None and not isinstance(task, Mapping):
            raise ValueError(f"sample_task must return a mapping of reset options or None, got {task!r}")
        self._options = {**(task or {}), **(options or {})}
        self._seed = int(self._random.integers(2**31)) if self.repeat_seed else seed
        observation, info = self._reset_inner()
        self._running, self._episode, self._steps, self._return = True, 0, 0, 0.0
        return observation, {**info, "inner_episode": 0}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, into the next inner episode where one ends.

        Raises:
            ResetNeeded: there was no `reset` yet, or none since the lifetime ended.
        """
        if not self._running:
            raise ResetNeeded("Cannot call env.step() before calling env.reset(), nor after a lifetime's end")
        observation, reward, inner_terminated, inner_truncated, info = self.env.step(action)
        info = {key: value for key, value in info.items() if not (self._monitored and key == "episode")}
        info["inner_episode"] = self._episode
        self._steps += 1
        self._inner_steps += 1
        self._return += float(reward)
        self._inner_return += float(reward)
        if inner_terminated or inner_truncated:
            info["inner_return"], info["inner_length"] = self._inner_return, self._inner_steps
            self._episode += 1
            if self._episode < self.episodes:
                observation, info["inner_reset_info"] = self._reset_inner()
        terminated = self._episode == self.episodes
        truncated = not terminated and self._steps == self.max_steps
        if terminated or truncated:
            self._running = False
            if self._monitored:
                seconds = round(time.monotonic() - self._made, 6)
                info["episode"] = {"r": round(self._return, 6), "l": self._steps, "t": seconds}
        return observation, reward, terminated, truncated, info

    def _reset_inner(self) -> tuple[Any, dict[str, Any]]:
        self._inner_steps, self._inner_return = 0, 0.0
        seed, self._seed = self._seed, self._seed if self.repeat_seed else None
        return self.env.reset(seed=seed, options=dict(self._options) or None)


def _layers(env: gym.Env) -> Iterator[gym.Env]:
    """The wrappers from the outermost on, the environment itself last."""
    yield env
    while isinstance(env, gym.Wrapper):
        env = env.env
        yield env


def _action_size(space: spaces.Space) -> int:
    if isinstance(space, spaces.Box) and not space.is_bounded():
        raise ValueError(f"actions of a Box must have finite bounds, got {space}")
    if not isinstance(space, PLAIN_SPACES):
        raise ValueError(f"actions must be Box, Discrete, MultiDiscrete or MultiBinary, got {space}")
    return spaces.utils.flatdim(space)


def _encode_action(space: spaces.Space, action: Any) -> NDArray[Any]:
    """An action as numbers in [-1, 1], (A,)."""
    flat = np.asarray(spaces.utils.flatten(space, action))
    if not isinstance(space, spaces.Box):
        return flat
    low, high = space.low.ravel().astype(np.float64), space.high.ravel().astype(np.float64)
    half = high / 2 - low / 2
    return np.clip((flat - low - half) / np.where(half > 0, half, 1), -1, 1)


def _check_range(value: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = (float(bound) for bound in value)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (-math.inf < low <= 0 <= high < math.inf and low < high):
        raise ValueError(f"reward_range must be two finite numbers, low <= 0 <= high, got {value!r}")
    return low, high


def _load_function(name: str, value: object) -> Callable[..., Any] | None:
    if value is None or callable(value):
        return value
    try:
        function = load_env_creator(str(value))
    except (ImportError, AttributeError, ValueError):
        function = None
    if not callable(function):
        raise ValueError(f'{name} must be a function or "package.module:function" of one, got {value!r}')
    return function
