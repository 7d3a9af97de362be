"""What the comparison on PlasticPairs-v0 found, as a table and as figures."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import StrMethodFormatter

from benchmarks.science.pairs_networks import (
    ENV_ID,
    NETWORKS,
    STEPS,
    WEIGHTS,
    hidden_size_of,
    network_of,
    run_name,
)
from benchmarks.science.sweep import Result
from plastic_rl.analysis.plots.style import draw_levels, line_style, picture
from plastic_rl.analysis.tables import error_bars, markdown_table, with_interval
from plastic_rl.envs import reference_levels

DRAWN = [name for name, network in NETWORKS.items() if network.drawn]


def steps_to(curve: list[tuple[int, float]], share: float) -> str:
    """Environment steps until the training answered this share."""
    reached = [steps for steps, value in curve if value >= share]
    return f"{reached[0]:,}" if reached else "never"


def answered(records: list[Result]) -> np.ndarray:
    """What every seed answered, (seeds,)."""
    return np.array([record["answered"] for record in records])


def table(runs: dict[str, dict[str, list[Result]]]) -> str:
    """Markdown: per number of pairs and network what was answered, and what it took."""
    columns = ["pairs", "network", "weights", "environment steps", "answered", "each seed", "to .90", "CPU s"]
    rows = []
    for group, networks in runs.items():
        for name, records in networks.items():
            first = records[0]
            each = ", ".join(f"{share:.3f}" for share in answered(records))
            reached = ", ".join(steps_to(record["curve"], 0.9) for record in records)
            seconds = np.mean([record["processor_seconds"] for record in records])
            rows.append(
                (
                    group.removeprefix("pairs_"),
                    network_of(name)[0],
                    f"{first['weights']:,}",
                    f"{first['steps']:,}",
                    with_interval([answered(records)], form=".3f"),
                    each,
                    reached,
                    f"{seconds:,.0f}",
                )
            )
    return markdown_table(columns, rows) + "\n"


def pairs_at(share: float, shares: dict[int, float]) -> str:
    """How many pairs are answered to this share, between numbers of pairs read off a logarithmic scale.

    shares: by the number of pairs, in ascending order
    """
    above: tuple[int, float] | None = None
    for n_pairs, value in shares.items():
        if value < share:
            if above is None:
                return f"less than {n_pairs}"
            part = (above[1] - share) / (above[1] - value)
            return f"{above[0] * (n_pairs / above[0]) ** part:.0f}"
        above = n_pairs, value
    assert above is not None
    return f"{above[0]} or more"


def counts_only(n_pairs: int) -> float:
    """The share that can be answered without binding anything."""
    return reference_levels(ENV_ID, {"n_pairs": n_pairs})["counts only"] / n_pairs


def capacity(runs: dict[str, dict[str, list[Result]]], name: str = "rnn modulated") -> str:
    """Markdown: by the size of the network, the pairs that are answered to .95."""
    columns = ["weights", "neurons N", "entries of the trace", "pairs at .95"]
    rows = []
    for weights in WEIGHTS:
        size = run_name(name, weights)
        shares = {n: float(answered(runs[group][size]).mean()) for n, group in _groups(runs, size)}
        # A training that broke says nothing about what a network keeps.
        shares = {n: share for n, share in shares.items() if share > counts_only(n)}
        if shares:
            neurons = hidden_size_of(name, weights)
            rows.append((f"{weights:,}", neurons, f"{neurons**2:,}", pairs_at(0.95, shares)))
    return markdown_table(columns, rows) + "\n"


def _groups(runs: dict[str, dict[str, list[Result]]], name: str) -> list[tuple[int, str]]:
    """Number of pairs and group of all that hold a network of this name."""
    return [(int(group.removeprefix("pairs_")), group) for group in runs if name in runs[group]]


def style(name: str) -> dict[str, Any]:
    """Colour and dashes of a network's line."""
    network = network_of(name)[0]
    if NETWORKS[network].algo == "recurrent_ppo":
        return {"color": "#7f7f7f", "linestyle": "-"}
    color, dashes = line_style(DRAWN.index(network.removeprefix("PPO, ")))
    # A network keeps its colour, whatever algorithm trains it.
    return {"color": color, "linestyle": "--" if NETWORKS[network].algo == "plastic_ppo" else dashes}


def draw_curves(path: Path, runs: dict[str, dict[str, list[Result]]], weights: int = 16_000) -> None:
    """Training: the median over seeds, and all of them as a band, one panel per number of pairs."""
    columns = min(len(runs), 3)
    rows = -(-len(runs) // columns)
    with picture(path, (5.2 * columns, 1.4 + 3.4 * rows)) as figure:
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes in panels.flat[len(runs) :]:
            axes.set_axis_off()
        labels: dict[str, Any] = {}
        for axes, (group, networks) in zip(panels.flat, runs.items(), strict=False):
            n_pairs = int(group.removeprefix("pairs_"))
            for name, records in networks.items():
                network, size = network_of(name)
                if size not in (0, weights) or network not in DRAWN:
                    continue
                count = min(len(record["curve"]) for record in records)
                steps = [step for step, _ in records[0]["curve"][:count]]
                shares = np.array([[value for _, value in record["curve"][:count]] for record in records])
                (line,) = axes.plot(steps, np.median(shares, 0), **style(name))
                band = {"color": line.get_color(), "alpha": 0.15, "linewidth": 0}
                axes.fill_between(steps, shares.min(0), shares.max(0), **band)
                labels[network] = line
            levels = reference_levels(ENV_ID, {"n_pairs": n_pairs})
            draw_levels(axes, {name: level / n_pairs for name, level in levels.items()}, grey=True)
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axes.set_title(f"{n_pairs} pairs", fontsize="medium")
            axes.set_xlabel("environment steps")
            axes.grid(alpha=0.3)
        for axes in panels[:, 0]:
            axes.set_ylabel("share of right answers")
        shown = [network for network in DRAWN if network in labels]
        ncols = min(1 + columns, 3)
        lines = [labels[network] for network in shown]
        figure.legend(lines, shown, loc="outside lower center", ncols=ncols, frameon=False)


def draw_load(path: Path, runs: dict[str, dict[str, list[Result]]]) -> None:
    """Shares against numbers of pairs: means over seeds and their intervals, one panel per size."""
    sizes = [
        size for size in WEIGHTS if any(network_of(n)[1] == size for group in runs.values() for n in group)
    ]
    with picture(path, (2.4 + 4.0 * len(sizes), 4.2)) as figure:
        panels = figure.subplots(1, len(sizes), squeeze=False, sharey=True)[0]
        labels: dict[str, Any] = {}
        for axes, size in zip(panels, sizes, strict=True):
            for network in DRAWN:
                name = run_name(network, size)
                if network_of(name)[1] != size:
                    continue  # it has a size of its own
                found = {n_pairs: runs[group][name] for n_pairs, group in _groups(runs, name)}
                if not found:
                    continue
                means, bars = error_bars([[answered(records)] for records in found.values()])
                line = axes.errorbar(
                    list(found), means, yerr=bars, marker="o", markersize=4, capsize=3, **style(name)
                )
                labels[network] = line
            counts = {n: counts_only(n) for n in STEPS}
            (labels["counts only"],) = axes.plot(
                list(counts), list(counts.values()), color="#595959", linestyle=":"
            )
            axes.axhline(1 / 4, color="#595959", linewidth=0.8)
            axes.set_xscale("log", base=2)
            axes.set_xticks(list(STEPS), [str(n) for n in STEPS])
            axes.set_title(f"{size:,} weights", fontsize="medium")
            axes.set_xlabel("pairs in a lifetime")
            axes.grid(alpha=0.3)
        panels[0].set_ylabel("share of right answers")
        figure.legend(list(labels.values()), list(labels), loc="outside lower center", ncols=3, frameon=False)
