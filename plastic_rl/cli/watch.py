"""``plastic-rl watch``: one episode of a trained agent as an animation."""

import argparse
from pathlib import Path

from plastic_rl.cli.arguments import add_acting, add_model, check_output, path

SUMMARY = "record one episode of a trained agent as an animation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``plastic-rl watch`` takes."""
    parser.description = "Play one episode and write it as an animated GIF, or as a film."
    add_model(parser)
    add_acting(parser)
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=path,
        default=Path("episode.gif"),
        help="ends in .gif or .mp4 (default: episode.gif)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write an animation of one episode of a saved model."""
    check_output(arguments.output, (".gif", ".mp4"))
    from plastic_rl.cli import saved

    return saved.watch(arguments)
