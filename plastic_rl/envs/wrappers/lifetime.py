"""Several episodes of any environment as one lifetime."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator
from gymnasium.error import ResetNeeded
from gymnasium.utils import RecordConstructorArgs

from plastic_rl.arguments import check_count, check_flag
from plastic_rl.envs.wrappers.previous import PreviousActionReward

SampleTask = Callable[[Any, np.random.Generator], Mapping[str, Any] | None]


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
        self._sample_task = load_function("sample_task", sample_task)
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


def load_function(name: str, value: object) -> Callable[..., Any] | None:
    """The function that was given, itself or as "package.module:function"; None stays None.

    Raises:
        ValueError: there is no such function.
    """
    if value is None or callable(value):
        return value
    try:
        function = load_env_creator(str(value))
    except (ImportError, AttributeError, ValueError):
        function = None
    if not callable(function):
        raise ValueError(f'{name} must be a function or "package.module:function" of one, got {value!r}')
    return function
