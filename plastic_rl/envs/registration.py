"""The environments' ids: one row per id, with what Gymnasium has to know and what scores are held against."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym

from plastic_rl.arguments import check_flag, is_number, split_env_id
from plastic_rl.envs.discovery.rules import discovery_levels
from plastic_rl.envs.maze.env import maze_levels
from plastic_rl.envs.pairs.levels import pairs_levels

Levels = Mapping[str, float] | Callable[[Mapping[str, Any]], Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A registered environment.

    Attributes:
        arguments: those of `gymnasium.register`, but for the id.
        levels: mean returns to hold a score against, by name, as `register_levels` takes them.
        sampled_evaluation: whether scores are those of sampled actions, not of the most probable ones.
    """

    arguments: Mapping[str, Any]
    levels: Levels = field(default_factory=dict)
    sampled_evaluation: bool = False


_MAZE = {
    "entry_point": "plastic_rl.envs.maze:PlasticMazeEnv",
    "vector_entry_point": "plastic_rl.envs.maze:PlasticMazeVectorEnv",
    "max_episode_steps": 250,
}

_PAIRS = {
    "entry_point": "plastic_rl.envs.pairs:PlasticPairsEnv",
    "vector_entry_point": "plastic_rl.envs.pairs:PlasticPairsVectorEnv",
}


def _of_task(name: str) -> dict[str, Any]:
    return {
        "entry_point": f"plastic_rl.envs.tasks:Plastic{name}Env",
        "vector_entry_point": f"plastic_rl.envs.tasks:Plastic{name}VectorEnv",
    }


# The most probable action of an agent that has not learned much is to run into one wall for ever, and all
# such agents score the same: mazes are scored with sampled actions.
ENVIRONMENTS: dict[str, Environment] = {
    "PlasticMaze-v0": Environment(arguments=_MAZE, levels=maze_levels, sampled_evaluation=True),
    "PlasticMazePrevAction-v0": Environment(
        arguments={**_MAZE, "kwargs": {"observe_previous_action": True}},
        levels=maze_levels,
        sampled_evaluation=True,
    ),
    "PlasticPairs-v0": Environment(arguments=_PAIRS, levels=pairs_levels),
    "PlasticBandit-v0": Environment(
        arguments={**_PAIRS, "kwargs": {"cues": "fixed", "feedback": "tried"}}, levels=pairs_levels
    ),
    "PlasticTargetDiscovery-v0": Environment(
        arguments={
            "entry_point": "plastic_rl.envs.discovery:PlasticTargetDiscoveryEnv",
            "vector_entry_point": "plastic_rl.envs.discovery:PlasticTargetDiscoveryVectorEnv",
        },
        levels=discovery_levels,
    ),
    "PlasticPatternMemory-v0": Environment(arguments=_of_task("PatternMemory")),
    "PlasticImageCompletion-v0": Environment(arguments=_of_task("ImageCompletion")),
    "PlasticOmniglot-v0": Environment(arguments=_of_task("Omniglot")),
}
"""The package's environments by id."""

# What `reference_levels` and `evaluates_sampled` know, by id without a module.
_EVALUATION: dict[str, tuple[Levels, bool]] = {
    env_id: (row.levels, row.sampled_evaluation) for env_id, row in ENVIRONMENTS.items()
}


def register_environments() -> None:
    """Register every id of `ENVIRONMENTS` with Gymnasium; ids that are already there are left alone."""
    for env_id, row in ENVIRONMENTS.items():
        if env_id not in gym.registry:
            gym.register(env_id, **row.arguments)


def register_levels(env_id: str, levels: Levels | None = None, *, sampled_evaluation: bool = False) -> None:
    """Say what scores of an environment are to be held against, beside its `gymnasium.register`.

    Every command that prints or draws a score then shows the levels beside it.

    Args:
        env_id: the id; a module in front of it makes no difference.
        levels: mean returns by name, say `{"chance": 0.25, "perfect": 1.0}`. A mapping holds for the
            environment as it is registered. A function is called with the environment's arguments, the
            registered ones among them, and returns the mapping for these, an empty one where it has none.
        sampled_evaluation: whether scores are those of sampled actions; otherwise of the most probable ones.

    Raises:
        ValueError: the levels are neither finite numbers by name nor a function.
    """
    levels = {} if levels is None else levels
    if not callable(levels):
        _check_levels(env_id, levels)
    _EVALUATION[split_env_id(env_id)[1]] = levels, check_flag("sampled_evaluation", sampled_evaluation)


def reference_levels(env_id: str, env_kwargs: Mapping[str, Any] | None = None) -> dict[str, float]:
    """Mean returns to hold a score against.

    Args:
        env_id: the environment's id, with or without a module in front ("plastic_rl:PlasticMaze-v0").
        env_kwargs: the arguments that it is made with.

    Returns:
        The levels by name; none for an environment that nothing is known of, nor for arguments for which
        they do not hold.

    Raises:
        ValueError: the environment's own function returned no finite numbers by name.
    """
    _, name = split_env_id(env_id)
    levels, _ = _EVALUATION.get(name, ({}, False))
    given = dict(env_kwargs or {})
    if not callable(levels):
        return {} if given.keys() - {"render_mode"} else dict(levels)
    registered = gym.registry[name].kwargs if name in gym.registry else {}
    return _check_levels(env_id, levels({**registered, **given}))


def evaluates_sampled(env_id: str) -> bool:
    """Whether scores of this environment are those of sampled actions, not of the most probable ones."""
    return _EVALUATION.get(split_env_id(env_id)[1], ({}, False))[1]


def _check_levels(env_id: str, levels: Any) -> dict[str, float]:
    if not isinstance(levels, Mapping) or not all(
        isinstance(name, str) and is_number(level) and math.isfinite(level) for name, level in levels.items()
    ):
        raise ValueError(f"levels of {env_id} must be finite numbers by name, got {levels!r}")
    return dict(levels)
