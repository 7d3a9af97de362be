"""Learning curves: the return against the episodes or minutes of training."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter

from plastic_rl.analysis.plots.study import Study
from plastic_rl.analysis.plots.style import CURVES, Target, draw_levels, drawing_on, line_style
from plastic_rl.runs.folder import read_monitor

Against = Literal["episodes", "minutes"]
_POINTS = 1000
_AXIS = {"episodes": "training episodes", "minutes": "wall time of the training (minutes)"}


def learning_curve(
    source: str | Path | Sequence[float] | np.ndarray,
    target: Target,
    levels: Mapping[str, float] | None = None,
    title: str = "",
    window: int = 100,
    resumed: Sequence[int] = (),
) -> None:
    """Draw the return against the number of training episodes.

    A line is the mean of the last `window` episodes, the band around it their 10 % to 90 % quantiles.

    Args:
        source: a monitor log, a folder with such logs, or the returns (episodes,) in order.
        target: the picture file to write, or matplotlib axes to draw on.
        levels: reference levels to draw as labelled lines, by name.
        title: heading.
        window: number of episodes in the running mean, at least 1.
        resumed: after how many episodes the training was resumed; a mark on the axis at each.

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
    with drawing_on(target) as axes:
        _draw(axes, returns, levels or {}, title, window)
        _mark(axes, resumed)
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False)


def learning_curves(
    groups: Mapping[str, Sequence[str | Path | Mapping[str, np.ndarray]]],
    target: Target,
    levels: Mapping[str, float] | None = None,
    title: str = "",
    window: int = 1000,
    against: Against = "episodes",
) -> None:
    """Draw learning curves of several runs: of every group of seeds the median, and a band of its quartiles.

    What enters is each run's mean return of the last `window` episodes. A curve ends where the group's
    shortest run does.

    Args:
        groups: by label, the runs that differ in the seed only: monitor logs, folders with such logs, or what
            ``read_monitor`` gives of them.
        target: the picture file to write, or matplotlib axes to draw on.
        levels: reference levels to draw as labelled lines, by name.
        title: heading.
        window: number of episodes in the running means, at least 1.
        against: ``episodes`` or ``minutes`` of training.

    Raises:
        FileNotFoundError: a folder has no monitor log.
        ValueError: nothing to draw, a damaged log, a `window` below 1, or an unknown `against`.
    """
    curves = {
        label: quartiles_over_runs(
            [read_monitor(Path(run)) if isinstance(run, str | Path) else run for run in runs], window, against
        )
        for label, runs in groups.items()
    }
    if not curves:
        raise ValueError("groups is empty: there is nothing to draw")
    with drawing_on(target) as axes:
        for i, (label, (places, low, median, high)) in enumerate(curves.items()):
            color, dashes = line_style(i)
            seeds = len(groups[label])
            if seeds > 1:
                axes.fill_between(places, low, high, color=color, alpha=0.2, linewidth=0)
            name = f"{label} ({seeds} seed{'s' if seeds > 1 else ''})"
            axes.plot(places, median, color=color, linestyle=dashes, linewidth=1.8, label=name)
        draw_levels(axes, levels or {}, grey=True)
        several = any(len(runs) > 1 for runs in groups.values())
        axes.set_ylabel(f"return, mean of the last {window:,} episodes")
        axes.set_title(title + ("\nmedian and quartiles over seeds" if several else ""), fontsize="medium")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}" if against == "episodes" else "{x:g}"))
        axes.set_xlabel(_AXIS[against])
        axes.set_xlim(0, max(places[-1] for places, *_ in curves.values()))
        axes.grid(alpha=0.3)
        axes.legend(facecolor="white", edgecolor="none", framealpha=0.9)


def quartiles_over_runs(
    runs: Sequence[Mapping[str, np.ndarray]], window: int = 1000, against: Against = "episodes"
) -> np.ndarray:
    """Quartiles, over runs, of the mean return of the last `window` episodes.

    Args:
        runs: of each run the returns ``r`` (E,) and the end ``t`` (E,) of every episode, in seconds since the
            training began, as ``read_monitor`` gives them.
        window: number of episodes in the running means, at least 1.
        against: ``episodes`` or ``minutes``.

    Returns:
        (4, P): number of episodes or minutes since the start, first quartile, median, third quartile; up to
        where the shortest run ends.

    Raises:
        ValueError: no run, a run without a finished episode, or an argument outside its range.
    """
    if against not in _AXIS:
        raise ValueError(f"against must be one of {', '.join(_AXIS)}, not {against!r}")
    if not runs or any(len(run["r"]) == 0 for run in runs):
        raise ValueError("no episode has finished: there is nothing to draw")
    if against == "episodes":
        end = min(len(run["r"]) for run in runs)
        places = np.unique(np.linspace(1, end, min(_POINTS, end)).round())
        counts = [places.astype(int)] * len(runs)
    else:
        # From the moment on at which every run has finished an episode.
        first, end = max(run["t"][0] for run in runs), min(run["t"][-1] for run in runs)
        seconds = np.linspace(first, max(first, end), _POINTS)
        places, counts = seconds / 60, [np.searchsorted(run["t"], seconds, side="right") for run in runs]
    means = [running_mean(run["r"], window)[count - 1] for run, count in zip(runs, counts, strict=True)]
    return np.vstack([places, np.quantile(means, [0.25, 0.5, 0.75], axis=0)])


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of the last `window` values at every place, of all the values so far near the start.

    Args:
        values: (E,).
        window: at least 1.

    Returns:
        (E,).

    Raises:
        ValueError: `window` is below 1.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, not {window}")
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


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
    color, marker = CURVES[0], "o" if len(mean) == 1 else None
    axes.fill_between(episodes, low, high, color=color, alpha=0.2, linewidth=0, label="10 % to 90 % of them")
    axes.plot(episodes, mean, color=color, linewidth=1.8, label=label, marker=marker)
    draw_levels(axes, levels)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel(_AXIS["episodes"])
    axes.set_ylabel("return (sum of rewards per episode)")
    axes.set_title(title, pad=28)
    axes.set_xlim(0, episodes[-1] if episodes[-1] > 1 else 2)
    axes.grid(alpha=0.3)


def _mark(axes: Axes, resumed: Sequence[int]) -> None:
    """Triangles on the axis where the training was resumed."""
    if resumed:
        axes.plot(
            resumed, [0] * len(resumed), transform=axes.get_xaxis_transform(), clip_on=False, zorder=5,
            linestyle="none", marker="^", color="#595959", label="resumed",
        )  # fmt: skip


def draw_learning_curves(study: Study, folder: Path) -> Iterator[Path]:
    """The learning curves of a study's runs, against episodes and against minutes."""
    for against in get_args(Against):
        path = folder / f"learning_{against}.png"
        learning_curves(study.groups, path, study.levels, study.title, study.window, against)
        yield path
