"""A maze whose goal moves every episode: the navigation task of Miconi, Stanley & Clune (ICML 2018)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from plastic_rl.envs.arguments import can_render, check_render_mode
from plastic_rl.envs.maze.render import Trail, render_trail
from plastic_rl.envs.maze.rules import Maze, MazeArguments, MazeOptions
from plastic_rl.envs.state import Stateful


class PlasticMazeEnv(Stateful, gym.Env[NDArray[Any], Any]):
    """A maze with an invisible goal that must be found anew in every lifetime.

    ## Description
    The agent walks between pillars in a walled maze. One free square, invisible and drawn anew for every
    episode, holds the goal. Whoever reaches it is rewarded and at once moved to a random square, so the
    rest of the episode is worth the more the better the agent remembers where the goal was, from nothing
    but the walls around it and the rewards it got. From Miconi, Stanley & Clune, "Differentiable
    plasticity: training plastic neural networks with backpropagation" (ICML 2018).

    ## Action Space
    `Discrete(4)`: 0 up, 1 right, 2 down, 3 left.

    ## Observation Space
    A one-dimensional float32 `Box`, in this order:

    | entries | content | range |
    |---|---|---|
    | 9 | the 3 x 3 neighbourhood, row by row: 1 wall, 0 free | 0 to 1 |
    | 1 | the reward of the previous step, 0 after a reset | -wall_penalty to goal_reward |
    | 4, with `observe_previous_action` | the previous action, one-hot; all 0 after a reset | 0 to 1 |
    | 1, with `observe_time` | steps taken, at most 10,000, / time_scale | 0 to 10,000 / time_scale |

    ## Rewards
    `goal_reward` on reaching the goal, `-wall_penalty` for walking into a wall (one stays), otherwise 0.

    ## Starting State
    The centre square, or any free square with `start="random"`. The goal is uniform over the other free
    squares and stays for the whole episode. After a hit the agent is moved to a free square drawn uniformly
    from all but the goal; the observation returned is that of the new square.

    ## Episode End
    Never terminates. The registered ids are truncated after 250 steps; `gymnasium.make(id,
    max_episode_steps=...)` changes that.

    ## Information
    `goal` and `position` as (row, column), counted with the outer wall, so that the first inner square is
    (1, 1); `position` is the one after a teleport. `hits`: how often the goal was reached in this episode.

    ## Arguments
    All by keyword.

    - `size`: inner squares per side; odd, at least 5. A pillar stands on every other square in both
      directions (16 pillars and 65 free squares at size 9), only the centre always stays free.
    - `start`: "center" or "random".
    - `goal_reward`: positive. `wall_penalty`: at least 0, it is subtracted.
    - `observe_previous_action`, `observe_time`: see Observation Space.
    - `time_scale`: the number of steps at which the observed time is 1; at least 1. The environment cannot
      see its time limit: with another limit than 250, set this too.
    - `render_mode`: "rgb_array", "ansi" or None. "human" comes from Gymnasium's wrapper and needs pygame.

    ## Version History
    - v0: first version.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "ansi"], "render_fps": 10}  # noqa: RUF012
    state_attributes: ClassVar[tuple[str, ...]] = ("_goal", "_square", "_steps", "_hits", "_trail")

    def __init__(self, *, render_mode: str | None = None, **options: Unpack[MazeArguments]):
        self._maze = Maze(MazeOptions(**options))
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        self.observation_space = self._maze.observation_space()
        self.action_space = spaces.Discrete(4)
        self._goal: int | None = None
        self._square = self._steps = self._hits = 0
        self._trail = None if self.render_mode is None else Trail()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode with a new goal; `options` are not used.

        Returns:
            The observation, (D,) float32, and the information described in the class's card.
        """
        super().reset(seed=seed, options=options)
        start = self._maze.sample_starts(self.np_random, 1)
        self._square = int(start[0])
        self._goal = int(self._maze.sample_others(self.np_random, start)[0])
        self._steps = self._hits = 0
        if self._trail is not None:
            self._trail.start(self._maze.squares[self._square])
        return self._observe(self._maze.first + self._square), self._info()

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Walk one square.

        Returns:
            The observation, (D,) float32; the reward; `terminated` and `truncated`, both always false; the
            information described in the class's card.

        Raises:
            ResetNeeded: there was no `reset` yet.
            ValueError: the action is not an integer from 0 to 3.
        """
        if self._goal is None:
            raise ResetNeeded("Cannot call env.step() before calling env.reset()")
        if not self.action_space.contains(action):
            raise ValueError(f"action must be an integer from 0 (up) to 3 (left), got {action!r}")
        maze, action = self._maze, int(action)
        outcome = 4 * self._square + action
        self._steps += 1
        self._square = int(maze.next_square[outcome])
        if hit := self._square == self._goal:
            self._hits += 1
            self._square = int(maze.sample_others(self.np_random, np.array([self._goal]))[0])
            outcome = maze.hit + 4 * self._square + action
        reward = float(maze.rewards[outcome])
        if self._trail is not None:
            self._trail.record(maze.squares[self._square], reward, hit)
        return self._observe(outcome), reward, False, False, self._info()

    def _observe(self, outcome: int) -> NDArray[np.float32]:
        observation = self._maze.observations[outcome].copy()
        if self._maze.options.observe_time:
            observation[-1] = self._maze.clock(self._steps)
        return observation

    def _info(self) -> dict[str, Any]:
        assert self._goal is not None
        return {
            "goal": self._maze.squares[self._goal],
            "position": self._maze.squares[self._square],
            "hits": self._hits,
        }

    def render(self) -> NDArray[np.uint8] | str | None:
        """Show the episode so far: an (H, W, 3) uint8 picture, or text, depending on `render_mode`.

        Raises:
            ResetNeeded: there was no `reset` yet.
        """
        if not can_render(self.render_mode, self._goal is not None):
            return None
        assert self._trail is not None
        assert self._goal is not None
        return render_trail(self.render_mode, self._maze.walls, self._maze.squares[self._goal], self._trail)


REFERENCE_LEVELS = {
    "random": 0.0,
    "paper non-plastic": 55.0,
    "paper plastic": 150.0,
    "bayes-optimal": 293.0,
    "oracle": 407.0,
}
"""Mean returns of the default maze: the paper's are its medians after 1,000,000 episodes; "bayes-optimal" is
the best that an agent can do that has to find the goal; "oracle" always knows the goal and its own place."""

_SAME_TASK = {
    "size": 9,
    "start": "center",
    "goal_reward": 10.0,
    "wall_penalty": 0.1,
    "max_episode_steps": 250,
}
_SAME_WITH_ANY_VALUE = {"observe_previous_action", "observe_time", "time_scale", "render_mode"}


def maze_levels(env_kwargs: Mapping[str, Any]) -> dict[str, float]:
    """`REFERENCE_LEVELS`; none with arguments that change the maze, its rewards or its length."""
    for name, value in env_kwargs.items():
        if name not in _SAME_WITH_ANY_VALUE and (name not in _SAME_TASK or value != _SAME_TASK[name]):
            return {}
    return dict(REFERENCE_LEVELS)
