"""``plastic-rl plot``: figures of one run, or of several beside each other."""

import argparse
from pathlib import Path

from plastic_rl.cli.arguments import add_trust, path, whole_number
from plastic_rl.cli.errors import CommandError

SUMMARY = "draw runs: learning curves, lifetimes, trained matrices"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``plastic-rl plot`` takes."""
    parser.description = (
        "Draw the runs of one environment beside each other; seeds of the same hyper-parameters are one."
    )
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", type=path, help="the folder of a run, or one that holds runs"
    )
    parser.add_argument(
        "--output", metavar="FOLDER", type=path, default=Path("figures"), help="default: figures"
    )
    parser.add_argument(
        "--window",
        type=whole_number,
        default=1000,
        metavar="N",
        help="training episodes that a mean is taken over (default: 1000)",
    )
    parser.add_argument(
        "--episodes",
        type=whole_number,
        default=64,
        metavar="N",
        help="lifetimes of each trained agent, with sampled actions (default: 64)",
    )
    parser.add_argument("--seed", type=whole_number, default=0, help="of these lifetimes (default: 0)")
    add_trust(parser)


def run(arguments: argparse.Namespace) -> int:
    """Draw every figure that the runs have into a folder."""
    if arguments.episodes < 2 or arguments.window < 1:
        raise CommandError("--episodes must be at least 2, --window at least 1")
    from plastic_rl.analysis.plots.figures import FIGURES
    from plastic_rl.cli.studies import make_study
    from plastic_rl.cli.user_input import bad_input

    output: Path = arguments.output
    if output.exists() and not output.is_dir():
        raise CommandError(f"--output {output} is a file, not a folder")
    study = make_study(arguments.runs, arguments.episodes, arguments.window, arguments.seed, arguments.trust)
    with bad_input(OSError):
        output.mkdir(parents=True, exist_ok=True)
        for draw in FIGURES.values():
            for figure in draw(study, output):
                print(f"Stored {figure}")
    return 0
