"""Many mazes at once: the rules of `PlasticMazeEnv`, batched with NumPy."""

from collections.abc import Iterator
from typing import Any, ClassVar, Unpack

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from plastic_rl.arguments import check_count
from plastic_rl.envs.batched import BatchedEnv
from plastic_rl.envs.maze.render import Trail, render_trail
from plastic_rl.envs.maze.rules import Maze, MazeArguments, MazeOptions


class PlasticMazeVectorEnv(BatchedEnv):
    """A batch of B mazes behind Gymnasium's vector interface; `gymnasium.make_vec` gives it for the maze ids.

    Rules, arguments, observations and information are those of `PlasticMazeEnv`, each maze with a goal of
    its own. Seeds, resets and the layout of the infos are those of every `BatchedEnv`.

    Args:
        num_envs: B, at least 1.
        max_episode_steps: length of an episode in steps, at least 1.
        render_mode: "rgb_array", "ansi" or None.
        options: the other arguments of `PlasticMazeEnv`.

    Raises:
        ValueError: an argument is outside of its range.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        **BatchedEnv.metadata,
        "render_modes": ["rgb_array", "ansi"],
        "render_fps": 10,
    }
    state_attributes: ClassVar[tuple[str, ...]] = ("_square", "_outcome", "_goal", "_hits", "_trails")

    def __init__(
        self,
        num_envs: int = 1,
        *,
        max_episode_steps: int = 250,
        render_mode: str | None = None,
        **options: Unpack[MazeArguments],
    ):
        self._maze = Maze(MazeOptions(**options))
        super().__init__(
            num_envs,
            self._maze.observation_space(),
            spaces.Discrete(4),
            max_episode_steps=check_count("max_episode_steps", max_episode_steps),
            render_mode=render_mode,
        )
        self._places = np.full(self._maze.num_squares, None)
        self._places[:] = self._maze.squares
        self._square = np.zeros(self.num_envs, dtype=np.intp)
        self._outcome = np.zeros(self.num_envs, dtype=np.intp)
        self._goal = np.zeros(self.num_envs, dtype=np.intp)
        self._goal_place = np.full(self.num_envs, None)
        self._hits = np.zeros(self.num_envs, dtype=np.int64)
        self._trails = None if self.render_mode is None else [Trail() for _ in range(self.num_envs)]

    def _restored(self) -> None:
        self._goal_place = self._places[self._goal]

    def _begin(self, which: NDArray[np.intp]) -> None:
        start = self._maze.sample_starts(self.np_random, len(which))
        self._square[which] = start
        self._outcome[which] = self._maze.first + start
        self._goal[which] = self._maze.sample_others(self.np_random, start)
        self._goal_place[which] = self._places[self._goal[which]]
        self._hits[which] = 0
        if self._trails is not None:
            for i in which:
                self._trails[i].start(self._places[self._square[i]])

    def _advance(self, actions: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        maze = self._maze
        outcome = self._square * 4
        outcome += actions
        square = maze.next_square.take(outcome)
        hit = square == self._goal
        if np.count_nonzero(hit):
            who = hit.nonzero()[0]
            square[who] = landing = maze.sample_others(self.np_random, self._goal[who])
            outcome[who] = maze.hit + 4 * landing + actions[who]
            self._hits[who] += 1
        self._square, self._outcome = square, outcome
        rewards = maze.rewards.take(outcome)
        if self._trails is not None:
            for trail, place, reward, reached in zip(
                self._trails, self._places[square], rewards, hit, strict=True
            ):
                trail.record(place, float(reward), bool(reached))
        return rewards, np.zeros(self.num_envs, dtype=bool)

    def _observe(self) -> NDArray[np.float32]:
        observations = self._maze.observations.take(self._outcome, axis=0)
        if self._maze.options.observe_time:
            observations[:, -1] = self._maze.clock(self._elapsed())
        return observations

    def _inform(self) -> dict[str, NDArray[Any]]:
        return {
            "goal": self._goal_place.copy(),
            "position": self._places[self._square],
            "hits": self._hits.copy(),
        }

    def _draw(self) -> Iterator[Any]:
        assert self._trails is not None
        for goal, trail in zip(self._goal_place, self._trails, strict=True):
            yield render_trail(self.render_mode, self._maze.walls, goal, trail)
