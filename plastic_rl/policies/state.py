"""The state of a policy, and its passage between torch and the NumPy arrays that SB3 hands around."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor

from plastic_rl.ops.plastic_rnn import map_state, take_rows, tensors
from plastic_rl.policies.dtype import check_default_dtype
from plastic_rl.policies.finite import find_bad_number
from plastic_rl.policies.masking import check_masks
from plastic_rl.saving import load_policy, save_policy
from plastic_rl.saving.archive import AnyPath

SelfPolicy = TypeVar("SelfPolicy", bound="StatefulPolicy")


class PolicyState(NamedTuple):
    """The state of the actor's core and, where the critic has a core of its own, of the critic's.

    Each is what its core's ``initial_state`` gives: any tuple of tensors with one row per environment.
    """

    actor: Any
    critic: Any = None

    def map(self, function: Callable[[Tensor], Any]) -> PolicyState:
        """The state with ``function(tensor)`` in the place of every tensor."""
        return map_state(function, self)

    def detach(self) -> PolicyState:
        """The same numbers without their history."""
        return self.map(Tensor.detach)

    def rows(self, index: Any) -> PolicyState:
        """A copy of the state of some environments. index: (K,) integers."""
        return take_rows(self, index)


class StatefulPolicy(BasePolicy):
    """A policy whose ``predict`` takes a recurrent state and returns it; the policy itself holds none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        check_default_dtype()
        super().__init__(*args, **kwargs)

    @abstractmethod
    def initial_memory(self, n_envs: int) -> Any:
        """What acting remembers at the start of an episode: a tuple of tensors, (n_envs, ...) each."""

    @abstractmethod
    def choose(
        self,
        obs: PyTorchObs,
        memory: Any,
        episode_starts: Tensor | None,
        deterministic: bool,
        action_masks: Tensor | None = None,
    ) -> tuple[np.ndarray, Any]:
        """Act for one step, without gradients.

        obs: (B, ...)
        memory: of B environments; it may be overwritten
        episode_starts: (B,), true where the memory is emptied first
        action_masks: (B, M) bool, true where an action is allowed
        returns: actions (B, *action shape), new memory
        """

    def save(self, path: AnyPath) -> None:
        """Write the policy to a file that holds no code, under this very name, or to a stream.

        What JSON cannot hold, such as a class of yours, is left out with one warning that names it.

        Raises:
            OSError: the file cannot be written.
        """
        save_policy(self, path)

    @classmethod
    def load(
        cls: type[SelfPolicy],
        path: AnyPath,
        device: torch.device | str = "auto",
        *,
        custom_objects: dict[str, Any] | None = None,
        trust: bool = False,
    ) -> SelfPolicy:
        """Read a policy. Nothing in the file is run, unless it is one with pickled objects and trusted.

        Args:
            path: what `save` wrote, or a stream.
            device: ``auto``, ``cpu``, ``cuda``, ...
            custom_objects: constructor arguments that take the place of the file's, by name, and those that
                it lacks.
            trust: whether a file with pickled objects, as Stable-Baselines3 writes them, is read: it can run
                any code.

        Raises:
            plastic_rl.UntrustedFileError: the file has pickled objects, and ``trust`` is false.
            plastic_rl.ModelFileError: the file is damaged, or describes another policy than it holds. Both
                are ValueErrors.
            OSError: the file cannot be read.
        """
        return load_policy(cls, path, device, custom_objects, trust)

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Choose actions; the recurrent state goes in and comes out as NumPy arrays.

        Args:
            observation: of one environment, or of B at once.
            state: what the previous call returned, B first in each of its arrays; None starts from zeros. It
                is not changed.
            episode_start: (B,) or one for all, true where an episode starts: the state of that row is zeroed.
            deterministic: the most probable action instead of a sampled one.
            action_masks: (B, M), true where an action is allowed, as sb3-contrib's ``get_action_masks(env)``
                returns them; None allows all. See ``plastic_rl.policies.masking.check_masks``.

        Returns:
            The actions, and the state to hand to the next call.

        Raises:
            ValueError: ``state``, ``episode_start`` or ``action_masks`` does not fit the observation, that
                holds NaN or an infinity, or a mask allows no action.
        """
        check_default_dtype()
        self.set_training_mode(False)
        _check_observation(observation)
        obs, vectorized = self.obs_to_tensor(observation)
        if find_bad_number(observation) is not None:
            _refuse_bad_number(obs)
        n_envs = (next(iter(obs.values())) if isinstance(obs, dict) else obs).shape[0]
        memory = self.initial_memory(n_envs)
        if state is not None:
            memory = as_tensors(state, like=memory)
        starts = _row_starts(starts_tensor(episode_start, self.device), n_envs)
        masks = None
        if action_masks is not None:
            masks = torch.as_tensor(check_masks(action_masks, self.action_space, n_envs), device=self.device)
        with torch.no_grad():
            actions, memory = self.choose(obs, memory, starts, deterministic, masks)
        if not vectorized:
            actions = actions.squeeze(axis=0)
        return actions, map_state(lambda part: part.detach().cpu().numpy(), memory)


def as_tensors(state: Any, like: Any) -> Any:
    """A state with the structure of ``like``: NumPy arrays, as from ``predict``, are copied into tensors.

    Tensors stay what they are, with their graph.

    Raises:
        ValueError: its structure or a shape differs from that of ``like``.
    """

    def copied(zeros: Tensor, part: Any) -> Tensor:
        if np.shape(part) != tuple(zeros.shape):
            raise ValueError(f"shape {np.shape(part)}")
        if isinstance(part, Tensor):
            return part
        return torch.tensor(np.asarray(part), dtype=zeros.dtype, device=zeros.device)

    try:
        return map_state(copied, like, state)
    except ValueError as error:
        given = _shapes(state) if isinstance(state, tuple | list) else type(state).__name__
        raise ValueError(
            f"state must be what predict returned, {_shapes(like)} for this observation, got {given}"
        ) from error


def as_policy_state(state: Any, initial_state: Callable[[int], PolicyState]) -> PolicyState:
    """The state of a policy as its cores take it, all tensors.

    Args:
        state: a `PolicyState`, or what ``predict`` returned, which is the actor's part; tensors or arrays.
        initial_state: gives a state of so many environments, with the structure and the shapes.

    Raises:
        ValueError: its structure or a shape is another.
    """
    if not isinstance(state, PolicyState):
        state = PolicyState(state)
    elif state.actor is not None and all(isinstance(part, Tensor) for part in tensors(state)):
        return state
    first = state.actor
    while isinstance(first, tuple | list) and len(first):
        first = first[0]
    like = initial_state(max(1, len(first)) if np.ndim(first) else 1)
    critic = None if state.critic is None else as_tensors(state.critic, like.critic)
    return PolicyState(as_tensors(state.actor, like.actor), critic)


def _shapes(state: Any) -> str:
    """The names and shapes of a state's arrays in words, empty ones left out."""
    names = getattr(state, "_fields", [""] * len(state))
    parts = [
        f"({_shapes(part)})" if isinstance(part, tuple | list) else f"{name} {tuple(np.shape(part))}".strip()
        for name, part in zip(names, state, strict=True)
        if part is not None and (isinstance(part, tuple | list) or 0 not in np.shape(part))
    ]
    return " and ".join(parts)


def _check_observation(observation: object) -> None:
    """Refuse what Gymnasium's ``reset`` returns, the commonest mistake.

    Raises:
        ValueError: the observation is a tuple.
    """
    if isinstance(observation, tuple):
        raise ValueError(
            "observation must be an array or a dictionary of arrays, got a tuple: "
            "Gymnasium's reset() returns (observation, info), pass the first of the two"
        )


def _refuse_bad_number(obs: PyTorchObs) -> None:
    """Name the number that makes an observation (B, ...) useless.

    Raises:
        ValueError: always, where there is one.
    """
    arrays: Any = (
        {key: part.cpu().numpy() for key, part in obs.items()} if isinstance(obs, dict) else obs.cpu().numpy()
    )
    if bad := find_bad_number(arrays):
        raise ValueError(f"observation must be finite, got {bad.words(1)} for environment {bad.where[0]}")


def starts_tensor(episode_starts: Any, device: torch.device) -> Tensor | None:
    """Where episodes start, as a tensor of bool on the device."""
    if episode_starts is None:
        return None
    given = episode_starts if isinstance(episode_starts, Tensor) else np.asarray(episode_starts)
    return torch.as_tensor(given, dtype=torch.bool, device=device)


def _row_starts(starts: Tensor | None, n_envs: int) -> Tensor | None:
    """Where an episode starts, (n_envs,) bool, from one value per environment or one for all.

    Raises:
        ValueError: another shape.
    """
    if starts is None:
        return None
    if starts.dim() == 0:
        starts = starts.expand(n_envs)
    if starts.shape != (n_envs,):
        raise ValueError(f"episode_start must have shape ({n_envs},), got {tuple(starts.shape)}")
    return starts
