"""``plastic-rl evaluate``: the mean return of a trained agent."""

import argparse

from plastic_rl.cli.arguments import add_acting, add_model, whole_number
from plastic_rl.cli.errors import CommandError

SUMMARY = "mean return of a trained agent over whole episodes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``plastic-rl evaluate`` takes."""
    parser.description = (
        "Play whole episodes and print the mean return with its uncertainty; of a folder of runs that of "
        "each, and the mean over those that differ in the seed only."
    )
    add_model(parser, "model.zip, the folder of a run or of several, ")
    add_acting(parser)
    parser.add_argument("--episodes", type=whole_number, default=100, metavar="N", help="default: 100")
    parser.add_argument(
        "--n-envs", type=whole_number, default=16, metavar="N", help="environments at a time (default: 16)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, for other programs")


def run(arguments: argparse.Namespace) -> int:
    """Print the mean return of a saved model or of several, or every measure of their answers."""
    if arguments.episodes < 1 or arguments.n_envs < 1:
        raise CommandError("--episodes and --n-envs must be at least 1")
    from plastic_rl.cli import scores

    return scores.evaluate(arguments)
