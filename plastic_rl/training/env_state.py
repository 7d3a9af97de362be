"""The state of a vector environment, layer by layer, as far as every layer has one."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnv,
    VecEnvWrapper,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)

from plastic_rl.envs import Stateful
from plastic_rl.training.batch_infos import BatchMonitor
from plastic_rl.training.vec_env import GymnasiumVecEnv

# What changes in the layers of other packages in the course of an episode; what they count for themselves
# alone, such as a monitor's list of all returns, is left out. A layer that is not here may do anything.
_MONITOR = ("episode_returns", "episode_lengths", "episode_count")
_VEC_LAYERS: dict[type, tuple[str, ...]] = {
    VecMonitor: _MONITOR,
    BatchMonitor: _MONITOR,
    VecNormalize: ("obs_rms", "ret_rms", "returns"),
    VecTransposeImage: (),
}
_LAYERS: dict[type, tuple[str, ...]] = {
    Monitor: ("rewards", "needs_reset", "total_steps"),
    TimeLimit: ("_elapsed_steps",),
    OrderEnforcing: (),
    PassiveEnvChecker: (),
}


def get_env_state(env: VecEnv) -> dict[str, Any] | None:
    """The state of a vector environment in the middle of its episodes.

    Returns:
        Plain values and arrays; None where a layer of it, or an environment inside, has no state to be had.
    """
    states = []
    while isinstance(env, VecEnvWrapper):
        names = _VEC_LAYERS.get(type(env))
        if names is None:
            return None
        states.append({name: _copied(getattr(env, name, None)) for name in names})
        env = env.venv
    try:
        if type(env) is GymnasiumVecEnv and isinstance(env.env, Stateful):
            inner = [env.env.get_state()]
        elif type(env) is DummyVecEnv:
            inner = [_get_single(one) for one in env.envs]
        else:
            return None
    except NotImplementedError:
        return None
    return {"layers": states, "envs": inner}


def set_env_state(env: VecEnv, state: Any) -> None:
    """Take over what `get_env_state` gave for an environment that was made in the same way.

    Raises:
        ValueError: it does not fit; the environment is then to be reset.
    """
    # What watches over an environment wants to see a reset; its seeds and options are those of a beginning.
    env.reset()
    try:
        layers, inner = state["layers"], list(state["envs"])
        for layer in layers:
            for name in _VEC_LAYERS[type(env)]:
                _put(env, name, layer[name])
            assert isinstance(env, VecEnvWrapper)
            env = env.venv
        if isinstance(env, GymnasiumVecEnv):
            assert isinstance(env.env, Stateful)
            env.env.set_state(inner[0])
        else:
            assert isinstance(env, DummyVecEnv)
            for one, its in zip(env.envs, inner, strict=True):
                _set_single(one, its)
    except (KeyError, IndexError, TypeError, AttributeError, AssertionError) as error:
        raise ValueError(f"the state is of another environment: {type(error).__name__}: {error}") from error


def _get_single(env: gym.Env) -> dict[str, Any]:
    layers = []
    while isinstance(env, gym.Wrapper):
        if type(env) not in _LAYERS:
            raise NotImplementedError(f"{type(env).__name__} has no state to be had")
        layers.append({name: _copied(getattr(env, name)) for name in _LAYERS[type(env)]})
        env = env.env
    if not isinstance(env, Stateful):
        raise NotImplementedError(f"{type(env).__name__} has no state to be had")
    return {"layers": layers, "env": env.get_state()}


def _set_single(env: gym.Env, state: Any) -> None:
    for layer in state["layers"]:
        for name in _LAYERS[type(env)]:
            _put(env, name, layer[name])
        assert isinstance(env, gym.Wrapper)
        env = env.env
    assert isinstance(env, Stateful)
    env.set_state(state["env"])


def _copied(value: Any) -> Any:
    """Numbers, arrays, lists and statistics of such; NumPy's single numbers become Python's."""
    if isinstance(value, RunningMeanStd):
        return {name: _copied(part) for name, part in vars(value).items()}
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, np.generic):
        return value.item()
    return [_copied(part) for part in value] if isinstance(value, list) else value


def _put(owner: Any, name: str, value: Any) -> None:
    """Set an attribute to what `_copied` gave of it."""
    present = getattr(owner, name, None)
    if isinstance(present, RunningMeanStd):
        for part in vars(present):
            setattr(present, part, _copied(value[part]))
    elif isinstance(present, dict):
        for key, part in present.items():
            for field in vars(part):
                setattr(part, field, _copied(value[key][field]))
    elif value is not None:
        setattr(owner, name, _copied(value))
