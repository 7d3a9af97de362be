"""The memory benchmark: tables and figures of what the sweeps over POPGym's tasks have found so far.

    python -m benchmarks.science.popgym_report [--output FOLDER]

Runs are those of `popgym_easy.yml` and `popgym_harder.yml`, finished here or kept in
`benchmarks/results/popgym`. Written are `table.md` beside the kept runs and figures in `docs/figures`, or
all of it in another folder.

- Return: the mean over 100 episodes of the trained agent, actions sampled, and over seeds.
- MMER: POPGym's own score, the largest mean return of the episodes of one stretch of training. A stretch is
  65,536 steps, the batch of its authors.
- Normalised: 0 is random actions, 1 the best expected return (`benchmarks.science.popgym_levels`), for the
  tasks where that is known.
- Aggregate: the interquartile mean of all normalised returns of a condition, and its 95 % interval by a
  bootstrap over the seeds of each task (Agarwal, Schwarzer, Castro, Courville & Bellemare, "Deep
  Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021), over the tasks that all
  conditions have run on. Tasks that the settings were chosen on are left out. That still leaves neighbours of
  others: CartPole without velocities, and the four tasks themselves in Medium and Hard.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.science.popgym_levels import DIFFICULTIES, read_levels
from plastic_rl.analysis.plots.style import line_style, picture
from plastic_rl.analysis.tables import error_bars, markdown_table, with_interval
from plastic_rl.runs.sweep import SweepRun, read_sweep

SWEEPS = [Path(__file__).with_name(f"popgym_{name}.yml") for name in ("easy", "harder")]
TABLE = Path(__file__).parents[1] / "results" / "popgym"
FIGURES = Path(__file__).parents[2] / "docs" / "figures"
# What ppo_defaults.yml, a2c_defaults.yml and recurrent_defaults.yml look at.
CHOSEN_ON = ("AutoencodeEasy", "CountRecallEasy", "RepeatFirstEasy", "RepeatPreviousEasy")
STRETCH = 65_536

Finished = dict[str, dict[str, list[SweepRun]]]
"""Runs by task and condition."""


def read_finished() -> Finished:
    """All finished runs of the sweeps, by task, such as AutoencodeEasy, and condition."""
    found: Finished = {}
    for path in SWEEPS:
        for run in read_sweep(path).of("finished"):
            task = run.config.env_id.split(":Popgym")[1].removesuffix("-v0")
            found.setdefault(task, {}).setdefault(run.condition, []).append(run)
    return found


def best_stretch(returns: np.ndarray, lengths: np.ndarray, stretch: int = STRETCH) -> float:
    """MMER: the largest mean return of the episodes that ended within so many steps of training.

    What is left of the training after the last whole stretch does not count.

    returns, lengths: of the episodes in order, (E,)
    """
    ends = np.cumsum(lengths)
    whole = ends <= max(ends[-1] // stretch, 1) * stretch
    number = ((ends[whole] - 1) // stretch).astype(int)
    counts = np.bincount(number)
    means = np.bincount(number, returns[whole])[counts > 0] / counts[counts > 0]
    return float(means.max())


def mmer(run: SweepRun) -> float:
    """The run's MMER."""
    monitor = run.monitor()
    return best_stretch(monitor["r"], monitor["l"])


def interquartile_mean(*samples: np.ndarray) -> float:
    """The mean of all values without the lowest and the highest quarter of them."""
    values = np.sort(np.concatenate(samples))
    cut = len(values) // 4
    return float(values[cut : len(values) - cut].mean())


def normalised(task: str, returns: np.ndarray) -> np.ndarray | None:
    """Returns (n,) with 0 for random actions and 1 for the best; None where the best is not known."""
    level = read_levels()[task]
    random, best = level["random"], level["best"]
    return None if best is None or random is None else (returns - random) / (best - random)


def conditions(finished: Finished) -> list[str]:
    """The names of all conditions that have runs."""
    return list(dict.fromkeys(name for tasks in finished.values() for name in tasks))


def aggregate(finished: Finished, tasks: Sequence[str], name: str) -> list[np.ndarray]:
    """Normalised returns (seeds,) of a condition, one sample per task that has a level and runs."""
    samples = []
    for task in tasks:
        if runs := finished[task].get(name):
            sample = normalised(task, np.array([run.score() for run in runs]))
            if sample is not None:
                samples.append(sample)
    return samples


def of_difficulty(finished: Finished, difficulty: str) -> list[str]:
    """The tasks that have runs, those that settings were chosen on last."""
    tasks = [task for task in finished if task.endswith(difficulty)]
    return sorted(tasks, key=lambda task: (task in CHOSEN_ON, task))


def aggregates(finished: Finished, difficulty: str) -> dict[str, list[np.ndarray]]:
    """By condition the normalised returns (seeds,), one sample per task that a comparison can be made on.

    Nothing was chosen on these tasks, their best return is known, and all conditions that have run on any of
    them have run on each.
    """
    tasks = [task for task in of_difficulty(finished, difficulty) if task not in CHOSEN_ON]
    tasks = [task for task in tasks if read_levels()[task]["best"] is not None]
    names = [name for name in conditions(finished) if any(name in finished[task] for task in tasks)]
    tasks = [task for task in tasks if all(name in finished[task] for name in names)]
    return {name: aggregate(finished, tasks, name) for name in names} if tasks else {}


def table(finished: Finished) -> str:
    """Markdown: per difficulty what is reached, MMER, the aggregate, and what it costs."""
    parts, names = [], conditions(finished)
    levels = read_levels()
    for difficulty in DIFFICULTIES:
        tasks = of_difficulty(finished, difficulty)
        if not tasks:
            continue
        for title, score in (("Return", lambda run: run.score()), ("MMER", mmer)):
            rows = []
            for task in tasks:
                level = levels[task]
                best = "" if level["best"] is None else f"{level['best']:.2f}"
                chosen = " (chosen on)" if task in CHOSEN_ON else ""
                cells = [f"{task.removesuffix(difficulty)}{chosen}", f"{level['random']:.2f}", best]
                for name in names:
                    runs = finished[task].get(name, [])
                    values = np.array([score(run) for run in runs])
                    cells.append(with_interval([values], form=".2f") if runs else "")
                rows.append(cells)
            parts += [f"{title}, {difficulty}:", markdown_table(["task", "random", "best", *names], rows)]
        means = [
            (name, len(each), with_interval(each, interquartile_mean, ".3f"))
            for name, each in aggregates(finished, difficulty).items()
        ]
        if means:
            parts += [
                f"Interquartile mean of normalised returns, {difficulty}, tasks that nothing was chosen on:",
                markdown_table(["condition", "tasks", "interquartile mean"], means),
            ]
    parts += ["Cost of a run, means over all tasks:", _costs(finished, names)]
    return "\n\n".join(parts) + "\n"


def _costs(finished: Finished, names: Sequence[str]) -> str:
    rows = []
    for name in names:
        results = [run.result() for tasks in finished.values() for run in tasks.get(name, [])]
        minutes = np.array([result["processor_seconds"] / 60 for result in results if result is not None])
        steps = np.array([result["steps"] for result in results if result is not None])
        speed = steps.sum() / minutes.sum() / 60
        rows.append((name, len(minutes), f"{minutes.mean():.1f}", f"{speed:,.0f}"))
    return markdown_table(["condition", "runs", "CPU minutes", "steps per CPU second"], rows)


def draw_curves(path: Path, finished: Finished, difficulty: str) -> None:
    """Training returns against steps, one panel per task: the mean over seeds, and all of them as a band."""
    tasks, names = of_difficulty(finished, difficulty), conditions(finished)
    columns = min(4, len(tasks))
    rows = -(-len(tasks) // columns)
    with picture(path, (3.4 * columns, 2.6 * rows + 0.8)) as figure:
        panels = figure.subplots(rows, columns, squeeze=False)
        lines = {}
        for axes in panels.flat[len(tasks) :]:
            axes.set_axis_off()
        for axes, task in zip(panels.flat, tasks, strict=False):
            for name, runs in finished[task].items():
                color, dashes = line_style(names.index(name))
                steps, means = _curves(runs)
                axes.fill_between(steps, means.min(0), means.max(0), color=color, alpha=0.15, linewidth=0)
                (lines[name],) = axes.plot(steps, means.mean(0), color=color, linestyle=dashes, linewidth=1.3)
            axes.set_title(task.removesuffix(difficulty), fontsize="medium")
            axes.grid(alpha=0.3)
        for axes in panels.flat[max(len(tasks) - columns, 0) : len(tasks)]:
            axes.set_xlabel("million steps")  # the lowest of its column
        for axes in panels[:, 0]:
            axes.set_ylabel("return")
        figure.legend(list(lines.values()), list(lines), loc="outside lower center", ncols=3, frameon=False)


def _curves(runs: Sequence[SweepRun], points: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Ends of equal stretches of training in million steps (P,), and mean returns there (runs, P)."""
    monitors = [run.monitor() for run in runs]
    ends = np.linspace(0, min(m["l"].sum() for m in monitors), points + 1)[1:]
    means = []
    for monitor in monitors:
        at = np.searchsorted(np.cumsum(monitor["l"]), ends, side="right")
        sums = np.concatenate([[0.0], np.cumsum(monitor["r"])])
        counts = np.diff(at, prepend=0)
        # Where no episode has ended the mean is that of the stretch before, if there is one.
        each = np.diff(sums[at], prepend=0.0) / np.where(counts, counts, np.nan)
        means.append(each[np.maximum.accumulate(np.where(counts, np.arange(points), 0))])
    return ends / 1e6, np.array(means)


def draw_aggregate(path: Path, finished: Finished) -> None:
    """The interquartile means and their intervals, one panel per difficulty; nothing where there are none."""
    found = {difficulty: aggregates(finished, difficulty) for difficulty in DIFFICULTIES}
    shown = [difficulty for difficulty, samples in found.items() if samples]
    if not shown:
        return
    names = conditions(finished)
    with picture(path, (4.2 * len(shown), 0.8 + 0.45 * len(names))) as figure:
        panels = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
        for axes, difficulty in zip(panels, shown, strict=True):
            for name, samples in found[difficulty].items():
                i = names.index(name)
                mean, bars = error_bars([samples], interquartile_mean)
                axes.errorbar(mean, i, xerr=bars, color=line_style(i)[0], marker="o", capsize=3)
            axes.set_xlim(min(0.0, axes.get_xlim()[0]), max(1.0, axes.get_xlim()[1]))
            axes.set_yticks(range(len(names)), names)
            axes.set_ylim(-0.5, len(names) - 0.5)
            axes.set_title(difficulty, fontsize="medium")
            axes.set_xlabel("interquartile mean, 0 random, 1 best")
            axes.grid(alpha=0.3)
        panels[0].invert_yaxis()


def main() -> None:
    """Write table and figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="default: where the docs have them")
    arguments = parser.parse_args()
    finished = read_finished()
    if not finished:
        parser.error("no run is finished: plastic-rl sweep benchmarks/science/popgym_easy.yml")
    text = table(finished)
    places = (TABLE, FIGURES) if arguments.output is None else (arguments.output, arguments.output)
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    (places[0] / "table.md").write_text(text)
    for difficulty in DIFFICULTIES:
        if of_difficulty(finished, difficulty):
            draw_curves(places[1] / f"popgym_{difficulty.lower()}.png", finished, difficulty)
    draw_aggregate(places[1] / "popgym_aggregate.png", finished)
    print(text)


if __name__ == "__main__":
    main()
