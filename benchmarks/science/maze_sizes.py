"""Where memory is scarce: plastic and plain GRUs of equal weights, small networks and large mazes.

    python -m benchmarks.science.maze_sizes [--output FOLDER]

Runs are those of `maze_hidden.yml`, `maze_13.yml` and `maze_17.yml`, finished here or kept in
`benchmarks/results`. Written are `table.md` beside the kept runs of the first and a figure in
`docs/figures`, or both in another folder.

- Return: of the trained agent, the mean over 256 fresh lifetimes, actions sampled, and over seeds.
- While it learned: the mean return of all training episodes, which is larger where learning is faster.
"""

import argparse
from pathlib import Path

import numpy as np

from plastic_rl.analysis.plots.style import line_style, picture
from plastic_rl.analysis.tables import difference, error_bars, markdown_table, with_interval
from plastic_rl.envs.maze.rules import MazeOptions
from plastic_rl.runs.sweep import SweepRun, read_sweep

HERE = Path(__file__).parent
SWEEPS = ("maze_hidden", "maze_13", "maze_17")
TABLE = HERE.parent / "results" / "maze_hidden"
FIGURE = HERE.parents[1] / "docs" / "figures" / "maze_sizes.png"
NETWORKS = {"hebb": "plastic", "none": "plain"}

Found = dict[str, dict[int, dict[str, list[SweepRun]]]]
"""Finished runs by maze, neurons of the plastic network, and kind of network."""


def read_finished() -> Found:
    """All finished runs; a plain network stands with the plastic one whose weights it has."""
    found: Found = {}
    for name in SWEEPS:
        for run in read_sweep(HERE / f"{name}.yml").of("finished"):
            side = run.env_kwargs.get("size", MazeOptions.size)
            # Conditions are called "gru hebb, 16".
            kind, neurons = run.condition.removeprefix("gru ").split(", ")
            sizes = found.setdefault(f"{side} x {side}", {})
            sizes.setdefault(int(neurons), {}).setdefault(kind, []).append(run)
    return found


def trained(run: SweepRun) -> float:
    """The trained agent's mean return."""
    return run.score()


def training(run: SweepRun) -> float:
    """The mean return of all training episodes."""
    return float(run.monitor()["r"].mean())


def table(found: Found) -> str:
    """Markdown: per maze and size both networks and their difference, of the seeds that both have."""
    rows = []
    for maze, sizes in found.items():
        for neurons, kinds in sorted(sizes.items()):
            # What one network has of a seed that the other has not would move one mean alone.
            seeds = set.intersection(*({run.seed for run in kinds.get(kind, [])} for kind in NETWORKS))
            if not seeds:
                continue
            groups = [[run for run in kinds[kind] if run.seed in seeds] for kind in NETWORKS]
            weights = [result["weights"] for runs in groups if (result := runs[0].result()) is not None]
            row = [maze, str(neurons), " and ".join(f"{number:,}" for number in weights), str(len(seeds))]
            for score in (trained, training):
                samples = [np.array([score(run) for run in runs]) for runs in groups]
                row += [with_interval([sample], form=".0f") for sample in samples]
                row.append(with_interval(samples, difference, ".0f"))
            rows.append(row)
    scores = [f"{what}{name}" for what in ("", "learning: ") for name in (*NETWORKS.values(), "difference")]
    return markdown_table(["maze", "plastic neurons", "weights", "seeds", *scores], rows) + "\n"


def draw(path: Path, found: Found) -> None:
    """Trained agents' return against neurons, a panel per maze: means over seeds, and 95 % intervals."""
    with picture(path, (0.8 + 3.6 * len(found), 3.8)) as figure:
        panels = figure.subplots(1, len(found), squeeze=False)[0]
        for axes, (maze, sizes) in zip(panels, found.items(), strict=True):
            for i, (kind, name) in enumerate(NETWORKS.items()):
                shown = {n: kinds[kind] for n, kinds in sorted(sizes.items()) if kind in kinds}
                means, bars = error_bars(
                    [[np.array([trained(run) for run in runs])] for runs in shown.values()]
                )
                color, dashes = line_style(i)
                axes.errorbar(
                    list(shown), means, bars, color=color, linestyle=dashes, marker="o", markersize=4,
                    capsize=3, label=name,
                )  # fmt: skip
            axes.set_xscale("log", base=2)
            axes.set_xticks(sorted(sizes), [str(n) for n in sorted(sizes)])
            axes.set_ylim(bottom=0)
            axes.set_title(f"maze {maze}", fontsize="medium")
            axes.set_xlabel("neurons of the plastic network")
            axes.grid(alpha=0.3)
        panels[0].set_ylabel("return")
        panels[0].legend(frameon=False)


def main() -> None:
    """Write table and figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="default: where the docs have them")
    arguments = parser.parse_args()
    found = read_finished()
    if not found:
        parser.error("no run is finished: plastic-rl sweep benchmarks/science/maze_hidden.yml")
    folder = arguments.output
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    text = table(found)
    (TABLE if folder is None else folder).joinpath("table.md").write_text(text)
    draw(FIGURE if folder is None else folder / FIGURE.name, found)
    print(text)


if __name__ == "__main__":
    main()
