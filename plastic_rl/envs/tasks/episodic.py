"""Supervised tasks as environments: an episode shows things, and its last action is held against a target."""

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from numpy.typing import NDArray

from plastic_rl.arguments import check_count
from plastic_rl.envs.arguments import can_render, check_render_mode
from plastic_rl.envs.state import Stateful
from plastic_rl.envs.tasks.bars import draw_bars
from plastic_rl.envs.tasks.task import DrawnTask, Episodes, EpisodicTask, check_task, measures


class EpisodicTaskEnv(Stateful, gym.Env[Any, Any]):
    """Makes a supervised task an environment that any agent can play.

    The step with number t = 0 ... T - 1 takes the action that answers observation t. Only the last one
    counts: it gets the task's score as its reward, all others 0, and terminates the episode. The observation
    returned with it is the last one once more. Actions of a Box are clipped to it.

    `info["target"]` says from the start what the last action should be; an agent must not be shown it. The
    info of the last step has the task's metrics too.

    A task of one's own takes about twenty lines. This one shows three numbers and asks for their sum:

    >>> import gymnasium as gym
    >>> import numpy as np
    >>> from plastic_rl import Episodes, EpisodicTaskEnv
    >>> class SumTask:
    ...     observation_space = gym.spaces.Box(-1, 1, (1,))
    ...     action_space = gym.spaces.Box(-3, 3, (1,))
    ...     episode_length = 3
    ...
    ...     def sample_episodes(self, batch, rng):
    ...         numbers = rng.uniform(-1, 1, (3, batch, 1)).astype(np.float32)
    ...         return Episodes(observations=numbers, targets=numbers.sum(axis=0))
    ...
    ...     def score(self, episodes, actions):
    ...         return -((actions - episodes.targets) ** 2).sum(axis=-1)
    >>> env = EpisodicTaskEnv(SumTask())
    >>> observation, info = env.reset(seed=0)
    >>> rewards = [env.step(info["target"])[1] for _ in range(3)]
    >>> rewards == [0, 0, 0]
    True
    >>> env.sample_episodes(16).observations.shape
    (3, 16, 1)

    Registered, it goes where any environment goes, the command line among them. `EpisodicTaskVectorEnv` is
    its batched form:

    >>> from functools import partial
    >>> from plastic_rl.envs import EpisodicTaskVectorEnv
    >>> single, batched = partial(EpisodicTaskEnv, SumTask()), partial(EpisodicTaskVectorEnv, SumTask())
    >>> gym.register("DocSum-v0", single, vector_entry_point=batched)
    >>> gym.make_vec("DocSum-v0", num_envs=16).reset(seed=0)[0].shape
    (16, 1)

    Args:
        task: an object as described by `EpisodicTask`. Two of its episodes are drawn and checked at once.
        render_mode: "rgb_array" or None. The picture is the task's `frame`, or bars if it has none.

    Raises:
        TypeError: the task lacks an attribute or has one of the wrong type.
        ValueError: what the task draws or scores does not fit its own spaces, or the render mode is unknown.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    state_attributes: ClassVar[tuple[str, ...]] = ("_episode", "_action", "_steps")

    def __init__(self, task: EpisodicTask, render_mode: str | None = None):
        check_task(task)
        self.task = task
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        self.observation_space = task.observation_space
        self.action_space = task.action_space
        self._episode: Episodes | None = None
        self._action: NDArray[Any] | None = None
        self._steps = 0

    def _restored(self) -> None:
        if isinstance(self._episode, dict):
            self._episode = Episodes(**self._episode)

    def sample_episodes(self, batch: int) -> Episodes:
        """Draw whole episodes at once, independent of the one that is being played.

        They come from the same generator as the episodes of `reset`, and `reset(seed=...)` seeds both.

        Args:
            batch: how many; at least 1.

        Raises:
            ValueError: `batch` is not a positive integer.
        """
        return self.task.sample_episodes(check_count("batch", batch), self.np_random)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start a new episode; `options` are not used.

        Returns:
            The first observation, and the target of the last action in the info.
        """
        super().reset(seed=seed, options=options)
        self._episode = self.sample_episodes(1)
        self._action, self._steps = None, 0
        return self._observe(), {"target": target_of(self._episode, 0)}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Answer the present observation and go on to the next.

        Returns:
            The observation; the reward; `terminated`, true on the last step; `truncated`, always false; the
            info with the target and, on the last step, the task's metrics.

        Raises:
            ResetNeeded: there was no `reset` yet, or none since the episode's end.
            ValueError: the action is not one of the action space.
        """
        if self._episode is None:
            raise ResetNeeded("Cannot call env.step() before calling env.reset()")
        if self._steps == self.task.episode_length:
            raise ResetNeeded("Cannot call env.step() after the episode's end: call env.reset() first")
        self._action = _check_action(self.action_space, action)
        self._steps += 1
        terminated = self._steps == self.task.episode_length
        reward, info = 0.0, {"target": target_of(self._episode, 0)}
        if terminated:
            reward = float(self.task.score(self._episode, self._action[None])[0])
            metrics = measures(self.task, self._episode, self._action[None])
            info |= {name: float(values[0]) for name, values in metrics.items()}
        return self._observe(), reward, terminated, False, info

    def render(self) -> NDArray[np.uint8] | None:
        """Show the episode so far as an (H, W, 3) uint8 picture.

        Raises:
            ResetNeeded: there was no `reset` yet.
        """
        if not can_render(self.render_mode, self._episode is not None):
            return None
        assert self._episode is not None
        return draw_episode(self.task, self._episode, 0, self._steps, self._action)

    def _observe(self) -> Any:
        assert self._episode is not None
        present = min(self._steps, self.task.episode_length - 1)
        return at_step(self._episode.observations, present, 0)


def draw_episode(
    task: EpisodicTask, episodes: Episodes, row: int, steps: int, action: NDArray[Any] | None
) -> NDArray[np.uint8]:
    """One of the episodes after so many steps, of which `action` was the last: (H, W, 3)."""
    present = min(steps, task.episode_length - 1)
    so_far = at_step(episodes.observations, slice(present + 1), row)
    before = at_step(episodes.observations, steps - 1, row)
    # The last action belongs to the observation before, which may be shown for several steps.
    is_answered = steps > 0 and data_equivalence(
        before, at_step(episodes.observations, present, row), exact=True
    )
    answer = action if is_answered else None
    if isinstance(task, DrawnTask):
        return task.frame(so_far, answer, target_of(episodes, row))
    return draw_bars(task, so_far, answer, target_of(episodes, row))


def target_of(episodes: Episodes, row: int) -> Any:
    """The target of one episode: a copy, a plain number if it is one."""
    target = np.array(episodes.targets[row])
    return target if target.shape else target.item()


def at_step(observations: Any, step: int | slice, row: int) -> Any:
    """A copy of what one episode shows at a step or at several, of every part if it is a dict."""
    if isinstance(observations, dict):
        return {key: at_step(part, step, row) for key, part in observations.items()}
    return np.array(observations[step, row])


def _check_action(space: spaces.Space[Any], action: Any) -> NDArray[Any]:
    """The action as an array; clipped, if the space is a Box."""
    if not isinstance(space, spaces.Box):
        if not space.contains(action):
            raise ValueError(f"action must be in {space}, got {action!r}")
        return np.asarray(action)
    array = np.asarray(action, dtype=space.dtype)
    if array.shape != space.shape or not np.isfinite(array).all():
        raise ValueError(f"action must be {space.shape} finite numbers, got an array of shape {array.shape}")
    return np.clip(array, space.low, space.high)
