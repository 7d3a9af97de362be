"""The statistics of `VecNormalize` as a part of a network."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor, nn

from plastic_rl.export.kinds import Observation


class Normalization(nn.Module):
    """What `VecNormalize` does to observations, with the statistics that it has now.

    Args:
        source: normalizes observations.
        space: what the policy observes.

    Raises:
        ValueError: something between the two changes the observations.
    """

    def __init__(self, source: VecNormalize, space: spaces.Space[Any]) -> None:
        super().__init__()
        if source.observation_space != space:
            raise ValueError(
                "model's environments must be normalized last, so that the policy sees what VecNormalize "
                f"gives, {source.observation_space}, got {space}"
            )
        statistics = source.obs_rms if isinstance(source.obs_rms, dict) else {"": source.obs_rms}
        self.parts = nn.ModuleDict(
            {_key(key): _Scale(part, source.clip_obs, source.epsilon) for key, part in statistics.items()}
        )

    def forward(self, observation: Observation) -> Observation:
        """observation: (B, ...), or a dictionary of those; returns the same, normalized."""
        if not isinstance(observation, dict):
            return self.parts[_key("")](observation)
        return {
            key: self.parts[_key(key)](part) if _key(key) in self.parts else part
            for key, part in observation.items()
        }


def _key(key: str) -> str:
    """A name that a module may have, whatever the key."""
    return "part_" + key.encode().hex()


class _Scale(nn.Module):
    """In 64 bits, as `VecNormalize` computes it: means may be large and differences small."""

    mean: Tensor
    std: Tensor

    def __init__(self, statistics: RunningMeanStd, clip: float, epsilon: float) -> None:
        super().__init__()
        self.clip = float(clip)
        self.register_buffer("mean", torch.as_tensor(statistics.mean, dtype=torch.float64))
        variance = torch.as_tensor(statistics.var, dtype=torch.float64)
        self.register_buffer("std", torch.sqrt(variance + epsilon))

    def forward(self, part: Tensor) -> Tensor:
        return torch.clamp((part.double() - self.mean) / self.std, -self.clip, self.clip).float()
