"""The running means of ``VecNormalize`` over the environments of several processes."""

from __future__ import annotations

import numpy as np
import torch
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from plastic_rl.training.distributed import Processes


class SharedStatistics:
    """Statistics that all processes have in common: they begin with those of the first one.

    Between two calls of `merge` each process goes on with what its own environments return; afterwards all
    have the statistics of everything that any environment has returned.

    Args:
        env: that of this process; None where nothing is normalized.
        processes: those that train together.
    """

    def __init__(self, env: VecNormalize | None, processes: Processes) -> None:
        self._parts: list[RunningMeanStd] = []
        self._processes = processes
        if env is None or processes.alone:
            return
        self._parts.append(env.ret_rms)
        if env.norm_obs:
            self._parts += env.obs_rms.values() if isinstance(env.obs_rms, dict) else [env.obs_rms]
        first = processes.from_first([vars(part) for part in self._parts])
        for part, values in zip(self._parts, first, strict=True):
            vars(part).update(values)
        self._common = self._sums()

    def merge(self) -> None:
        """Put the statistics of all processes in the place of one's own."""
        if not self._parts:
            return
        total = torch.from_numpy(self._sums())
        self._processes.sum_(total)
        # What they had in common has been counted once for each of them.
        self._set(total.numpy() - (self._processes.size - 1) * self._common)
        self._common = self._sums()

    def _sums(self) -> np.ndarray:
        """Of each part the count, and count times mean and mean square, in one vector."""
        numbers = []
        for part in self._parts:
            square = part.var + np.square(part.mean)
            numbers += [part.count, *np.ravel(part.count * part.mean), *np.ravel(part.count * square)]
        return np.array(numbers, dtype=np.float64)

    def _set(self, sums: np.ndarray) -> None:
        for part in self._parts:
            shape = np.shape(part.mean)
            size = int(np.prod(shape))
            count, mean, square = sums[0], sums[1 : size + 1], sums[size + 1 : 2 * size + 1]
            part.count = float(count)
            part.mean = (mean / count).reshape(shape)
            part.var = np.maximum(square / count - np.square(mean / count), 0).reshape(shape)
            sums = sums[2 * size + 1 :]
