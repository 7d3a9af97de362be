"""What a task of whole episodes is: what it draws, what it may add, and the checks of both."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from plastic_rl.arguments import check_count


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
    """What the environments of tasks need to know of one; any object that has these will do.

    A task may have more: measures of its answers (`MeasuredTask`) and a picture of its own (`DrawnTask`).
    """

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """A Box, a Discrete or another space of arrays, or a Dict of these."""
        ...

    @property
    def action_space(self) -> spaces.Space[Any]:
        """A Box (a learner takes the squared error) or a Discrete (it takes the cross-entropy)."""
        ...

    @property
    def episode_length(self) -> int:
        """T, the same for every episode."""
        ...

    def sample_episodes(self, batch: int, rng: np.random.Generator) -> Episodes:
        """Draw `batch` episodes, with no other source of chance than `rng`."""
        ...

    def score(self, episodes: Episodes, actions: NDArray[Any]) -> NDArray[Any]:
        """The rewards, (B,), of the last step's actions, (B, *action shape)."""
        ...


@runtime_checkable
class MeasuredTask(Protocol):
    """A task that measures more of an answer than its score."""

    def metrics(self, episodes: Episodes, actions: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Arrays (B,) by name, such as an error rate; they stand in the info of the last step."""
        ...


@runtime_checkable
class DrawnTask(Protocol):
    """A task with a picture of its own; all others are drawn as bars."""

    def frame(self, observations: Any, action: Any, target: Any) -> NDArray[np.uint8]:
        """One episode as an (H, W, 3) picture.

        Args:
            observations: those so far, (t, *shape) or a dict of them.
            action: the one with which the last of them (or one equal to it) was answered; None where there is
                none yet.
            target: what the last action should be.
        """
        ...


def measures(task: EpisodicTask, episodes: Episodes, actions: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The task's metrics, (B,) by name; none where it has none."""
    return task.metrics(episodes, actions) if isinstance(task, MeasuredTask) else {}


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
    metrics = measures(task, episodes, episodes.targets)
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
        if not space.contains(np.asarray(values[index])):
            raise ValueError(f"{name}{list(index)} must be in {space}, got {values.dtype} {values[index]}")
