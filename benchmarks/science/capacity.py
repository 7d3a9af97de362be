"""How many patterns an autoassociator keeps: bits in error by the number of patterns and of bits.

    python -m benchmarks.science.capacity [--networks hebb oja] [--bits 50 100 200] [--seeds 0]

The task is `PlasticPatternMemory-v0` with its own timing: random patterns, three passes, then one of them
with half of its bits erased. A network is trained for each number of patterns; the one that was trained on
five is also tested on the others. An answer of nothing has half of the erased bits wrong.

Every run is a small file of its own in the folder, by default `benchmarks/results/capacity`: a second call
trains only what is missing, or what other settings were used for. At the end table and figure are written.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

import plastic_rl
from benchmarks.science.meta import train_learner
from benchmarks.science.sweep import Result, Run, make_parser, read_runs, train_missing
from plastic_rl.analysis.plots.style import CURVES, DASHES, picture
from plastic_rl.analysis.tables import markdown_table, with_interval
from plastic_rl.envs import PatternMemoryTask

FOLDER = Path(__file__).parents[1] / "results" / "capacity"
FIGURE = Path(__file__).parents[2] / "docs" / "figures" / "capacity.png"
RULES = ("hebb", "oja")
BITS = (50, 100, 200)
# Numbers of patterns, as shares of the number of bits; more than so many take too long.
LOADS = (0.05, 0.1, 0.2, 0.4)
MOST = 40
FEW = 5
# Patterns for each neuron that a Hopfield network keeps with few errors, as the number of neurons grows
# (Amit, Gutfreund & Sompolinsky, Physical Review Letters 55, 1985).
HOPFIELD = 0.138
TEST_EPISODES, TEST_SEED = 500, 10_000


def pattern_counts(bits: int) -> list[int]:
    """The numbers of patterns that are tried with so many bits, five among them."""
    return sorted({FEW, *(max(2, round(load * bits)) for load in LOADS if load * bits <= MOST)})


def make_env(bits: int, patterns: int) -> plastic_rl.EpisodicTaskEnv:
    """The task with the paper's timing."""
    return plastic_rl.EpisodicTaskEnv(PatternMemoryTask(n_bits=bits, n_patterns=patterns))


def settings(rule: str, bits: int) -> dict[str, Any]:
    """What a run is trained with, in plain values."""
    return {
        "bits": bits,
        "updates": 1000,
        "batch_size": 8,
        "learning_rate": 0.01,
        "policy_kwargs": {"rule": rule, "w_lr_scale": 0.03},
    }


def train(run: Run) -> Result:
    """One run: the share of the erased bits that are wrong in the test, by the number of patterns there."""
    given = run.settings
    bits, patterns = given["bits"], int(run.name.split(", ")[1])
    model, processor = train_learner("AutoassociatorPolicy", make_env(bits, patterns), given, run.seed)
    errors = {}
    for tested in pattern_counts(bits) if patterns == FEW else [patterns]:
        found = plastic_rl.evaluate_episodes(
            model, make_env(bits, tested), episodes=TEST_EPISODES, seed=TEST_SEED + run.seed
        )
        errors[str(tested)] = round(float(found["bit_error"].mean), 5)
    return {"errors": errors, "processor_seconds": round(processor, 1)}


def run_name(rule: str, patterns: int) -> str:
    """What a network that was trained on so many patterns is called."""
    return f"{rule}, {patterns}"


def errors_of(networks: dict[str, list[Result]], name: str, patterns: int) -> np.ndarray:
    """Per cent of the erased bits that are wrong, of every seed; (0,) where there is no such network."""
    return np.array([100 * record["errors"][str(patterns)] for record in networks.get(name, [])])


def table(runs: dict[str, dict[str, list[Result]]]) -> str:
    """Markdown: % of wrong bits by rule, bits and patterns, trained for each number and on five."""
    columns = ["bits", "patterns", *(f"{rule}, trained {how}" for rule in RULES for how in ("so", "on five"))]
    rows = []
    for group, networks in runs.items():
        for patterns in pattern_counts(int(group)):
            row = [group, str(patterns)]
            for rule in RULES:
                for name in (run_name(rule, patterns), run_name(rule, FEW)):
                    errors = errors_of(networks, name, patterns)
                    row.append(with_interval([errors], form=".2f") if len(errors) else "")
            rows.append(row)
    return markdown_table(columns, rows) + "\n"


def draw(path: Path, runs: dict[str, dict[str, list[Result]]]) -> None:
    """Wrong bits against patterns for each bit, one panel per rule."""
    with picture(path, (10.4, 4.4)) as figure:
        panels = figure.subplots(1, len(RULES), sharey=True)
        lines: dict[str, Any] = {}
        for axes, rule in zip(panels, RULES, strict=True):
            for i, (group, networks) in enumerate(runs.items()):
                counts = pattern_counts(int(group))
                loads = [patterns / int(group) for patterns in counts]
                for few, width in ((False, 1.8), (True, 1.0)):
                    found = [
                        errors_of(networks, run_name(rule, FEW if few else patterns), patterns)
                        for patterns in counts
                    ]
                    errors = [seeds.mean() if len(seeds) else np.nan for seeds in found]
                    style = {"color": CURVES[i], "linestyle": DASHES[1 if few else 0], "linewidth": width}
                    label = f"{group} bits, trained {'on five patterns' if few else 'on as many'}"
                    (lines[label],) = axes.plot(loads, errors, marker="o", markersize=4, **style)
            lines["Hopfield's bound"] = axes.axvline(HOPFIELD, color="#595959", linewidth=0.8)
            axes.set_title(rule, fontsize="medium")
            axes.set_xlabel("patterns / bits")
            axes.set_xscale("log")
            axes.set_xticks(LOADS, [f"{load:g}" for load in LOADS])
            axes.minorticks_off()
            axes.grid(alpha=0.3)
        panels[0].set_ylabel("erased bits that are wrong, %")
        figure.legend(list(lines.values()), list(lines), loc="outside lower center", ncols=3, frameon=False)


def main() -> None:
    """Train what is missing, then write table and figure."""
    parser = make_parser(__doc__, RULES, FOLDER, seeds=[0])
    parser.add_argument("--bits", type=int, nargs="+", default=list(BITS), choices=BITS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train_missing(
        arguments.folder,
        [
            Run(str(bits), run_name(rule, patterns), seed, settings(rule, bits))
            for seed in arguments.seeds
            for bits in arguments.bits
            for rule in arguments.networks
            for patterns in pattern_counts(bits)
        ],
        train,
        lambda _, result: f"{result['errors']} wrong in {result['processor_seconds']} CPU s",
    )
    names = {str(bits): [run_name(rule, n) for rule in RULES for n in pattern_counts(bits)] for bits in BITS}
    runs = read_runs(arguments.folder, names)
    text = table(runs)
    (arguments.folder / "table.md").write_text(text)
    draw(FIGURE if arguments.folder == FOLDER else arguments.folder / FIGURE.name, runs)
    print(text)


if __name__ == "__main__":
    main()
