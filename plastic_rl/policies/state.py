"""The state of a plastic policy, and its passage between torch and the NumPy arrays that SB3 hands around."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn import PlasticState


class PolicyState(NamedTuple):
    """The state of the actor's core and, where the critic has a core of its own, of the critic's."""

    actor: PlasticState
    critic: PlasticState | None = None

    def detach(self) -> PolicyState:
        """The same numbers without their history."""
        return PolicyState(self.actor.detach(), None if self.critic is None else self.critic.detach())

    def rows(self, index: np.ndarray) -> PolicyState:
        """A copy of the state of some environments.

        index: (K,) integers; hidden becomes (K, N), trace (K, N, N)
        """
        rows = torch.as_tensor(index, device=self.actor.hidden.device)
        actor, critic = self
        return PolicyState(
            PlasticState(actor.hidden[rows], actor.trace[rows]),
            None if critic is None else PlasticState(critic.hidden[rows], critic.trace[rows]),
        )


def to_numpy(state: PlasticState) -> PlasticState:
    """The same NamedTuple holding NumPy arrays, for callers that live outside torch."""
    return PlasticState(state.hidden.cpu().numpy(), state.trace.cpu().numpy())  # type: ignore[arg-type]


def from_numpy(state: Any, like: PlasticState) -> PlasticState:
    """A torch copy of a state that came from ``predict``, checked against the shapes of ``like``.

    Raises:
        ValueError: ``state`` is not a pair of arrays (hidden, trace) of the right shapes.
    """
    if not isinstance(state, tuple | list) or len(state) != 2:
        raise ValueError(
            f"state must be the (hidden, trace) pair that predict returned, got {type(state).__name__}"
        )
    hidden, trace = (
        torch.tensor(np.asarray(part), dtype=zero.dtype, device=zero.device)
        for part, zero in zip(state, like, strict=True)
    )
    if hidden.shape != like.hidden.shape or trace.shape != like.trace.shape:
        raise ValueError(
            f"state must hold hidden {tuple(like.hidden.shape)} and trace {tuple(like.trace.shape)} for this "
            f"observation, got {tuple(hidden.shape)} and {tuple(trace.shape)}"
        )
    return PlasticState(hidden, trace)


def check_observation(observation: object) -> None:
    """Refuse what Gymnasium's ``reset`` returns, the commonest mistake.

    Raises:
        ValueError: the observation is a tuple.
    """
    if isinstance(observation, tuple):
        raise ValueError(
            "observation must be an array or a dictionary of arrays, got a tuple: "
            "Gymnasium's reset() returns (observation, info), pass the first of the two"
        )


def starts_tensor(episode_start: np.ndarray | bool, n_envs: int, device: torch.device) -> Tensor:
    """Where an episode starts, (n_envs,) bool, from one value per environment or one for all.

    Raises:
        ValueError: another shape.
    """
    starts = torch.as_tensor(np.asarray(episode_start), dtype=torch.bool, device=device)
    if starts.dim() == 0:
        starts = starts.expand(n_envs)
    if starts.shape != (n_envs,):
        raise ValueError(f"episode_start must have shape ({n_envs},), got {tuple(starts.shape)}")
    return starts
