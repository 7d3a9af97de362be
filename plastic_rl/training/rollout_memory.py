"""Where a rollout lies from acting to the update: in SB3's buffer, or on the policy's device, too."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.utils import obs_as_tensor
from torch import Tensor


class BufferMemory:
    """In the buffer alone: on the CPU its arrays are the memory of the tensors.

    Args:
        buffer: of the rollout.
        device: of the policy.
    """

    def __init__(self, buffer: RolloutBuffer, device: torch.device) -> None:
        self.buffer, self.device = buffer, device

    def put(self, step: int, obs: Any, episode_starts: np.ndarray | None) -> tuple[Any, Tensor]:
        """What the policy is given at a step, from 0: observations and episode starts as tensors.

        obs: (B, ...), or a dictionary of those
        episode_starts: (B,)
        """
        starts = torch.as_tensor(episode_starts, dtype=torch.bool, device=self.device)
        return obs_as_tensor(obs, self.device), starts

    def take(self, step: int, actions: Tensor) -> np.ndarray:
        """The actions (B, ...) of a step as an array."""
        return actions.cpu().numpy()

    @property
    def observations(self) -> Any:
        """(T, B, ...), or a dictionary of those."""
        return map_observations(self.buffer.observations, lambda part: time_major(self.buffer, part))

    @property
    def actions(self) -> Tensor:
        """(T, B, ...), in the form that the policy's distribution takes."""
        actions = time_major(self.buffer, self.buffer.actions)
        discrete = isinstance(self.buffer.action_space, spaces.Discrete)
        return actions.squeeze(-1).long() if discrete else actions.float()

    @property
    def episode_starts(self) -> Tensor:
        """(T, B) bool."""
        return torch.as_tensor(self.buffer.episode_starts, dtype=torch.bool, device=self.device)


class _Part(NamedTuple):
    """A part of what a step needs. host: (B, ...), an array; device: (T, B, ...)."""

    host: np.ndarray
    device: Tensor

    def write(self, array: Any) -> None:
        """What is to be copied next."""
        np.copyto(self.host, np.asarray(array).reshape(self.host.shape), casting="unsafe")


# Parts of a step begin at multiples of so many bytes, where numbers of every kind may begin.
_ALIGNED = 16


class DeviceMemory:
    """On the policy's device, too, which is no CPU: nothing that was there once is brought there again.

    What the policy is given at a step goes there in one copy, from pinned memory and not waited for where
    that is a CUDA device; its actions come back in one.

    Args:
        buffer: of the rollout, one of SB3's own and empty.
        device: of the policy.
    """

    def __init__(self, buffer: RolloutBuffer, device: torch.device) -> None:
        self._pinned = device.type == "cuda"
        given: Any = buffer.observations
        self._is_dict = isinstance(given, dict)
        arrays: dict[str, np.ndarray] = given if self._is_dict else {"": given}
        steps, n_envs = buffer.buffer_size, buffer.n_envs
        layout = [(array.dtype, array.shape[1:]) for array in arrays.values()]
        layout.append((np.dtype(bool), (n_envs,)))

        places, size = [], 0
        for dtype, shape in layout:
            end = size + dtype.itemsize * int(np.prod(shape))
            places.append(slice(size, end))
            size = end + -end % _ALIGNED
        self._host = torch.empty(size, dtype=torch.uint8, pin_memory=self._pinned)
        self._device = torch.empty(steps, size, dtype=torch.uint8, device=device)
        parts = []
        for place, (dtype, shape) in zip(places, layout, strict=True):
            here = self._host.numpy()[place].view(dtype).reshape(shape)
            there = self._device[:, place].view(torch.from_numpy(np.empty(0, dtype)).dtype)
            parts.append(_Part(here, there.unflatten(1, shape)))
        self._starts = parts.pop()
        self._parts = dict(zip(arrays, parts, strict=True))

        discrete = isinstance(buffer.action_space, spaces.Discrete)
        self._actions = torch.empty(
            (steps, n_envs) if discrete else (steps, n_envs, buffer.action_dim),
            dtype=torch.long if discrete else torch.float32,
            device=device,
        )

    def put(self, step: int, obs: Any, episode_starts: np.ndarray | None) -> tuple[Any, Tensor]:
        """As ``BufferMemory.put``."""
        given = obs if self._is_dict else {"": obs}
        for name, part in self._parts.items():
            part.write(given[name])
        self._starts.write(episode_starts)
        # The copy of the step before is done with that memory: the actions that followed it were waited for.
        _copy(self._device[step], self._host, wait=not self._pinned)
        there = {name: part.device[step].reshape(np.shape(given[name])) for name, part in self._parts.items()}
        return there if self._is_dict else there[""], self._starts.device[step]

    def take(self, step: int, actions: Tensor) -> np.ndarray:
        """As ``BufferMemory.take``; they stay on the device, too."""
        self._actions[step].copy_(actions.reshape(self._actions.shape[1:]))
        here = torch.empty(actions.shape, dtype=actions.dtype, pin_memory=self._pinned)
        _copy(here, actions, wait=not self._pinned)
        if self._pinned:
            torch.cuda.current_stream(actions.device).synchronize()
        return here.numpy()

    @property
    def observations(self) -> Any:
        """(T, B, ...), or a dictionary of those."""
        found = {name: part.device for name, part in self._parts.items()}
        return found if self._is_dict else found[""]

    @property
    def actions(self) -> Tensor:
        """(T, B, ...), in the form that the policy's distribution takes."""
        return self._actions

    @property
    def episode_starts(self) -> Tensor:
        """(T, B) bool."""
        return self._starts.device


RolloutMemory: TypeAlias = BufferMemory | DeviceMemory


def rollout_memory(buffer: RolloutBuffer, device: torch.device) -> RolloutMemory:
    """For a rollout in this buffer, which is empty."""
    # A buffer that is not SB3's own may change what it is given.
    if is_host(device) or type(buffer) not in (RolloutBuffer, DictRolloutBuffer):
        return BufferMemory(buffer, device)
    return DeviceMemory(buffer, device)


def is_host(device: torch.device) -> bool:
    """Whether what is there need not be brought there."""
    return device.type == "cpu"


def _copy(target: Tensor, source: Tensor, *, wait: bool) -> None:
    """From one device to another."""
    target.copy_(source, non_blocking=not wait)


def time_major(buffer: RolloutBuffer, array: np.ndarray) -> Tensor:
    """One of the buffer's arrays on its device, (T, B, ...)."""
    if buffer.generator_ready:
        # Somebody has called get(), which flattens the arrays to one environment after the other.
        array = array.reshape(buffer.n_envs, -1, *array.shape[1:]).swapaxes(0, 1)
    return torch.as_tensor(array, device=buffer.device)


def map_observations(observations: Any, function: Any) -> Any:
    """Observations with ``function(part)`` in the place of each part."""
    if isinstance(observations, dict):
        return {key: function(part) for key, part in observations.items()}
    return function(observations)
