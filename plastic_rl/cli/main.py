"""The command line: ``plastic-rl train | evaluate | ...``, also ``python -m plastic_rl``."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn, Protocol

import plastic_rl
from plastic_rl.cli import catalogue, data, evaluate, plot, train, watch
from plastic_rl.cli.errors import CommandError


class Command(Protocol):
    """What the module of a command has. Importing it must not import torch: the help would wait for it."""

    SUMMARY: str
    """One line for the list of commands."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Say what the command takes."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it.

        Returns:
            The exit code.

        Raises:
            CommandError: a mistake in what was asked for.
        """


COMMANDS: dict[str, Command] = {
    "train": train,
    "evaluate": evaluate,
    "watch": watch,
    "plot": plot,
    "data": data,
    "list": catalogue,
}
"""The commands by name. Another one is a file beside this one and a row here."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; those of the process if not given.

    Returns:
        The exit code: 0, 2 for bad input (one line on stderr), 130 after Ctrl-C, 141 where whoever reads the
        output, like ``head``, has stopped reading.
    """
    # Torch's threads otherwise spin while they wait, which brings training to a crawl as soon as another
    # program wants one of the cores. It is read when torch is imported, which the commands do when they run.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        arguments = _parser().parse_args(argv)
        code = COMMANDS[arguments.command].run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        if not _drop_output():
            raise  # another pipe than that of the output
        return 141
    except CommandError as error:
        print(f"plastic-rl: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("plastic-rl: interrupted", file=sys.stderr)
        return 130


def _drop_output() -> bool:
    """Whether nobody reads the output any more; Python then finds nothing left to write when it ends."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="plastic-rl", description="Train, evaluate and watch agents with plastic connections."
    )
    parser.add_argument("--version", action="version", version=f"plastic-rl {plastic_rl.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar=f"{{{','.join(COMMANDS)}}}")
    for name, command in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.SUMMARY))
    return parser
