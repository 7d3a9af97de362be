"""Numbers in a rollout that are not numbers: an environment's fault, named before anything learns from it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer

from plastic_rl.policies.finite import find_bad_number


class LastObservation(NamedTuple):
    """What an environment returned when an episode ended. step: of the rollout, from 1."""

    step: int
    env: int
    observation: Any


def can_be_bad(space: spaces.Space[Any]) -> bool:
    """Whether observations of this space can hold NaN or an infinity."""
    parts = space.values() if isinstance(space, spaces.Dict) else [space]
    return any(isinstance(part, spaces.Box) and np.issubdtype(part.dtype, np.inexact) for part in parts)


def find_in_rollout(
    buffer: RolloutBuffer, n_steps: int, new_obs: Any, ended: list[LastObservation]
) -> str | None:
    """Describe the first number of a rollout that is NaN or infinite; None where there is none.

    Args:
        buffer: its first ``n_steps`` steps are looked at.
        n_steps: steps taken.
        new_obs: what the last of them returned, (B, ...) or a dictionary of those.
        ended: last observations of the episodes that ended.
    """
    found: list[tuple[tuple[int, int], str]] = []

    def add(step: int, env: int, what: str, words: str) -> None:
        when = f"at step {step} of the rollout" if step else "before step 1 of the rollout"
        found.append(((step, env), f"{words} in the {what} of environment {env} {when}"))

    given: Any = buffer.observations
    seen = (
        {key: part[:n_steps] for key, part in given.items()} if isinstance(given, dict) else given[:n_steps]
    )
    if bad := find_bad_number(seen):
        add(bad.where[0], bad.where[1], "observation", bad.words(2))
    if bad := find_bad_number(new_obs):
        add(n_steps, bad.where[0], "observation", bad.words(1))
    if ended:
        last = [item.observation for item in ended]
        together = (
            {key: np.stack([obs[key] for obs in last]) for key in last[0]}
            if isinstance(last[0], dict)
            else np.stack(last)
        )
        if bad := find_bad_number(together):
            item = ended[bad.where[0]]
            add(item.step, item.env, "last observation of an episode", bad.words(1))
    # After the observations: the value of a bad last observation is part of its reward.
    if bad := find_bad_number(buffer.rewards[:n_steps]):
        add(bad.where[0] + 1, bad.where[1], "reward", bad.words(2))
    return min(found, key=lambda item: item[0])[1] if found else None
