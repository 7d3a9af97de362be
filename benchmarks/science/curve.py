"""The learning curve of a training, from the episodes that it trains on."""

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

POINTS = 60


class CurveCallback(BaseCallback):
    """Notes the mean return of the last 100 training episodes at regular intervals.

    Attributes:
        curve: environment steps and mean return.
    """

    def __init__(self, n_timesteps: int) -> None:
        super().__init__()
        self._interval = n_timesteps / POINTS
        self.curve: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        episodes = self.model.ep_info_buffer
        if episodes and self.num_timesteps >= (len(self.curve) + 1) * self._interval:
            self.curve.append((self.num_timesteps, float(np.mean([episode["r"] for episode in episodes]))))
