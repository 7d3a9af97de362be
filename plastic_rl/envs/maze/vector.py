"""Many mazes at once: the rules of `PlasticMazeEnv`, batched with NumPy."""

from collections.abc import Sequence
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from plastic_rl.arguments import check_count, is_integer
from plastic_rl.envs.arguments import check_render_mode
from plastic_rl.envs.maze.render import Trail, render_trail
from plastic_rl.envs.maze.rules import Maze


class PlasticMazeVectorEnv(VectorEnv[NDArray[np.float32], ArrayLike, NDArray[Any]]):
    """A batch of B mazes behind Gymnasium's vector interface; `gymnasium.make_vec` gives it for the maze ids.

    Rules, arguments, observations and information are those of `PlasticMazeEnv`, each maze with a goal of
    its own; D is the length of one observation. An episode that reaches `max_episode_steps` is truncated and
    followed by the next one in the same step (`AutoresetMode.SAME_STEP`): the observation is the new
    episode's first, and `infos["final_obs"]` and `infos["final_info"]` hold the old one's last. The infos
    are laid out as by `gymnasium.vector.SyncVectorEnv`.

    One random generator serves the whole batch: the same seed gives the same batch again, but a maze of the
    batch does not repeat the `PlasticMazeEnv` of the same seed. Arrays that were returned are never written
    to again.

    Args:
        num_envs: B, at least 1.
        max_episode_steps: length of an episode in steps, at least 1.
        size, start, goal_reward, wall_penalty: as for `PlasticMazeEnv`, and so are the following.
        observe_previous_action, observe_time, time_scale, render_mode: as for `PlasticMazeEnv`.

    Raises:
        ValueError: an argument is outside of its range.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": ["rgb_array", "ansi"],
        "render_fps": 10,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        max_episode_steps: int = 250,
        size: int = 9,
        start: Literal["center", "random"] = "center",
        goal_reward: float = 10.0,
        wall_penalty: float = 0.1,
        observe_previous_action: bool = False,
        observe_time: bool = False,
        time_scale: float = 250.0,
        render_mode: str | None = None,
    ):
        for name, value in (("num_envs", num_envs), ("max_episode_steps", max_episode_steps)):
            check_count(name, value)
        self._maze = Maze(
            size=size,
            start=start,
            goal_reward=goal_reward,
            wall_penalty=wall_penalty,
            observe_previous_action=observe_previous_action,
            observe_time=observe_time,
            time_scale=time_scale,
        )
        self.num_envs = int(num_envs)
        self.max_episode_steps = int(max_episode_steps)
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        self.single_observation_space = self._maze.observation_space()
        self.single_action_space = spaces.Discrete(4)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

        self._places = np.full(self._maze.num_squares, None)
        self._places[:] = self._maze.squares
        self._all = np.ones(self.num_envs, dtype=bool)
        self._square = np.zeros(self.num_envs, dtype=np.intp)
        self._outcome = np.zeros(self.num_envs, dtype=np.intp)
        self._goal = np.zeros(self.num_envs, dtype=np.intp)
        self._goal_place = np.full(self.num_envs, None)
        self._hits = np.zeros(self.num_envs, dtype=np.int64)
        # One clock for the batch and the time at which each episode began: that no episode ends at an
        # ordinary step is then known from comparing two integers.
        self._clock = 0
        self._began = np.zeros(self.num_envs, dtype=np.int64)
        self._next_end = 0
        self._trails = None if self.render_mode is None else [Trail() for _ in range(self.num_envs)]

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start new episodes in all mazes, or in those of `options["reset_mask"]`.

        Args:
            seed: an integer or B integers that seed the batch's one generator; None (or B times None) lets it
                run on.
            options: may hold `reset_mask`, (B,) bool. The other mazes then keep their episodes, and their
                entries of the observations their last ones.

        Returns:
            Observations, (B, D) float32, and the infos of the mazes that were reset.

        Raises:
            ValueError: the number of seeds is not B, only some are None; the mask is not (B,) or all false.
            TypeError: the mask is not an array of bool.
            ResetNeeded: a mask leaves out mazes that never had a first reset.
        """
        self._seed(seed)
        mask = self._all
        if options is not None and "reset_mask" in options:
            mask = self._checked_mask(options["reset_mask"])
        self._begin(mask.nonzero()[0])
        return self._observe(), self._infos(mask)

    def step(
        self, actions: ArrayLike
    ) -> tuple[
        NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Walk one square in every maze.

        Args:
            actions: (B,) integers from 0 to 3.

        Returns:
            Observations, (B, D) float32; rewards, (B,) float64; terminations (always false) and truncations,
            (B,) bool; infos.

        Raises:
            ResetNeeded: there was no `reset` yet.
            ValueError: the actions are not (B,) integers from 0 to 3.
        """
        if not self._next_end:
            raise ResetNeeded("Cannot call step() before calling reset()")
        actions = self._checked_actions(actions)
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
        self._clock += 1
        rewards = maze.rewards.take(outcome)
        if self._trails is not None:
            for trail, place, reward, reached in zip(
                self._trails, self._places[square], rewards, hit, strict=True
            ):
                trail.record(place, float(reward), bool(reached))

        infos: dict[str, Any] = {}
        truncated = np.zeros(self.num_envs, dtype=bool)
        if self._clock == self._next_end:
            truncated = self._clock - self._began == self.max_episode_steps
            who = truncated.nonzero()[0]
            final = np.full(self.num_envs, None)
            for i, observation in zip(who, self._observe()[who], strict=True):
                final[i] = observation.copy()
            infos["final_obs"], infos["_final_obs"] = final, truncated.copy()
            infos["final_info"], infos["_final_info"] = self._infos(truncated), truncated.copy()
            self._begin(who)
        infos.update(self._infos(self._all))
        return self._observe(), rewards, np.zeros(self.num_envs, dtype=bool), truncated, infos

    def render(self) -> tuple[NDArray[np.uint8] | str, ...] | None:
        """Show every maze: a tuple of B pictures, (H, W, 3) uint8, or of B texts, depending on `render_mode`.

        Raises:
            ResetNeeded: there was no `reset` yet.
        """
        if self._trails is None:
            gym.logger.warn("render() does nothing: the environment was made without a render_mode")
            return None
        if not self._next_end:
            raise ResetNeeded("Cannot call render() before calling reset()")
        return tuple(
            render_trail(self.render_mode, self._maze.walls, goal, trail)
            for goal, trail in zip(self._goal_place, self._trails, strict=True)
        )

    def _begin(self, who: NDArray[np.intp]) -> None:
        """Start new episodes in the mazes with these indices."""
        start = self._maze.sample_starts(self.np_random, len(who))
        self._square[who] = start
        self._outcome[who] = self._maze.first + start
        self._goal[who] = self._maze.sample_others(self.np_random, start)
        self._goal_place[who] = self._places[self._goal[who]]
        self._hits[who] = 0
        self._began[who] = self._clock
        self._next_end = int(self._began.min()) + self.max_episode_steps
        if self._trails is not None:
            for i in who:
                self._trails[i].start(self._places[self._square[i]])

    def _observe(self) -> NDArray[np.float32]:
        """A new (B, D) array of what is seen now."""
        observations = self._maze.observations.take(self._outcome, axis=0)
        if self._maze.observe_time:
            observations[:, -1] = self._maze.clock(self._clock - self._began)
        return observations

    def _infos(self, mask: NDArray[np.bool_]) -> dict[str, Any]:
        """New infos of the mazes in the mask, with the blanks that Gymnasium puts in for the others."""
        infos = {
            "goal": self._goal_place.copy(),
            "position": self._places[self._square],
            "hits": self._hits.copy(),
        }
        if mask is not self._all:
            infos["goal"][~mask] = infos["position"][~mask] = None
            infos["hits"][~mask] = 0
        return infos | {"_goal": mask.copy(), "_position": mask.copy(), "_hits": mask.copy()}

    def _seed(self, seed: int | Sequence[int | None] | None) -> None:
        if seed is None or isinstance(seed, (int, np.integer)):
            super().reset(seed=None if seed is None else int(seed))
            return
        seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(
                f"seed must be an integer, None or {self.num_envs} integers, got {len(seeds)} of them"
            )
        if all(one is None for one in seeds):
            return
        entropy = [int(one) for one in seeds if one is not None and is_integer(one) and one >= 0]
        if len(entropy) < self.num_envs:
            raise ValueError(f"seed must hold integers of at least 0 only, or None only, got {seeds}")
        self.np_random = np.random.default_rng(entropy)

    def _checked_mask(self, mask: Any) -> NDArray[np.bool_]:
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError(f"options['reset_mask'] must be a NumPy array of bool, got {mask!r}")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"options['reset_mask'] must have shape ({self.num_envs},) and a true entry, got {mask!r}"
            )
        if not self._next_end and not mask.all():
            raise ResetNeeded(
                "The first reset() must reset every maze: options['reset_mask'] leaves some out"
            )
        return mask

    def _checked_actions(self, actions: ArrayLike) -> NDArray[np.intp]:
        array = np.asarray(actions)
        if array.shape != (self.num_envs,) or array.dtype.kind not in "iu":
            raise ValueError(
                f"actions must be {self.num_envs} integers, got shape {array.shape} and dtype {array.dtype}"
            )
        # The bits above the lowest two: also set in every negative number.
        if np.count_nonzero(array >> 2):
            raise ValueError(f"actions must be from 0 (up) to 3 (left), got {array}")
        return array.astype(np.intp, copy=False)
