"""``plastic-rl push``: the agent of a run on the Hugging Face Hub."""

import argparse

from plastic_rl.cli.arguments import path, whole_number
from plastic_rl.cli.errors import CommandError

SUMMARY = "put the agent of a run on the Hugging Face Hub"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``plastic-rl push`` takes."""
    parser.description = (
        "Evaluate the agent of a run and put it on the Hugging Face Hub, with a card that says what it is. "
        "Needs a login: hf auth login, or HF_TOKEN."
    )
    parser.add_argument("run", metavar="RUN", type=path, help="the folder of a run")
    parser.add_argument("--repo", metavar="USER/NAME", required=True, help="made if it is not there")
    parser.add_argument(
        "--episodes", type=whole_number, default=100, metavar="N", help="of the score (default: 100)"
    )
    parser.add_argument("--private", action="store_true", help="a new repository only you can see")


def run(arguments: argparse.Namespace) -> int:
    """Push a run."""
    if arguments.episodes < 2:
        raise CommandError("--episodes must be at least 2")
    from plastic_rl.cli.user_input import bad_input
    from plastic_rl.runs import hub

    with bad_input(ValueError, OSError, ImportError):
        address = hub.push(
            arguments.run, arguments.repo, episodes=arguments.episodes, private=arguments.private
        )
    print(f"{address}\nTo use it: plastic-rl evaluate {hub.PREFIX}{arguments.repo}")
    return 0
