"""What has become of a sweep: states of its runs, a table of scores, learning curves."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from plastic_rl.analysis import plots
from plastic_rl.analysis.plots.style import picture
from plastic_rl.analysis.tables import difference, markdown_table, with_interval
from plastic_rl.arguments import split_env_id
from plastic_rl.envs import reference_levels
from plastic_rl.files import atomic
from plastic_rl.runs import folder as runs
from plastic_rl.runs.sweep import FAILURE, STATES, Sweep, SweepRun

Runs = Sequence[SweepRun]


def failures(sweep: Sweep) -> list[str]:
    """The runs that failed, with the end of what they printed."""
    found = []
    for run in sweep.of("failed"):
        tail = (run.folder / FAILURE).read_text(encoding="utf-8").rstrip().splitlines()
        found.append("\n".join([f"{run} failed, in {run.folder}:", *(f"    {line}" for line in tail)]))
    return found


def status(sweep: Sweep) -> str:
    """How many runs of all settings are in which state, and why some failed."""
    rows = []
    for env_id, conditions in sweep.by_condition().items():
        for condition, group in conditions.items():
            counts = Counter(run.state() for run in group)
            steps = np.mean([min(_steps(run) / run.config.n_timesteps, 1) for run in group])
            rows.append((env_id, condition, *(counts[state] or "" for state in STATES), f"{steps:.0%}"))
    parts = [markdown_table(["environment", "settings", *STATES, "steps"], rows), *failures(sweep)]
    if sweep.of("failed"):
        parts.append("plastic-rl sweep FILE --retry trains what has failed again.")
    return "\n\n".join(parts)


def table(sweep: Sweep) -> str:
    """Scores of the trained agents, differences between settings, and costs; also written to files.

    ``table.md`` is what is returned; ``table.csv`` has a row for each run.

    Raises:
        ValueError: no run is finished.
        OSError: the files cannot be written.
    """
    finished = {
        env_id: {name: done for name, group in conditions.items() if (done := _finished(group))}
        for env_id, conditions in sweep.by_condition().items()
    }
    finished = {env_id: conditions for env_id, conditions in finished.items() if conditions}
    if not finished:
        raise ValueError(f"no run in {sweep.folder} is finished: there is nothing to compare")
    parts = []
    for env_id, conditions in finished.items():
        parts += [
            f"{env_id}. Scores of the trained agents over {sweep.evaluate['episodes']} episodes; in brackets "
            "the 95 % interval of the mean, a percentile bootstrap over seeds.",
            _scores(conditions),
        ]
        if len(conditions) > 1:
            parts += ["Differences of the means:", _differences(conditions)]
        if sweep.levels:
            parts += [
                f"Training episodes, and minutes, until the mean return of the last {sweep.window:,} reached "
                "a level; medians over seeds.",
                _speed(conditions, sweep),
            ]
        if sweep.at:
            parts += [
                f"Mean return of the last {sweep.window:,} training episodes after so many, and differences.",
                _progress(conditions, sweep),
            ]
    text = "\n\n".join(parts) + "\n"
    sweep.folder.mkdir(parents=True, exist_ok=True)  # all runs may be kept ones, elsewhere
    for name, content in (("table.md", text), ("table.csv", _as_csv(sweep))):
        with atomic(sweep.folder / name) as partial:
            partial.write_text(content, encoding="utf-8")
    return text


def plot(sweep: Sweep) -> str:
    """Draw the learning curves of each environment: median and quartiles over seeds.

    Raises:
        ValueError: no run has finished an episode.
        OSError: the pictures cannot be written.
    """
    stored = []
    for env_id, conditions in sweep.by_condition().items():
        monitors = {
            name: [log for run in group if len((log := run.monitor())["r"])]
            for name, group in conditions.items()
        }
        monitors = {name: group for name, group in monitors.items() if group}
        if not monitors:
            continue
        levels = reference_levels(env_id, next(iter(conditions.values()))[0].env_kwargs)
        sweep.folder.mkdir(parents=True, exist_ok=True)  # all runs may be kept ones, elsewhere
        path = sweep.folder / f"curves_{split_env_id(env_id)[1]}.png"
        with picture(path, (7.5 * len(sweep.against), 5)) as figure:
            panels = figure.subplots(1, len(sweep.against), squeeze=False)[0]
            for axes, against in zip(panels, sweep.against, strict=True):
                plots.learning_curves(monitors, axes, levels, env_id, sweep.window, against)
                axes.get_legend().remove()
            # One legend below all: within them it would lie over the curves.
            handles, labels = panels[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=3 * len(panels), frameon=False)
        stored.append(f"Stored {path}")
    if not stored:
        raise ValueError(f"no run in {sweep.folder} has finished an episode: there is nothing to draw")
    return "\n".join(stored)


def _steps(run: SweepRun) -> int:
    """Steps of the training, as far as they are logged."""
    result = run.result()
    if result is not None:
        return int(result["steps"])
    try:
        rows = runs.read_progress(run.folder, run.config.n_timesteps)
    except ValueError:
        return 0
    return int(rows[-1]["time/total_timesteps"] or 0) if rows else 0


def _finished(group: Runs) -> list[SweepRun]:
    return [run for run in group if run.state() == "finished"]


def _result(run: SweepRun) -> dict[str, Any]:
    found = run.result()
    assert found is not None
    return found


def _means(group: Runs, measure: str) -> np.ndarray:
    return np.array([run.score(measure) for run in group])


def _measures(conditions: dict[str, list[SweepRun]]) -> list[str]:
    return list(_result(next(iter(conditions.values()))[0])["measures"])


def _form(values: np.ndarray) -> str:
    """Decimals that show three digits of the spread."""
    size = float(np.abs(values).max())
    return ".1f" if size >= 20 else ".3f" if size >= 0.1 else ".2e"


def _scores(conditions: dict[str, list[SweepRun]]) -> str:
    measures = _measures(conditions)
    rows = []
    for name, group in conditions.items():
        results = [_result(run) for run in group]
        scores = [_means(group, measure) for measure in measures]
        each = ", ".join(f"{score:{_form(scores[0])}}" for score in scores[0])
        minutes = np.mean([_minutes(run) for run in group])
        cpu = np.mean([result["processor_seconds"] for result in results]) / 60
        cells = [name, len(group), f"{results[0]['weights']:,}"]
        cells += [with_interval([score], form=_form(score)) for score in scores]
        rows.append([*cells, each, f"{minutes:.1f}", f"{cpu:.1f}"])
    columns = [
        "settings",
        "seeds",
        "weights",
        *measures,
        f"{measures[0]} of each seed",
        "minutes",
        "CPU minutes",
    ]
    return markdown_table(columns, rows)


def _minutes(run: SweepRun) -> float:
    ends = run.monitor()["t"]
    return float(ends[-1]) / 60 if len(ends) else 0.0


def _differences(conditions: dict[str, list[SweepRun]]) -> str:
    measures = _measures(conditions)
    rows = []
    for one, other in combinations(conditions, 2):
        cells = [f"{one} minus {other}"]
        for measure in measures:
            pair = [_means(conditions[name], measure) for name in (one, other)]
            form = _form(np.concatenate(pair))
            cells.append(with_interval(pair, difference, form))
        rows.append(cells)
    return markdown_table(["settings", *measures], rows)


def _speed(conditions: dict[str, list[SweepRun]], sweep: Sweep) -> str:
    rows = []
    for name, group in conditions.items():
        cells = [name]
        for level in sweep.levels:
            reached = np.array([_reached(run, level, sweep.window) for run in group])
            count = int(np.isfinite(reached[:, 0]).sum())
            # The lower of the two middle ones: the mean of a number and infinity says nothing.
            episodes, minutes = np.quantile(reached, 0.5, axis=0, method="inverted_cdf")
            share = "" if count == len(group) else f" ({count} of {len(group)})"
            cells.append((f"{episodes:,.0f}, {minutes:.1f} min" if np.isfinite(episodes) else "-") + share)
        rows.append(cells)
    return markdown_table(["settings", *(f"to {level:g}" for level in sweep.levels)], rows)


def _progress(conditions: dict[str, list[SweepRun]], sweep: Sweep) -> str:
    means = {
        name: np.array([_after(run, sweep.at, sweep.window) for run in group]).T
        for name, group in conditions.items()
    }
    rows = [[name, *(_interval([values]) for values in each)] for name, each in means.items()]
    for one, other in combinations(conditions, 2):
        pairs = zip(means[one], means[other], strict=True)
        rows.append([f"{one} minus {other}", *(_interval(pair) for pair in pairs)])
    return markdown_table(["settings", *(f"{episodes:,}" for episodes in sweep.at)], rows)


def _interval(samples: Sequence[np.ndarray]) -> str:
    """The mean of a sample, or the difference of two, without runs that have not come so far."""
    there = [sample[np.isfinite(sample)] for sample in samples]
    if not all(len(sample) for sample in there):
        return "-"
    form = _form(np.concatenate(there))
    return with_interval(there, difference, form)


def _after(run: SweepRun, at: Sequence[int], window: int) -> np.ndarray:
    """The mean return of the last episodes after each of these numbers of them; nan beyond the last."""
    returns = run.monitor()["r"]
    return np.array([returns[n - window : n].mean() if n <= len(returns) else np.nan for n in at])


def _reached(run: SweepRun, level: float, window: int) -> tuple[float, float]:
    """Episodes and minutes until the mean return of the last ones was at the level; inf if never."""
    monitor = run.monitor()
    means = plots.running_mean(monitor["r"], window)
    there = np.flatnonzero(means[window - 1 :] >= level)
    if not len(there):
        return np.inf, np.inf
    first = int(there[0]) + window - 1
    return float(first + 1), float(monitor["t"][first] / 60)


def _as_csv(sweep: Sweep) -> str:
    rows = list(_rows(sweep))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _rows(sweep: Sweep) -> Iterator[dict[str, object]]:
    for run in sweep.of("finished"):
        result = _result(run)
        yield {
            "environment": run.config.env_id,
            "settings": run.condition,
            "seed": run.seed,
            "steps": result["steps"],
            "weights": result["weights"],
            **{name: measure["mean"] for name, measure in result["measures"].items()},
            "minutes": round(_minutes(run), 3),
            "cpu_minutes": round(result["processor_seconds"] / 60, 3),
        }
