"""What figures of several runs are drawn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plastic_rl.analysis.lifetime import Lifetimes


@dataclass(frozen=True, kw_only=True)
class Study:
    """Runs on one environment, and what their agents did when they were played.

    Attributes:
        title: the environment.
        groups: by label, the folders of runs that differ in the seed only; at least one episode of each has
            finished.
        lifetimes: by label, those of all its agents, with sampled actions; none where the reward lies on the
            last step of an episode.
        matrices: by label, the (N, N) matrices of its first plastic agent by name; none for other agents.
        levels: reference levels by name, those that hold for all runs.
        episodes: lifetimes of each agent.
        window: training episodes that a mean is taken over.
    """

    title: str
    groups: Mapping[str, Sequence[Path]]
    lifetimes: Mapping[str, Lifetimes]
    matrices: Mapping[str, Mapping[str, np.ndarray]]
    levels: Mapping[str, float]
    episodes: int
    window: int
