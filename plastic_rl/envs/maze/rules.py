"""The maze's rules as look-up tables, shared by the single and the batched environment."""

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, TypedDict

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from plastic_rl.arguments import is_integer, is_number

CLOCK_LIMIT = 10_000
"""The observed clock stops at this many steps: no bound would be finite without an end."""

_MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])
_NEIGHBOURS = np.array([(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)])
_LARGEST_REWARD = float(np.finfo(np.float32).max)


class MazeArguments(TypedDict, total=False):
    """The fields of `MazeOptions` as keyword arguments, as type checkers and editors want them."""

    size: int
    start: Literal["center", "random"]
    goal_reward: float
    wall_penalty: float
    observe_previous_action: bool
    observe_time: bool
    time_scale: float


@dataclass(frozen=True, kw_only=True)
class MazeOptions:
    """The arguments that `PlasticMazeEnv` and `PlasticMazeVectorEnv` share; the former's card explains them.

    Raises:
        ValueError: an argument is outside of its range.
    """

    size: int = 9
    start: Literal["center", "random"] = "center"
    goal_reward: float = 10.0
    wall_penalty: float = 0.1
    observe_previous_action: bool = False
    observe_time: bool = False
    time_scale: float = 250.0

    def __post_init__(self) -> None:
        size, reward, penalty, scale = self.size, self.goal_reward, self.wall_penalty, self.time_scale
        if not is_integer(size) or size < 5 or size % 2 == 0:
            raise ValueError(f"size must be an odd integer of at least 5, got {size!r}")
        if self.start not in ("center", "random"):
            raise ValueError(f"start must be 'center' or 'random', got {self.start!r}")
        if not is_number(reward) or not 0 < reward <= _LARGEST_REWARD:
            raise ValueError(f"goal_reward must be a positive finite number, got {reward!r}")
        if not is_number(penalty) or not 0 <= penalty <= _LARGEST_REWARD:
            raise ValueError(
                f"wall_penalty is subtracted and must be a finite number of at least 0, got {penalty!r}"
            )
        if not is_number(scale) or not 1 <= scale < math.inf:
            raise ValueError(f"time_scale must be a finite number of steps, at least 1, got {scale!r}")
        for field in fields(self):  # numbers of NumPy's types become Python's
            kind: Any = type(field.default)
            object.__setattr__(self, field.name, kind(getattr(self, field.name)))


class Maze:
    """Squares, moves, rewards and observations of one maze.

    Free squares are numbered row by row from 0 to F - 1. What can happen to the agent is numbered too, and
    called an outcome; what it sees and gets depends on nothing else (the clock aside):

    | outcome | meaning |
    |---|---|
    | 4 square + action | it took the action on that square, and did not reach the goal |
    | hit + 4 square + action | it took the action, reached the goal and was moved to that square |
    | first + square | it starts an episode on that square |

    Attributes:
        options: what the maze was made with.
        walls: (size + 2, size + 2) bool, the grid with its outer wall; true where one cannot stand.
        squares: the F free squares as (row, column), counted with the outer wall.
        centre: the number of the centre square.
        next_square: (4 F,) where the outcomes of the first kind lead.
        hit, first: the first outcomes of the second and third kind.
        rewards: (9 F,) float64, by outcome.
        observations: (9 F, D) float32, by outcome; the clock's entry is 0.
    """

    def __init__(self, options: MazeOptions):
        self.options = options
        size = options.size
        self.walls = np.ones((size + 2, size + 2), dtype=bool)
        self.walls[1:-1, 1:-1] = False
        self.walls[2:-1:2, 2:-1:2] = True
        middle = size // 2 + 1
        self.walls[middle, middle] = False

        places = np.argwhere(~self.walls)
        self.squares: list[tuple[int, int]] = [(int(row), int(column)) for row, column in places]
        self.num_squares = len(self.squares)
        number = np.full(self.walls.shape, -1)
        number[~self.walls] = np.arange(self.num_squares)
        self.centre = int(number[middle, middle])

        here = np.repeat(np.arange(self.num_squares), 4)
        action = np.tile(np.arange(4), self.num_squares)
        ahead = number[tuple((places[here] + _MOVES[action]).T)]
        self.next_square = np.where(ahead < 0, here, ahead)
        self.hit, self.first = len(here), 2 * len(here)
        self.rewards = np.concatenate(
            [
                np.where(ahead < 0, -self.options.wall_penalty, 0.0),
                np.full(len(here), self.options.goal_reward),
                np.zeros(self.num_squares),
            ]
        )
        around = places[:, None] + _NEIGHBOURS
        neighbourhoods = self.walls[around[..., 0], around[..., 1]]
        standing = np.concatenate([self.next_square, here, np.arange(self.num_squares)])
        columns = [neighbourhoods[standing], self.rewards[:, None]]
        if self.options.observe_previous_action:
            one_hot = np.eye(4)[action]
            columns.append(np.concatenate([one_hot, one_hot, np.zeros((self.num_squares, 4))]))
        if self.options.observe_time:
            columns.append(np.zeros((len(standing), 1)))
        self.observations = np.hstack(columns).astype(np.float32)

    def observation_space(self) -> spaces.Box:
        """A new (D,) float32 box with the bounds of every entry."""
        high = np.ones(self.observations.shape[1], dtype=np.float32)
        low = np.zeros_like(high)
        low[9], high[9] = -self.options.wall_penalty, self.options.goal_reward
        if self.options.observe_time:
            high[-1] = CLOCK_LIMIT / self.options.time_scale
        return spaces.Box(low, high, dtype=np.float32)

    def clock(self, steps: int | NDArray[np.intp]) -> float | NDArray[np.float64]:
        """The observed time after so many steps of an episode."""
        return np.minimum(steps, CLOCK_LIMIT) / self.options.time_scale

    def sample_starts(self, rng: np.random.Generator, count: int) -> NDArray[np.intp]:
        """Draw (count,) starting squares."""
        if self.options.start == "center":
            return np.full(count, self.centre)
        return _draw_below(self.num_squares, rng, count)

    def sample_others(self, rng: np.random.Generator, squares: NDArray[np.intp]) -> NDArray[np.intp]:
        """Draw, for each of the given squares, one uniformly from all the others; (n,) to (n,)."""
        others = _draw_below(self.num_squares - 1, rng, len(squares))
        return others + (others >= squares)


def _draw_below(limit: int, rng: np.random.Generator, count: int) -> NDArray[np.intp]:
    # Far quicker than rng.integers for the few numbers of one step, and as uniform: off by under 1e-12.
    return (rng.random(count) * limit).astype(np.intp)
