"""What `plastic-rl data` does: get the datasets, and say what is there."""

import argparse
from collections.abc import Callable
from pathlib import Path

from plastic_rl.cli.errors import CommandError
from plastic_rl.envs.datasets import Cifar10Data, OmniglotData, cifar10, omniglot
from plastic_rl.envs.datasets import fetch as dataset_fetch

_LOADERS: dict[str, tuple[str, Callable[[Path | None], OmniglotData | Cifar10Data]]] = {
    "omniglot": ("Omniglot", omniglot),
    "cifar10": ("CIFAR-10", cifar10),
}


def data(arguments: argparse.Namespace) -> int:
    """Run `plastic-rl data fetch` or `plastic-rl data check`."""
    return {"fetch": fetch, "check": check}[arguments.data_command](arguments)


def fetch(arguments: argparse.Namespace) -> int:
    """Download datasets and read them once."""
    for name in _LOADERS if arguments.dataset == "all" else [arguments.dataset]:
        try:
            dataset_fetch.fetch(name, arguments.output)
            title, load = _LOADERS[name]
            print(f"{title}: {load(arguments.output or dataset_fetch.download_folder())}")
        except (ImportError, OSError, ValueError) as error:
            raise CommandError(str(error)) from error
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Print what is found of each dataset; the exit code is 2 if one is missing or damaged."""
    code = 0
    for title, load in _LOADERS.values():
        try:
            print(f"{title}: {load(arguments.folder)}")
        except (OSError, ValueError) as error:
            print(f"{title}: error: {error}")
            code = 2
    return code
