"""The episodes that end in a rollout of several processes."""

from __future__ import annotations

from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from plastic_rl.training.distributed import Processes

# What an info tells of an episode that has ended.
_KEYS = ("episode", "is_success")


class SharedEpisodes:
    """Those of one rollout: each process adds its own, at the end all of them know all."""

    def __init__(self) -> None:
        self._ended: list[tuple[int, dict[str, Any]]] = []

    def add(self, step: int, infos: list[dict[str, Any]], dones: np.ndarray) -> None:
        """Keep what the infos of a step tell of episodes that ended there. dones: (B,)."""
        for i in np.flatnonzero(dones).tolist():
            self._ended.append((step, {key: infos[i][key] for key in _KEYS if key in infos[i]}))

    def share(self, processes: Processes, go_on: bool) -> tuple[bool, list[dict[str, Any]]]:
        """Whether all processes go on, and the infos of all, in the order of the steps."""
        shared = processes.gather((go_on, self._ended))
        ended = sorted(chain.from_iterable(infos for _, infos in shared), key=itemgetter(0))
        return all(others_go_on for others_go_on, _ in shared), [info for _, info in ended]
