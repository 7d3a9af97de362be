"""Comparisons of what `plastic-rl sweep` cannot train: train what is missing, read what is there.

A run is one JSON file, `<folder>/<group>/<name>_<seed>.json`, of its seed, its settings and what it found.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Result = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        group: what is compared on: an environment, an experiment.
        name: what is compared: an algorithm, a network.
        seed: of the training.
        settings: a run with other settings has to be trained again.
    """

    group: str
    name: str
    seed: int
    settings: dict[str, Any]

    def path(self, folder: Path) -> Path:
        """Where the run is stored."""
        return folder / self.group / f"{_stem(self.name)}_{self.seed}.json"

    def is_stored(self, folder: Path) -> bool:
        """Whether the folder holds it, with just these settings."""
        path = self.path(folder)
        return path.is_file() and json.loads(path.read_text())["settings"] == self.settings


def make_parser(
    description: str | None, networks: Iterable[str], folder: Path, seeds: Iterable[int] = (0, 1, 2)
) -> argparse.ArgumentParser:
    """A program's arguments: which of the networks, which seeds, and the folder of the runs."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    names = list(networks)
    parser.add_argument("--networks", nargs="+", default=names, choices=names, metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(seeds))
    parser.add_argument("--folder", type=Path, default=folder)
    return parser


def largest_size(count: Callable[[int], int], limit: int) -> int:
    """The largest size whose `count`, which grows with it, is no more than the limit; at least 1."""
    low, high = 1, limit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) <= limit else (low, middle)
    return low


def _stem(name: str) -> str:
    return name.replace(" ", "_")


def train_missing(
    folder: Path, runs: Iterable[Run], train: Callable[[Run], Result], describe: Callable[[Run, Result], str]
) -> None:
    """Train and store one after the other what the folder does not hold; print a line about each."""
    for run in runs:
        if run.is_stored(folder):
            continue
        result = train(run)
        path = run.path(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"seed": run.seed, "settings": run.settings, **result}))
        print(f"{run.group}, {run.name}, seed {run.seed}: {describe(run, result)}", flush=True)


def read_runs(folder: Path, names: Mapping[str, Iterable[str]]) -> dict[str, dict[str, list[Result]]]:
    """The stored runs of all seeds by group and name, in the order given; what has none is left out."""
    found: dict[str, dict[str, list[Result]]] = {}
    for group, members in names.items():
        for name in members:
            paths = sorted((folder / group).glob(f"{_stem(name)}_*.json"))
            if paths:
                found.setdefault(group, {})[name] = [json.loads(path.read_text()) for path in paths]
    return found
