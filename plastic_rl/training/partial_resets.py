"""Batches that reset themselves at the next step, made ready for resets of some of their environments."""

import gymnasium as gym
from gymnasium.vector import (
    AsyncVectorEnv,
    AutoresetMode,
    SyncVectorEnv,
    VectorActionWrapper,
    VectorEnv,
    VectorObservationWrapper,
    VectorRewardWrapper,
    VectorWrapper,
)
from gymnasium.wrappers.vector import VectorizeTransformObservation

from plastic_rl.training.envpool import EnvPoolVectorEnv, is_envpool

_BATCH_KEYS = ("num_envs", "vectorization_mode")  # what make_vec adds to a specification's arguments
# Ways of wrappers that keep nothing from one step to the next.
_PLAIN_STEPS = tuple(
    wrapper.step
    for wrapper in (
        VectorWrapper,
        VectorActionWrapper,
        VectorObservationWrapper,
        VectorRewardWrapper,
        VectorizeTransformObservation,
    )
)
_PLAIN_RESETS = (VectorWrapper.reset, VectorObservationWrapper.reset)


def layers(env: VectorEnv) -> list[VectorEnv]:
    """List the outermost wrapper first, the environment itself last."""
    found = [env]
    while isinstance(found[-1], VectorWrapper):
        found.append(found[-1].env)
    return found


def with_partial_resets(env: VectorEnv) -> VectorEnv:
    """Return the batch, or one like it, where some of its environments alone can be reset.

    Raises:
        ValueError: there is none.
    """
    if isinstance(env.unwrapped, SyncVectorEnv | AsyncVectorEnv):
        for layer in layers(env)[:-1]:
            if type(layer).step not in _PLAIN_STEPS or type(layer).reset not in _PLAIN_RESETS:
                raise ValueError(
                    f"env must reset itself in the mode {AutoresetMode.SAME_STEP} where "
                    f"{type(layer).__name__} is around it, got {AutoresetMode.NEXT_STEP}: wrap each "
                    'environment, or give make_vec vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP}'
                )
        return env
    if is_envpool(env):
        return EnvPoolVectorEnv(env)
    spec = getattr(env, "spec", None)
    if isinstance(env, VectorWrapper) or spec is None or spec.entry_point is None:
        raise ValueError(
            f"env must reset itself in the mode {AutoresetMode.SAME_STEP}, or be a SyncVectorEnv, an "
            f"AsyncVectorEnv, or made by gymnasium.make_vec without wrappers, got {env} "
            f"in the mode {AutoresetMode.NEXT_STEP}"
        )
    kwargs = {key: value for key, value in spec.kwargs.items() if key not in _BATCH_KEYS}
    mode = {"autoreset_mode": AutoresetMode.NEXT_STEP}
    again = gym.make_vec(spec.id, env.num_envs, "sync", vector_kwargs=mode, **kwargs)
    env.close()
    return again
