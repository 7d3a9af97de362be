"""Arguments that several commands have, and what may be typed for them. The help needs no torch."""

import argparse
import math
from pathlib import Path

from plastic_rl.cli.errors import CommandError


def path(text: str) -> Path:
    """A path that was typed; Python would take an empty one for the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be a path")
    return Path(text)


def whole_number(text: str) -> int:
    """A whole number, also as ``1e6``."""
    try:
        number = float(text)
        if not number.is_integer():
            raise ValueError
        return int(text) if text.lstrip("+-").isdecimal() else int(number)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def seconds(text: str) -> float:
    """A number of seconds, at least 0."""
    try:
        number = float(text)
        if not 0 <= number < math.inf:
            raise ValueError
        return number
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, at least 0") from None


def add_env_kwargs(command: argparse.ArgumentParser) -> None:
    """Arguments of the environment."""
    command.add_argument(
        "--env-kwargs",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY:VALUE",
        help="arguments of the environment, for example size:7",
    )


def add_trust(command: argparse.ArgumentParser) -> None:
    """Whether what can run code may be read."""
    command.add_argument(
        "--trust",
        action="store_true",
        help="read a model file with pickled objects, and import the module that a run's environment comes "
        "from: both can run any code",
    )


def add_model(command: argparse.ArgumentParser, files: str = "model.zip, the folder of a run, ") -> None:
    """A trained model and where it plays."""
    command.add_argument(
        "model",
        metavar="MODEL",
        type=path,
        help=f"{files}the id of an environment that a trained agent comes with, or hub:user/name",
    )
    command.add_argument("env_id", metavar="ENV_ID", nargs="?", help="default: the environment of the run")
    add_trust(command)
    command.add_argument("--algo", help="what the model was trained with (default: as in its folder)")
    add_env_kwargs(command)
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    command.add_argument("--seed", type=whole_number, default=0, help="default: 0")


def add_acting(command: argparse.ArgumentParser) -> None:
    """How a model acts."""
    actions = command.add_mutually_exclusive_group()
    actions.add_argument(
        "--stochastic",
        dest="deterministic",
        action="store_false",
        help="sample actions as in training (the default)",
    )
    actions.add_argument("--deterministic", action="store_true", help="take the most probable action")
    # --stochastic would make its own default, true, that of both.
    command.set_defaults(deterministic=False)


def check_output(output: Path, endings: tuple[str, ...]) -> None:
    """Make sure that a file can be written here, before any work.

    Raises:
        CommandError: it has another ending, or there is no such folder.
    """
    if output.suffix.lower() not in endings:
        raise CommandError(f"--output must end in {' or '.join(endings)}, not {output}")
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise CommandError(f"--output {output} cannot be written: there is no such folder, or it is one")
