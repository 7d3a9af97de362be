"""Supervised tasks as environments: an episode shows things, and its last action is held against a target."""

from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from plastic_rl.arguments import check_count
from plastic_rl.envs.arguments import check_render_mode


@dataclass(frozen=True, eq=False)
class Episodes:
    """B whole episodes of T steps each, time first.

    Attributes:
        observations: (T, B, *observation shape), or a dict of such arrays where the observation space is a
            Dict. What is to be predicted must not be in them.
        targets: (B, *action shape): what the action of the last step should be.
    """

    observations: NDArray[Any] | dict[str, NDArray[Any]]
    targets: NDArray[Any]


class EpisodicTask(Protocol):
    """What `EpisodicTaskEnv` needs to know of a task; any object that has these will do.

    Two more methods are used where the task has them:

    - `metrics(episodes, actions)`: a dict of (B,) arrays, such as an error rate; the environment puts them
      into the info of the last step.
    - `frame(observations, action, target)`: an (H, W, 3) uint8 picture of one episode, for the render mode
      "rgb_array". `observations` are those so far, (t, *shape) or a dict of them; `action` is the one with
      which the last of them (or one equal to it) was answered, None where there is none yet.
    """

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """A Box, a Discrete or another space of arrays, or a Dict of these."""

    @property
    def action_space(self) -> spaces.Space[Any]:
        """A Box (a learner takes the squared error) or a Discrete (it takes the cross-entropy)."""

    @property
    def episode_length(self) -> int:
        """T, the same for every episode."""

    def sample_episodes(self, batch: int, rng: np.random.Generator) -> Episodes:
        """Draw `batch` episodes, with no other source of chance than `rng`."""

    def score(self, episodes: Episodes, actions: NDArray[Any]) -> NDArray[Any]:
        """The rewards, (B,), of the last step's actions, (B, *action shape)."""


class EpisodicTaskEnv(gym.Env[Any, Any]):
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

    Args:
        task: an object as described by `EpisodicTask`. Two of its episodes are drawn and checked at once.
        render_mode: "rgb_array" or None.

    Raises:
        TypeError: the task lacks an attribute or has one of the wrong type.
        ValueError: what the task draws or scores does not fit its own spaces, or the render mode is unknown.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, task: EpisodicTask, render_mode: str | None = None):
        check_task(task)
        self.task: Any = task  # not typed as EpisodicTask, which cannot speak of optional methods
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        if self.render_mode is not None and not callable(getattr(task, "frame", None)):
            raise ValueError(f"render_mode must be None: {type(task).__name__} has no method frame")
        self.observation_space = task.observation_space
        self.action_space = task.action_space
        self._episode: Episodes | None = None
        self._action: NDArray[Any] | None = None
        self._steps = 0

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
        return self._observe(), {"target": self._target()}

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
        reward, info = 0.0, {"target": self._target()}
        if terminated:
            reward = float(self.task.score(self._episode, self._action[None])[0])
            if hasattr(self.task, "metrics"):
                metrics = self.task.metrics(self._episode, self._action[None])
                info |= {name: float(values[0]) for name, values in metrics.items()}
        return self._observe(), reward, terminated, False, info

    def render(self) -> NDArray[np.uint8] | None:
        """Show the episode so far as an (H, W, 3) uint8 picture.

        Raises:
            ResetNeeded: there was no `reset` yet.
        """
        if self.render_mode is None:
            gym.logger.warn("render() does nothing: the environment was made without a render_mode")
            return None
        if self._episode is None:
            raise ResetNeeded("Cannot call env.render() before calling env.reset()")
        so_far = _at(self._episode.observations, (slice(self._present() + 1), 0))
        return self.task.frame(so_far, self._action if self._is_answered() else None, self._target())

    def _present(self) -> int:
        """The number of the observation that the agent sees."""
        return min(self._steps, self.task.episode_length - 1)

    def _observe(self) -> Any:
        assert self._episode is not None
        return _at(self._episode.observations, (self._present(), 0))

    def _target(self) -> Any:
        assert self._episode is not None
        target = np.array(self._episode.targets[0])
        return target if target.shape else target.item()

    def _is_answered(self) -> bool:
        """Whether the last action answered what the agent sees now, which may be shown for several steps."""
        assert self._episode is not None
        if self._steps == 0:
            return False
        before, now = _at(self._episode.observations, (self._steps - 1, 0)), self._observe()
        if isinstance(now, dict):
            return all(np.array_equal(before[key], now[key]) for key in now)
        return np.array_equal(before, now)


def check_task(task: EpisodicTask) -> None:
    """Check that a task has what `EpisodicTask` asks for, and that what it draws fits its own spaces.

    Raises:
        TypeError: an attribute is missing or has the wrong type.
        ValueError: episodes, scores or metrics do not fit.
    """
    if isinstance(task, type):
        raise TypeError(f"task must be an object, got the class {task.__name__}: call it")
    name = type(task).__name__
    for attribute in ("observation_space", "action_space", "episode_length", "sample_episodes", "score"):
        if not hasattr(task, attribute):
            raise TypeError(f"{name} must have the attribute {attribute}")
    for attribute in ("observation_space", "action_space"):
        if not isinstance(space := getattr(task, attribute), spaces.Space):
            raise TypeError(f"{name}.{attribute} must be a space of Gymnasium, got {space!r}")
    length = check_count(f"{name}.episode_length", task.episode_length)

    episodes = task.sample_episodes(2, np.random.default_rng(0))
    drawn = f"{name}.sample_episodes(2, rng)"
    if not isinstance(episodes, Episodes):
        raise TypeError(f"{drawn} must return Episodes, got {type(episodes).__name__}")
    _check_batch(f"{drawn}.observations", episodes.observations, task.observation_space, (length, 2))
    _check_batch(f"{drawn}.targets", episodes.targets, task.action_space, (2,))

    scores = {f"{name}.score": task.score(episodes, episodes.targets)}
    if hasattr(task, "metrics"):
        metrics = task.metrics(episodes, episodes.targets)
        if taken := {"target", "episode"} & set(metrics):
            raise ValueError(f"{name}.metrics must not use the names {sorted(taken)}: they have a meaning")
        scores |= {f"{name}.metrics: {key!r}": values for key, values in metrics.items()}
    for what, values in scores.items():
        if np.shape(values) != (2,) or not np.isfinite(values).all():
            raise ValueError(f"{what} must be 2 finite numbers for 2 episodes, got {values!r}")


def _check_batch(name: str, values: Any, space: spaces.Space[Any], lead: tuple[int, ...]) -> None:
    """Check that `values` hold elements of a space, in an array of the shape `lead` or a dict of such."""
    if isinstance(space, spaces.Dict):
        if not isinstance(values, dict) or set(values) != set(space.keys()):
            found = sorted(values) if isinstance(values, dict) else type(values).__name__
            raise ValueError(f"{name} must be a dict with the keys {sorted(space.keys())}, got {found}")
        for key, part in space.items():
            _check_batch(f"{name}[{key!r}]", values[key], part, lead)
        return
    if space.shape is None:
        raise TypeError(f"{name}: a space of arrays, or a Dict of these, is needed, got {space}")
    shape = (*lead, *space.shape)
    if not isinstance(values, np.ndarray) or values.shape != shape:
        raise ValueError(f"{name} must be an array of shape {shape}, got {np.shape(values)}")
    for index in np.ndindex(lead):
        if not space.contains(values[index]):
            raise ValueError(f"{name}{list(index)} must be in {space}, got {values.dtype} {values[index]}")


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


def _at(values: Any, index: Any) -> Any:
    """A copy of `values[index]`, of every entry if it is a dict."""
    if isinstance(values, dict):
        return {key: np.array(part[index]) for key, part in values.items()}
    return np.array(values[index])
