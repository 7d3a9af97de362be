"""``plastic-rl watch``: one episode of a trained agent as an animation."""

import argparse
from pathlib import Path

from plastic_rl.cli.arguments import add_model, path
from plastic_rl.cli.errors import CommandError

SUMMARY = "record one episode of a trained agent as an animation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``plastic-rl watch`` takes."""
    parser.description = "Play one episode and write it as an animated GIF."
    add_model(parser)
    parser.add_argument(
        "--output", metavar="FILE", type=path, default=Path("episode.gif"), help="default: episode.gif"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write an animation of one episode of a saved model."""
    output: Path = arguments.output
    if output.suffix.lower() != ".gif":
        raise CommandError(f"--output must end in .gif, not {output}")
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise CommandError(f"--output {output} cannot be written: there is no such folder, or it is one")
    from plastic_rl.cli import saved

    return saved.watch(arguments)
