"""Figure and table of the maze's conditions, from the runs that maze_conditions.py leaves.

    python -m benchmarks.science.maze_report runs/conditions/PlasticMaze-v0

`write_report` is also what maze_conditions.py calls at its end. Minutes are those of the training itself,
with one thread, beside as many other runs as --jobs allowed. Intervals are 95 % percentile bootstraps over
seeds: with few seeds they come out somewhat too narrow.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.science.sweep import markdown_table
from plastic_rl.analysis import plots
from plastic_rl.analysis.plots.style import picture
from plastic_rl.envs import reference_levels
from plastic_rl.runs import folder as runs

RESULT = "result.json"
NAMES = {
    "full": "full plasticity",
    "homogeneous": "homogeneous plasticity",
    "none": "no plasticity",
    "modulated": "simple neuromodulation",
    "lstm": "LSTM",
}
WINDOW = 1000
THRESHOLDS = (50, 100, 150, 200, 250)


@dataclass(frozen=True)
class Run:
    """One finished or unfinished run.

    Attributes:
        folder: where it lies.
        returns: (E,) of its training episodes.
        seconds: (E,) since the training began.
        result: scores of the trained agent, None before it is finished.
    """

    folder: Path
    returns: np.ndarray
    seconds: np.ndarray
    result: dict | None

    def reached(self, level: float) -> tuple[float, float]:
        """Episodes and minutes until the mean return of the last 1,000 was at the level; inf if never."""
        means = plots.running_mean(self.returns, WINDOW)
        means[: WINDOW - 1] = -np.inf
        if not (means >= level).any():
            return np.inf, np.inf
        first = int(np.argmax(means >= level))
        return float(first + 1), float(self.seconds[first] / 60)

    def score(self, name: str) -> float:
        """The mean over lifetimes of one of the result's ``returns``, ``second_half_returns``, ``hits``."""
        assert self.result is not None
        return float(np.mean(self.result[name]))


def read_runs(folder: Path, conditions: Sequence[str]) -> dict[str, list[Run]]:
    """The runs of each condition that have finished an episode."""
    found: dict[str, list[Run]] = {}
    for condition in conditions:
        for path in sorted((folder / condition).glob("seed_*")):
            if not (path / runs.MONITOR).is_file():
                continue
            monitor = runs.read_monitor(path / runs.MONITOR)
            result = json.loads((path / RESULT).read_text()) if (path / RESULT).is_file() else None
            if len(monitor["r"]):
                found.setdefault(condition, []).append(Run(path, monitor["r"], monitor["t"], result))
    return found


def interquartile_mean(values: np.ndarray) -> float:
    """The mean of the middle half, (n,) sorted: a quarter, rounded down, is left out at either end."""
    cut = len(values) // 4
    return float(np.sort(values)[cut : len(values) - cut].mean())


def bootstrap(
    samples: Sequence[np.ndarray], statistic: Callable[..., float], resamples: int = 5000
) -> tuple[float, float]:
    """The 95 % interval of a statistic of independent samples, each (n_k,), drawn again with replacement.

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


def _with_interval(samples: Sequence[np.ndarray], statistic: Callable[..., float]) -> str:
    low, high = bootstrap(samples, statistic)
    value = f"{statistic(*samples):.1f}"
    return value if np.isnan(low) else f"{value} [{low:.1f}, {high:.1f}]"


def _mean(values: np.ndarray) -> float:
    return float(values.mean())


def speed_table(groups: dict[str, list[Run]]) -> str:
    """Episodes and minutes to each threshold: medians over seeds, and how many of them reached it."""
    rows = []
    for condition, group in groups.items():
        cells = [NAMES[condition], str(len(group))]
        for level in THRESHOLDS:
            episodes, minutes = zip(*(run.reached(level) for run in group), strict=True)
            count = int(np.isfinite(episodes).sum())
            share = "" if count == len(group) else f" ({count} of {len(group)})"
            # The lower of the two middle ones: the mean of a number and infinity says nothing.
            median = np.quantile([episodes, minutes], 0.5, axis=1, method="inverted_cdf")
            reached = f"{median[0]:,.0f} ep, {median[1]:.1f} min" if np.isfinite(median[0]) else "-"
            cells.append(reached + share)
        rows.append(cells)
    return markdown_table(["condition", "seeds", *(f"to {level}" for level in THRESHOLDS)], rows)


def score_table(groups: dict[str, list[Run]]) -> str:
    """Final scores over seeds with intervals, and what full plasticity is ahead by."""
    columns = ["condition", "seeds", "weights", "return, mean", "return, interquartile mean"]
    columns += ["return in the second half", "hits", "full minus this"]
    rows = []
    scores = {
        name: {
            key: np.array([run.score(key) for run in group])
            for key in ("returns", "second_half_returns", "hits")
        }
        for name, group in groups.items()
    }
    for condition, group in groups.items():
        own = scores[condition]
        assert group[0].result is not None
        difference = ""
        if condition != "full" and "full" in scores:
            pair = (scores["full"]["returns"], own["returns"])
            difference = _with_interval(pair, lambda full, other: float(full.mean() - other.mean()))
        cells = [
            NAMES[condition],
            str(len(group)),
            f"{group[0].result['weights']:,}",
            _with_interval([own["returns"]], _mean),
            _with_interval([own["returns"]], interquartile_mean),
            _with_interval([own["second_half_returns"]], _mean),
            _with_interval([own["hits"]], _mean),
            difference,
        ]
        rows.append(cells)
    return markdown_table(columns, rows)


def draw_curves(groups: dict[str, list[Run]], env_id: str, path: Path) -> None:
    """Median and quartiles over seeds, against episodes and against wall time."""
    levels = reference_levels(env_id)
    folders = {NAMES[name]: [run.folder for run in group] for name, group in groups.items()}
    with picture(path, (15, 5)) as figure:
        by_episodes, by_minutes = figure.subplots(1, 2)
        plots.learning_curves(folders, by_episodes, levels, env_id, WINDOW)
        plots.learning_curves(folders, by_minutes, levels, env_id, WINDOW, against="minutes")
        # One legend below both: within them it would lie over the curves.
        handles, labels = by_episodes.get_legend_handles_labels()
        for axes in (by_episodes, by_minutes):
            axes.get_legend().remove()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)


def write_report(folder: Path, conditions: Sequence[str] = tuple(NAMES)) -> str:
    """Write curves.png and table.md into the folder of an environment's runs; return the table."""
    groups = read_runs(folder, conditions)
    if not groups:
        return f"No run in {folder} has finished an episode yet: there is nothing to report."
    env_id = folder.name
    draw_curves(groups, env_id, folder / "curves.png")
    finished = {name: [run for run in group if run.result] for name, group in groups.items()}
    finished = {name: group for name, group in finished.items() if group}
    parts = [
        f"{env_id}. Training episodes and minutes until the mean return of the last {WINDOW:,} episodes "
        "reached a level; medians over seeds.",
        speed_table(groups),
    ]
    if finished:
        lifetimes = {len(run.result["returns"]) for group in finished.values() for run in group if run.result}
        episodes = {run.result["episodes"] for group in finished.values() for run in group if run.result}
        parts += [
            f"Scores after {', '.join(f'{n:,}' for n in sorted(episodes))} training episodes, over "
            f"{', '.join(map(str, sorted(lifetimes)))} lifetimes of fixed seeds with sampled actions; in "
            "brackets the 95 % interval, a percentile bootstrap over seeds.",
            score_table(finished),
        ]
    text = "\n\n".join(parts) + "\n"
    (folder / "table.md").write_text(text, encoding="utf-8")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    print(write_report(parser.parse_args().folder))


if __name__ == "__main__":
    main()
