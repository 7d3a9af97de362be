"""Whether an exported agent does what its model does."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sb3_contrib.common.maskable.utils import get_action_masks
from stable_baselines3.common.base_class import BaseAlgorithm

from plastic_rl.export.agent import OnnxAgent
from plastic_rl.ops.plastic_rnn import tensors
from plastic_rl.runs.statistics import find_normalize


class Agreement(NamedTuple):
    """How far an agent follows its model, each with a state of its own, on the same observations.

    steps: how many steps each of the environments took
    n_envs: how many environments
    actions: the largest difference of an element of the actions
    states: the largest difference of an element of the states
    """

    steps: int
    n_envs: int
    actions: float
    states: float


def compare(model: BaseAlgorithm, agent: OnnxAgent, steps: int = 200) -> Agreement:
    """Let the model play its environments by its most probable actions, and ask the agent at every step.

    The agent is given the observations as they were before normalization.
    """
    env: Any = model.get_env()
    assert env is not None
    normalize = find_normalize(env)
    observation, starts = env.reset(), np.ones(env.num_envs, dtype=bool)
    own: Any = None
    state: Any = None
    actions = states = 0.0
    for _ in range(steps):
        raw = observation if normalize is None else normalize.get_original_obs()
        masks: dict[str, Any] = {"action_masks": get_action_masks(env)} if agent.takes_masks else {}
        acted, own = model.predict(observation, own, starts, deterministic=True, **masks)
        chosen, state = agent.predict(raw, state, starts, **masks)
        actions = max(actions, _difference(acted, chosen))
        for part, given in zip(_parts(own), _actors(state), strict=True):
            states = max(states, _difference(part, given))
        observation, _, starts, _ = env.step(acted)
    return Agreement(steps, env.num_envs, actions, states)


def _parts(state: Any) -> list[np.ndarray]:
    """What ``predict`` returned as the state: its arrays that are not empty."""
    arrays: Any = tensors(state)
    return [part for part in arrays if part.size]


def _actors(state: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The actor's part of an exported state, which alone ``predict`` returns."""
    return [part for name, part in state.items() if not name.startswith("critic_")]


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.max(np.abs(np.asarray(one, dtype=np.float64) - other), initial=0.0))
