"""What a training needs beside its model to go on as if it had never stopped: to the bit."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from plastic_rl.policies import PlasticPolicy
from plastic_rl.policies.state import as_tensors
from plastic_rl.training.description import describe
from plastic_rl.training.env_state import get_env_state, set_env_state

# What an algorithm carries over the border between two rollouts. contrib's keeps the state of its LSTMs.
_OBSERVATIONS = ("_last_obs", "_last_original_obs", "_last_episode_starts")
_MEMORIES = ("_state", "_last_lstm_states")


def get_training_state(model: BaseAlgorithm) -> dict[str, Any] | None:
    """What is to be kept between two rollouts so that the training can go on from there to the bit.

    Returns:
        Plain values and arrays: the states of all random generators, of the environments, the observations
        that they returned last, and the memory of the policy. None where the environments' state cannot be
        had, or Stable-Baselines3's own rollouts draw noise before they can be stopped.
    """
    state: dict[str, Any] = {"num_timesteps": model.num_timesteps, "generators": _get_generators(model)}
    if describe(model).whole_episodes:
        return state  # its episodes come from a generator of its own
    if getattr(model, "use_sde", False) and not isinstance(model.policy, PlasticPolicy):
        return None
    assert model.env is not None
    env = get_env_state(model.env)
    if env is None or model._last_obs is None:
        return None
    carried = {name: getattr(model, name, None) for name in (*_OBSERVATIONS, *_MEMORIES)}
    return {**state, "env": env, **{name: _arrays(value) for name, value in carried.items()}}


def set_training_state(model: BaseAlgorithm, state: Any) -> None:
    """Take over what `get_training_state` gave when the model was saved; `learn` then goes on from there.

    Args:
        model: loaded with its environment; a later ``learn`` must not reset the number of steps.
        state: from then.

    Raises:
        ValueError: it does not fit.
    """
    try:
        if state["num_timesteps"] != model.num_timesteps:
            raise ValueError(f"it is of step {state['num_timesteps']}, the model of {model.num_timesteps}")
        if not describe(model).whole_episodes:
            assert model.env is not None
            set_env_state(model.env, state["env"])
            for name in _MEMORIES:
                if state[name] is not None:
                    setattr(model, name, as_tensors(state[name], like=getattr(model, name)))
            for name in _OBSERVATIONS:
                setattr(model, name, state[name])
        # Last: setting up draws random numbers.
        _set_generators(model, state["generators"])
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"the training's state does not fit: {error}") from error


def _get_generators(model: BaseAlgorithm) -> dict[str, Any]:
    own = getattr(model, "episode_rng", None)
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002
        "torch": torch.get_rng_state().numpy(),
        "cuda": torch.cuda.get_rng_state(model.device).numpy() if model.device.type == "cuda" else None,
        "episodes": None if own is None else own.bit_generator.state,
    }


def _set_generators(model: BaseAlgorithm, states: Any) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(torch.as_tensor(states["torch"]))
    if model.device.type == "cuda" and states["cuda"] is not None:
        torch.cuda.set_rng_state(torch.as_tensor(states["cuda"]), model.device)
    if states["episodes"] is not None:
        rng: Any = getattr(model, "episode_rng", None)
        rng.bit_generator.state = states["episodes"]


def _arrays(value: Any) -> Any:
    """Tensors as arrays, in any tuple or dictionary; a copy."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy().copy()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {key: _arrays(part) for key, part in value.items()}
    return tuple(_arrays(part) for part in value) if isinstance(value, tuple) else value
