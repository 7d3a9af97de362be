"""``plastic-rl completion``: what a shell needs to complete commands, options, environments and files."""

import argparse
from typing import Any

SUMMARY = "print what your shell needs to complete commands"
SHELLS = ("bash", "zsh", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``plastic-rl completion`` takes."""
    parser.description = (
        "Print a completion script for your shell. In bash: plastic-rl completion bash > "
        "~/.local/share/bash-completion/completions/plastic-rl. In zsh write it to a file _plastic-rl in a "
        "folder of $fpath."
    )
    parser.add_argument("shell", choices=SHELLS)


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    import shtab

    from plastic_rl.cli.main import make_parser
    from plastic_rl.envs import ENVIRONMENTS
    from plastic_rl.runs.hyperparams import ALGORITHMS

    words = {"env_id": " ".join(ENVIRONMENTS), "algo": " ".join(ALGORITHMS)}
    parser = make_parser()
    for action in _actions(parser):
        if action.dest in words:
            # An id of any other environment is as good.
            action.complete = dict.fromkeys(("bash", "zsh"), f"_plastic_rl_{action.dest}")
        elif action.metavar in ("FILE", "FOLDER", "MODEL", "RUN"):
            action.complete = shtab.FILE
    preamble = {
        "bash": "\n".join(
            f"_plastic_rl_{name}() {{ compgen -W '{found}' -- $1; }}" for name, found in words.items()
        ),
        "zsh": "\n".join(f"_plastic_rl_{name}() {{ compadd -- {found} }}" for name, found in words.items()),
    }
    print(shtab.complete(parser, arguments.shell, preamble=preamble.get(arguments.shell, "")))
    return 0


def _actions(parser: argparse.ArgumentParser) -> list[Any]:
    """All arguments of a parser, those of its commands among them."""
    inner = [
        command
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for command in action.choices.values()
    ]
    return [*parser._actions, *(action for command in inner for action in _actions(command))]
