"""``plastic-rl export``: one step of a trained agent as a file for other programs."""

import argparse
from pathlib import Path

from plastic_rl.cli.arguments import add_model, check_output, path

SUMMARY = "write one step of a trained agent as ONNX or as a program of torch.export"
ENDINGS = (".onnx", ".pt2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``plastic-rl export`` takes."""
    parser.description = (
        "Write one step of a trained agent, observation and state in, action and new state out, to a file "
        "that runs without this package. An ONNX file is then played against the model for 200 steps."
    )
    add_model(parser)
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=path,
        default=Path("agent.onnx"),
        help=f"ends in {' or '.join(ENDINGS)} (default: agent.onnx)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the step of a saved model."""
    check_output(arguments.output, ENDINGS)
    from plastic_rl.cli import exported

    return exported.export(arguments)
