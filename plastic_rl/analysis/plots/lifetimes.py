"""What happens within a lifetime: reward per step, around the first hit, and the time from hit to hit."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from plastic_rl.analysis.lifetime import Lifetimes
from plastic_rl.analysis.plots.study import Study
from plastic_rl.analysis.plots.style import Target, drawing_on, line_style


def lifetime_curves(
    groups: Mapping[str, Lifetimes], target: Target, window: int = 20, title: str = ""
) -> None:
    """Draw the reward per step against the step of the lifetime: learning shows as a rise.

    A line is the mean over lifetimes, smoothed over the last `window` steps; the band is its 95 % interval
    (1.96 standard errors over lifetimes).

    Args:
        groups: recorded lifetimes by label.
        target: the picture file to write, or matplotlib axes to draw on.
        window: steps that the reward is averaged over, at least 1.
        title: heading.

    Raises:
        ValueError: `window` is below 1 or longer than a lifetime.
    """
    for lives in groups.values():
        if not 1 <= window <= len(lives.rewards):
            raise ValueError(f"window must lie between 1 and {len(lives.rewards)} steps, not {window}")
    with drawing_on(target) as axes:
        for i, (label, lives) in enumerate(groups.items()):
            _mean_and_band(axes, i, label, lives.rewards, window, np.arange(1, len(lives.rewards) + 1))
        axes.set_xlabel("step of the lifetime")
        axes.set_ylabel(f"reward per step, mean of {window} steps")
        axes.set_xlim(0)
        _finish(axes, title)


def first_hit_curves(
    groups: Mapping[str, Lifetimes],
    target: Target,
    window: int = 20,
    before: int = 40,
    after: int = 120,
    title: str = "",
) -> None:
    """Draw the reward per step before and after the first hit, which is step 0 and itself left out.

    Before it there are no hits by definition; after it, what the agent has learned from it shows.

    Args:
        groups: recorded lifetimes by label; those without a hit do not enter.
        target: the picture file to write, or matplotlib axes to draw on.
        window: steps that the reward is averaged over, at least 1.
        before: steps to show before the first hit, at least `window`.
        after: steps to show after it, at least `window`.
        title: heading.

    Raises:
        ValueError: an argument is outside its range.
    """
    if window < 1 or min(before, after) < window:
        raise ValueError(
            f"before and after must be at least as long as window, and it at least 1; got {before}, {after} "
            f"and {window}"
        )
    with drawing_on(target) as axes:
        for i, (label, lives) in enumerate(groups.items()):
            aligned = lives.around_first_hit(before, after)
            _mean_and_band(axes, i, None, aligned[:before], window, np.arange(-before, 0))
            _mean_and_band(axes, i, label, aligned[before + 1 :], window, np.arange(1, after + 1))
        axes.axvline(0, color="#595959", linestyle="dotted", linewidth=1.3)
        axes.annotate(" first hit", (0, 0.98), xycoords=("data", "axes fraction"), va="top")
        axes.set_xlabel("steps since the first hit")
        axes.set_ylabel(f"reward per step, mean of {window} steps")
        axes.set_xlim(-before, after)
        _finish(axes, title)


def search_time_curves(
    groups: Mapping[str, Lifetimes],
    target: Target,
    hits: int = 12,
    best: float | None = None,
    title: str = "",
) -> None:
    """Draw how many steps each hit took: the first is a search, the later ones are returns.

    A line is the median over lifetimes, the band their quartiles. A hit that a lifetime ended before counts
    as longer than all others; where that makes the median unknown, the line ends.

    Args:
        groups: recorded lifetimes by label.
        target: the picture file to write, or matplotlib axes to draw on.
        hits: number of hits to show, at least 1.
        best: the best possible mean of steps per return, drawn as a line.
        title: heading.
    """
    top = 1.0
    with drawing_on(target) as axes:
        for i, (label, lives) in enumerate(groups.items()):
            times = lives.search_times(hits)
            # Without interpolation, which between a number and infinity makes no sense.
            low, median, high = np.quantile(times, [0.25, 0.5, 0.75], axis=1, method="inverted_cdf")
            shown = np.isfinite(median)
            number, low, median = np.arange(1, hits + 1)[shown], low[shown], median[shown]
            # What is longer than the rest of the lifetime reaches beyond the top of the picture.
            high = np.where(np.isfinite(high), high, 10.0 * len(lives.rewards))[shown]
            color, dashes = line_style(i)
            axes.fill_between(number, low, high, color=color, alpha=0.2, linewidth=0)
            name = label if shown.any() else f"{label}: most have no hit"
            axes.plot(number, median, color=color, linestyle=dashes, marker="o", markersize=4, label=name)
            top = max([top, *1.5 * median])
        if best is not None:
            axes.axhline(best, color="#595959", linestyle="dotted", linewidth=1.3)
            axes.annotate(f"best possible mean, goal known ({best:g})", (hits, best), ha="right", va="top")
        axes.set_xlabel("number of the hit")
        axes.set_ylabel("steps since the hit before, or the start")
        axes.set_xlim(0.5, hits + 0.5)
        axes.set_ylim(0, top)
        _finish(axes, title)


def _mean_and_band(
    axes: Axes, i: int, label: str | None, rewards: np.ndarray, window: int, steps: np.ndarray
) -> None:
    """Smooth each lifetime (T, B), then draw the mean over lifetimes; steps (T,) are where windows end."""
    windows = np.lib.stride_tricks.sliding_window_view(rewards, window, axis=0)
    smooth = windows.mean(axis=-1)
    count = np.isfinite(smooth).sum(axis=1)
    # A mean of fewer lifetimes than two has no error.
    shown = count >= 2
    smooth, count, steps = smooth[shown], count[shown], steps[window - 1 :][shown]
    mean, error = np.nanmean(smooth, axis=1), np.nanstd(smooth, axis=1, ddof=1) / np.sqrt(count)
    color, dashes = line_style(i)
    axes.fill_between(steps, mean - 1.96 * error, mean + 1.96 * error, color=color, alpha=0.2, linewidth=0)
    axes.plot(steps, mean, color=color, linestyle=dashes, linewidth=1.8, label=label)


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend(facecolor="white", edgecolor="none", framealpha=0.9)


def draw_lifetimes(study: Study, folder: Path) -> Iterator[Path]:
    """The reward per step within the lifetimes of a study's agents."""
    steps = min((len(lives.rewards) for lives in study.lifetimes.values()), default=0)
    if steps > 1:
        path = folder / "lifetime.png"
        note = f"{study.title}, {study.episodes} lifetimes per run, sampled actions, 95 % intervals"
        lifetime_curves(study.lifetimes, path, max(1, steps // 12), note)
        yield path
