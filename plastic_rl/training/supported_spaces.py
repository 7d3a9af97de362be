"""The spaces that the policies for reinforcement learning are made for."""

from __future__ import annotations

from gymnasium import spaces

_PLAIN_SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def check_spaces(observation_space: spaces.Space, action_space: spaces.Space) -> None:
    """Refuse spaces that no policy is made for; SB3 itself checks the kind of the action space.

    Raises:
        NotImplementedError: the space, and what is supported.
    """
    parts = observation_space.values() if isinstance(observation_space, spaces.Dict) else [observation_space]
    for space in parts:
        if not isinstance(space, _PLAIN_SPACES):
            raise NotImplementedError(
                f"observation space {observation_space} is not supported: it must be Box, Discrete, "
                "MultiDiscrete, MultiBinary, or a Dict of those"
            )
    if isinstance(action_space, spaces.MultiDiscrete) and action_space.nvec.ndim > 1:
        raise NotImplementedError(
            f"action space {action_space} is not supported: a MultiDiscrete must have one dimension"
        )
