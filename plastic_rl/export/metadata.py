"""What an exported step says of itself: environment, spaces, inputs and outputs, as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

import plastic_rl
from plastic_rl.export.step import AgentStep

_MEANINGS = {
    "observation": "as the environment gives it",
    "episode_start": "true where an episode starts: the state of that row is taken as zeros",
    "state": "zeros at first, then new_state of the step before",
    "action_mask": "true where an action is allowed",
    "action": "the most probable one",
    "logits": "of the actions; of several dimensions one after the other; of bits, that they are 1",
    "mean": "of the normal distribution, before squashing and clipping",
    "std": "of the normal distribution",
    "output": "of the network",
    "value": "what the critic expects; of normalized rewards where the training normalized them",
    "new_state": "the state for the next step",
}


def describe_step(model: BaseAlgorithm, step: AgentStep, env_id: str | None = None) -> dict[str, str]:
    """The metadata of an exported step, texts by key.

    ``observation_space`` and ``action_space`` are JSON as `plain_space` makes it, ``meaning`` is JSON with a
    line for every kind of input and output.

    Args:
        model: whose step it is.
        step: the step.
        env_id: the environment's id; that of the model's environments if None, empty where they have none.
    """
    if env_id is None:
        env_id = _env_id(model.get_env()) or ""
    return {
        "plastic_rl_version": plastic_rl.__version__,
        "algorithm": type(model).__name__,
        "env_id": env_id,
        "observation_space": json.dumps(plain_space(step.observation_space)),
        "action_space": json.dumps(plain_space(step.action_space)),
        "normalizes_observations": json.dumps(step.normalization is not None),
        "meaning": json.dumps(_MEANINGS),
    }


def plain_space(space: spaces.Space[Any]) -> dict[str, Any]:
    """A space as JSON holds it.

    Bounds that are the same everywhere are one number; an infinite one is null.
    """
    match space:
        case spaces.Box():
            content: dict[str, Any] = {"low": _bound(space.low), "high": _bound(space.high)}
        case spaces.Discrete():
            content = {"n": int(space.n), "start": int(space.start)}
        case spaces.MultiDiscrete():
            content = {"nvec": space.nvec.tolist(), "start": space.start.tolist()}
        case spaces.MultiBinary():
            content = {"n": np.asarray(space.n).tolist()}
        case spaces.Dict():
            return {"type": "Dict", "spaces": {key: plain_space(part) for key, part in space.items()}}
        case _:
            return {"type": type(space).__name__}
    return {
        "type": type(space).__name__,
        "shape": list(space.shape or ()),
        "dtype": str(space.dtype),
        **content,
    }


def _bound(values: np.ndarray) -> Any:
    """The bounds of a Box."""
    plain = values.astype(object)
    plain[~np.isfinite(values)] = None
    first = plain.flat[0] if plain.size else None
    return first if all(value == first for value in plain.flat) else plain.tolist()


def _env_id(env: VecEnv | None) -> str | None:
    """The id of environments, where they have one."""
    if env is None:
        return None
    try:
        spec = env.get_attr("spec")[0]
    except AttributeError:
        return None
    return None if spec is None else spec.id
