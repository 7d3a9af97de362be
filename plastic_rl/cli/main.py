"""The command line: ``plastic-rl train | evaluate | ...``, also ``python -m plastic_rl``."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn, Protocol

import plastic_rl
from plastic_rl.cli import catalogue, completion, data, evaluate, export, plot, push, sweep, train, watch
from plastic_rl.cli.errors import CommandError
from plastic_rl.cli.stops import Stopped
from plastic_rl.runs.output import drop_output


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
    "sweep": sweep,
    "export": export,
    "push": push,
    "data": data,
    "list": catalogue,
    "completion": completion,
}
"""The commands by name. Another one is a file beside this one and a row here."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; those of the process if not given.

    Returns:
        The exit code: 0; 1 for a training whose model could not be saved; 2 for bad input (one line on
        stderr); 130, 143 or 129 for one that SIGINT (Ctrl-C), SIGTERM or SIGHUP has ended; 141 where whoever
        reads the output, like ``head``, has stopped reading, which ends no training.
    """
    # Torch's threads otherwise spin while they wait, which brings training to a crawl as soon as another
    # program wants one of the cores. It is read when torch is imported, which the commands do when they run.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        arguments = make_parser().parse_args(argv)
        code = COMMANDS[arguments.command].run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        if not _drop_output():
            raise  # another pipe than that of the output
        return 141
    except CommandError as error:
        _complain(f"error: {' '.join(str(error).split())}")
        return 2
    except Stopped as stop:
        _complain(str(stop))
        return stop.exit_code
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130


def _complain(text: str) -> None:
    if "RANK" in os.environ:
        # One of several processes: what is wrong for all of them is said once.
        from plastic_rl.training.distributed import first_to_say

        if not first_to_say(text):
            return
    with suppress(OSError):  # the terminal may be closed
        print(f"plastic-rl: {text}", file=sys.stderr)


def _drop_output() -> bool:
    """Whether nobody reads the output any more; if so, it is dropped."""
    try:
        print(flush=True)
    except BrokenPipeError:
        drop_output()
        return True
    return False


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)")


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(
        prog="plastic-rl", description="Train, evaluate and watch agents with plastic connections."
    )
    parser.add_argument("--version", action="version", version=f"plastic-rl {plastic_rl.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar=f"{{{','.join(COMMANDS)}}}")
    for name, command in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.SUMMARY))
    return parser
