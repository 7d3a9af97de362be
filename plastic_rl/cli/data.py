"""What `plastic-rl data` does: get the datasets, and say what is there."""

import argparse
from collections.abc import Callable
from pathlib import Path

from plastic_rl.cli.arguments import path
from plastic_rl.cli.errors import CommandError
from plastic_rl.envs.datasets import Cifar10Data, OmniglotData, cifar10, omniglot
from plastic_rl.envs.datasets import fetch as dataset_fetch

SUMMARY = "download Omniglot and CIFAR-10, or see what is there"

_LOADERS: dict[str, tuple[str, Callable[[Path | None], OmniglotData | Cifar10Data]]] = {
    "omniglot": ("Omniglot", omniglot),
    "cifar10": ("CIFAR-10", cifar10),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``plastic-rl data`` takes."""
    parser.description = "The images that PlasticOmniglot-v0 and PlasticImageCompletion-v0 need."
    commands = parser.add_subparsers(dest="data_command", required=True, metavar="{fetch,check}")
    fetch = commands.add_parser("fetch", help="download the official archives")
    fetch.description = "Download the official archives, compare their checksums and read them once."
    fetch.add_argument(
        "dataset",
        nargs="?",
        default="all",
        choices=(*_LOADERS, "all"),
        help="CIFAR-10 has 170 MB, Omniglot 16 MB (default: all)",
    )
    fetch.add_argument(
        "--output", metavar="FOLDER", type=path, help="default: where the environments look for them"
    )
    check = commands.add_parser("check", help="say what is there")
    check.description = (
        "Say where each dataset is and how much of it; exit code 2 if one is missing or damaged."
    )
    check.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        type=path,
        help="default: the folder named by PLASTIC_RL_DATA, then that of fetch",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run `plastic-rl data fetch` or `plastic-rl data check`."""
    return {"fetch": _fetch, "check": _check}[arguments.data_command](arguments)


def _fetch(arguments: argparse.Namespace) -> int:
    """Download datasets and read them once."""
    for name in _LOADERS if arguments.dataset == "all" else [arguments.dataset]:
        try:
            dataset_fetch.fetch(name, arguments.output)
            title, load = _LOADERS[name]
            print(f"{title}: {load(arguments.output or dataset_fetch.download_folder())}")
        except (ImportError, OSError, ValueError) as error:
            raise CommandError(str(error)) from error
    return 0


def _check(arguments: argparse.Namespace) -> int:
    """Print what is found of each dataset; the exit code is 2 if one is missing or damaged."""
    code = 0
    for title, load in _LOADERS.values():
        try:
            print(f"{title}: {load(arguments.folder)}")
        except (OSError, ValueError) as error:
            print(f"{title}: error: {error}")
            code = 2
    return code
