"""Tables of scores: Markdown, means over seeds with their intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown, without a line's end after the last row."""
    header, *lines = ["| " + " | ".join(map(str, row)) + " |" for row in (columns, *rows)]
    return "\n".join([header, "|---" * len(columns) + "|", *lines])


def bootstrap(
    samples: Sequence[np.ndarray], statistic: Callable[..., float], resamples: int = 5000
) -> tuple[float, float]:
    """The 95 % interval of a statistic of independent samples, each (n_k,), drawn again with replacement.

    With few values it comes out somewhat too narrow.

    Returns:
        Its ends; nan where a sample has fewer than two values.
    """
    if min(len(sample) for sample in samples) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(0)
    drawn = [
        statistic(*(sample[rng.integers(len(sample), size=len(sample))] for sample in samples))
        for _ in range(resamples)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def difference(first: np.ndarray, *others: np.ndarray) -> float:
    """The mean of the first sample minus the means of the others, which may be none; (n_k,) each."""
    return float(first.mean() - sum(other.mean() for other in others))


def error_bars(
    groups: Sequence[Sequence[np.ndarray]], statistic: Callable[..., float] = np.mean
) -> tuple[np.ndarray, np.ndarray]:
    """A statistic of every group of samples, and its interval as matplotlib's `errorbar` takes it.

    Returns:
        The values (n,), and how far their 95 % intervals reach below and above them (2, n): 0 where there are
        too few values for one.
    """
    values = np.array([statistic(*samples) for samples in groups])
    ends = np.array([bootstrap(samples, statistic) for samples in groups]).T
    return values, np.nan_to_num(np.abs(ends - values))


def with_interval(
    samples: Sequence[np.ndarray], statistic: Callable[..., float] = np.mean, form: str = ".1f"
) -> str:
    """A statistic and, where there are enough values, its 95 % interval, in words."""
    low, high = bootstrap(samples, statistic)
    value = f"{statistic(*samples):{form}}"
    return value if np.isnan(low) else f"{value} [{low:{form}}, {high:{form}}]"
