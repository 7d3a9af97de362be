"""Many episodes of a task at once, behind Gymnasium's vector interface."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from plastic_rl.envs.batched import BatchedEnv
from plastic_rl.envs.tasks.episodic import draw_episode
from plastic_rl.envs.tasks.task import Episodes, EpisodicTask, check_task, measures


class EpisodicTaskVectorEnv(BatchedEnv):
    """The batched form of `EpisodicTaskEnv` for any task: its episodes are drawn and scored in batches.

    Observations, rewards and infos of each of the B environments are those of `EpisodicTaskEnv`; the metrics
    of the last step stand in `infos["final_info"]`. Seeds, resets and the layout of the infos are those of
    every `BatchedEnv`.

    Args:
        task: an object as described by `EpisodicTask`. Two of its episodes are drawn and checked at once.
        num_envs: B, at least 1.
        max_episode_steps: episodes are truncated after so many steps, at least 1; None for no limit but the
            task's own end.
        render_mode: "rgb_array" or None.

    Raises:
        TypeError: the task lacks an attribute or has one of the wrong type.
        ValueError: what the task draws or scores does not fit its own spaces, or another argument is outside
            of its range.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        **BatchedEnv.metadata,
        "render_modes": ["rgb_array"],
        "render_fps": 10,
    }
    state_attributes: ClassVar[tuple[str, ...]] = ("_episodes", "_actions", "_measures")

    def __init__(
        self,
        task: EpisodicTask,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ):
        check_task(task)
        super().__init__(
            num_envs,
            task.observation_space,
            task.action_space,
            max_episode_steps=max_episode_steps,
            render_mode=render_mode,
        )
        self.task = task
        self._rows = np.arange(self.num_envs)
        self._episodes = Episodes(
            _room(task.observation_space, (task.episode_length, self.num_envs)),
            _room(task.action_space, (self.num_envs,)),
        )
        self._actions: NDArray[Any] | None = None
        self._measures: dict[str, NDArray[Any]] = {}

    def _begin(self, which: NDArray[np.intp]) -> None:
        drawn = self.task.sample_episodes(len(which), self.np_random)
        _put(self._episodes.observations, (slice(None), which), drawn.observations)
        self._episodes.targets[which] = drawn.targets
        self._measures = {}

    def _advance(self, actions: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        self._actions = actions.copy()
        terminated = self._elapsed() == self.task.episode_length
        rewards = np.zeros(self.num_envs)
        if np.count_nonzero(terminated):
            which = terminated.nonzero()[0]
            ended = Episodes(
                _take(self._episodes.observations, (slice(None), which)), self._episodes.targets[which]
            )
            answers = actions[which]
            rewards[which] = self.task.score(ended, answers)
            for name, values in measures(self.task, ended, answers).items():
                column = np.zeros(self.num_envs)
                column[which] = values
                self._measures |= {name: column, f"_{name}": terminated.copy()}
        return rewards, terminated

    def _observe(self) -> Any:
        # The last observation is shown once more after the last step.
        steps = np.minimum(self._elapsed(), self.task.episode_length - 1)
        return _take(self._episodes.observations, (steps, self._rows))

    def _inform(self) -> dict[str, NDArray[Any]]:
        targets = self._episodes.targets
        # Single numbers as the single environment gives them, in Python's types.
        kind = float if targets.ndim == 1 and targets.dtype.kind == "f" else targets.dtype
        return {"target": targets.astype(kind), **self._measures}

    def _draw(self) -> Iterator[NDArray[np.uint8]]:
        for row, steps in enumerate(self._elapsed().tolist()):
            action = None if self._actions is None else self._actions[row]
            yield draw_episode(self.task, self._episodes, row, steps, action)


def _room(space: spaces.Space[Any], lead: tuple[int, ...]) -> Any:
    """Zeros for elements of a space, or a dict of such."""
    if isinstance(space, spaces.Dict):
        return {key: _room(part, lead) for key, part in space.items()}
    return np.zeros((*lead, *(space.shape or ())), space.dtype)


def _take(values: Any, index: Any) -> Any:
    """A copy of what stands at the index, of every part if it is a dict."""
    if isinstance(values, dict):
        return {key: _take(part, index) for key, part in values.items()}
    return values[index]


def _put(values: Any, index: Any, new: Any) -> None:
    """Write at the index, into every part if it is a dict."""
    if isinstance(values, dict):
        for key, part in values.items():
            _put(part, index, new[key])
    else:
        values[index] = new
