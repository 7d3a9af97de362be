"""Figures of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from plastic_rl.training.runs import read_monitor

# Okabe and Ito's palette: told apart with any colour vision, and in grey by its lightness.
_CURVE = "#0072B2"
_LEVELS = ("#595959", "#D55E00", "#009E73", "#CC79A7")
_DASHES = ("dotted", "dashed", "dashdot", "solid")
_POINTS = 1000


def learning_curve(
    source: str | Path | Sequence[float] | np.ndarray,
    target: str | Path | Axes,
    levels: Mapping[str, float] | None = None,
    title: str = "",
    window: int = 100,
) -> None:
    """Draw the return against the number of training episodes.

    A line is the mean of the last `window` episodes, the band around it their 10 % to 90 % quantiles.

    Args:
        source: a monitor log, a folder with such logs, or the returns (episodes,) in order.
        target: the picture file to write, or matplotlib axes to draw on.
        levels: reference levels to draw as labelled lines, by name.
        title: heading.
        window: number of episodes in the running mean, at least 1.

    Raises:
        FileNotFoundError: `source` is a folder without monitor logs.
        ValueError: there is no finished episode, a log is damaged, or `window` is below 1.
    """
    returns = (
        read_monitor(Path(source))["r"] if isinstance(source, str | Path) else np.asarray(source, dtype=float)
    )
    if len(returns) == 0:
        raise ValueError("no episode has finished: there is nothing to draw")
    if window < 1:
        raise ValueError(f"window must be at least 1, not {window}")
    if isinstance(target, Axes):
        _draw(target, returns, levels or {}, title, window)
        return
    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    _draw(figure.add_subplot(), returns, levels or {}, title, window)
    figure.savefig(target)


def running_statistics(returns: np.ndarray, window: int, points: int = _POINTS) -> np.ndarray:
    """Statistics of the last `window` episodes, at no more than `points` places spread over all episodes.

    Args:
        returns: (E,), E at least 1.
        window: number of episodes the statistics are taken over, at least 1.
        points: the largest number of places, at least 2.

    Returns:
        (4, P): number of episodes so far, mean, 10 % and 90 % quantile. Near the start the window holds only
        the episodes so far.
    """
    ends = np.unique(np.linspace(1, len(returns), min(points, len(returns))).round().astype(int))
    rows = []
    for end in ends:
        last = returns[max(0, end - window) : end]
        rows.append((end, last.mean(), *np.quantile(last, [0.1, 0.9])))
    return np.array(rows, dtype=np.float64).T


def _draw(axes: Axes, returns: np.ndarray, levels: Mapping[str, float], title: str, window: int) -> None:
    episodes, mean, low, high = running_statistics(returns, window)
    label = f"mean of the last {window} episodes"
    axes.fill_between(episodes, low, high, color=_CURVE, alpha=0.2, linewidth=0, label="10 % to 90 % of them")
    axes.plot(
        episodes, mean, color=_CURVE, linewidth=1.8, label=label, marker="o" if len(mean) == 1 else None
    )
    for i, (name, level) in enumerate(levels.items()):
        color, dashes = _LEVELS[i % len(_LEVELS)], _DASHES[i % len(_DASHES)]
        axes.axhline(level, color=color, linestyle=dashes, linewidth=1.3)
        axes.annotate(
            f"{name} ({level:.4g})",
            (1.01, level),
            xycoords=("axes fraction", "data"),
            color=color,
            verticalalignment="center",
        )
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel("training episodes")
    axes.set_ylabel("return (sum of rewards per episode)")
    axes.set_title(title, pad=28)
    axes.set_xlim(0, episodes[-1] if episodes[-1] > 1 else 2)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False)
