"""How much of a neuron's activity is told by what it was shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def selectivity(activities: ArrayLike, conditions: ArrayLike) -> np.ndarray:
    """The share of each neuron's variance that the condition explains (eta squared), from 0 to 1.

    With K samples of C conditions it is about (C - 1) / (K - 1) for a neuron that takes no notice of them.

    Args:
        activities: (K, N), one row for each sample.
        conditions: (K,), what the samples are of; at least two different ones.

    Returns:
        (N,); 0 for a neuron that never changes.

    Raises:
        ValueError: the shapes do not fit, or there are fewer than two conditions.
    """
    values, labels = np.asarray(activities, dtype=np.float64), np.asarray(conditions)
    if values.ndim != 2 or labels.shape != values.shape[:1]:
        raise ValueError(
            f"activities must be (K, N) and conditions (K,), got {values.shape} and {labels.shape}"
        )
    kinds, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(kinds) < 2:
        raise ValueError(f"conditions must hold at least two different ones, got {kinds.tolist()}")
    means = np.stack([values[which == i].mean(axis=0) for i in range(len(kinds))])
    between = counts @ (means - values.mean(axis=0)) ** 2
    total = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
    # Rounding alone makes a constant a little different from its mean.
    changes = total > 1e-12 * (values**2).sum(axis=0)
    return np.divide(between, total, out=np.zeros_like(total), where=changes)
