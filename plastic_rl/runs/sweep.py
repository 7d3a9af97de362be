"""Sweeps: settings x environments x seeds in one YAML file, one run's folder for each training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from plastic_rl.arguments import check_count, is_integer, is_number, split_env_id
from plastic_rl.files import read_text
from plastic_rl.runs import folder as runs
from plastic_rl.runs.hyperparams import RunConfig, default_algorithm, load_config
from plastic_rl.runs.kept import KeptRun, checked_result, keep, read_kept
from plastic_rl.runs.lock import is_locked
from plastic_rl.runs.plain_yaml import load_yaml, merge, parse_pairs
from plastic_rl.runs.record import MAX_SEED, RunRecord

RESULT, FAILURE, LOG = "result.json", "failure.txt", "sweep.log"
"""What a sweep adds to a run's folder: scores and cost, why it failed, what it has printed."""

STATES = ("finished", "running", "failed", "stopped", "missing")

Against = Literal["episodes", "minutes"]

_LARGEST = 2**20  # bytes
_KEYS = (
    "folder",
    "results",
    "envs",
    "seeds",
    "algo",
    "config",
    "timesteps",
    "settings",
    "grid",
    "evaluate",
    "table",
)
_TRAINED_WITH = ("algo", "env_kwargs", "n_envs", "hyperparams", "normalize")
_EVALUATE = {"episodes": 100, "seed": 10_000, "deterministic": False}
_AGAINST: tuple[Against, ...] = ("episodes", "minutes")
_TABLE: dict[str, Any] = {"window": 100, "levels": [], "at": [], "against": list(_AGAINST)}


@dataclass(frozen=True)
class SweepRun:
    """One training of a sweep.

    Attributes:
        condition: the name of its settings.
        config: its settings, checked.
        env_kwargs: arguments of the environment.
        seed: of the training.
        folder: where it is, or will be.
        kept_as: the file that keeps of it what reports need, if one is asked for.
    """

    condition: str
    config: RunConfig
    env_kwargs: dict[str, Any]
    seed: int
    folder: Path
    kept_as: Path | None = None

    def __str__(self) -> str:
        return f"{self.config.env_id}, {self.condition}, seed {self.seed}"

    def record(self) -> RunRecord:
        """What the run is started with."""
        config = self.config
        return RunRecord(
            condition=self.condition,
            env_id=config.env_id,
            env_kwargs=self.env_kwargs,
            algo=config.algo,
            seed=self.seed,
            n_envs=config.n_envs,
            n_timesteps=config.n_timesteps,
            hyperparams=config.hyperparams,
            normalize=config.normalize,
        )

    def state(self) -> str:
        """One of `STATES`, by what its folder holds, or what was kept of it."""
        result = self.result()
        if result is not None and result["steps"] >= self.config.n_timesteps:
            return "finished"
        if is_locked(self.folder):
            return "running"
        if (self.folder / FAILURE).is_file():
            return "failed"
        return "stopped" if (self.folder / runs.CONFIG).is_file() else "missing"

    def result(self) -> dict[str, Any] | None:
        """What the trained agent scores and has cost; None before that is known.

        Raises:
            ValueError: the file is damaged.
        """
        path = self.folder / RESULT
        if not path.is_file():
            kept = self._kept()
            return None if kept is None else kept.result
        try:
            return checked_result(json.loads(read_text(path, _LARGEST)))
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(f"{path} is damaged, remove it: {error}") from error

    def score(self, measure: str = "return") -> float:
        """The trained agent's mean of a measure.

        Raises:
            ValueError: there is no such score, or a file is damaged.
        """
        result = self.result()
        if result is None or measure not in result["measures"]:
            raise ValueError(f"{self} has no score {measure!r}")
        return float(result["measures"][measure]["mean"])

    def monitor(self) -> dict[str, np.ndarray]:
        """The episodes of its training so far, as `read_monitor` gives them.

        Raises:
            ValueError: a file is damaged.
        """
        path = self.folder / runs.MONITOR
        if path.is_file():
            return runs.read_monitor(path)
        kept = self._kept()
        return dict.fromkeys(("r", "l", "t"), np.zeros(0)) if kept is None else kept.monitor

    def keep(self) -> None:
        """Keep what reports need of a finished run, where that is asked for and its folder is here.

        Raises:
            OSError: it cannot be written.
        """
        if self.kept_as is None or not (self.folder / RESULT).is_file():
            return
        result, kept = self.result(), self._kept()
        assert result is not None
        if kept is None or kept.result != result:
            # Where its settings were read from says nothing elsewhere.
            record = replace(runs.read_config(self.folder), hyperparams_file=None)
            keep(self.kept_as, record, result, self.monitor())

    def _kept(self) -> KeptRun | None:
        return read_kept(self.kept_as) if self.kept_as is not None and self.kept_as.is_file() else None

    def check_settings(self) -> None:
        """Make sure that what its folder holds, or was kept of it, was trained with these settings.

        Raises:
            ValueError: it was not.
        """
        found = {}
        if (self.folder / runs.CONFIG).is_file():
            found[self.folder] = runs.read_config(self.folder)
        kept = self._kept()
        if kept is not None and self.kept_as is not None:
            found[self.kept_as] = kept.record
        own = self.record()
        for place, there in found.items():
            for name in _TRAINED_WITH:
                if getattr(there, name) != getattr(own, name):
                    raise ValueError(
                        f"{place} was trained with another {name}, {getattr(there, name)}: choose another "
                        "folder for the sweep, or remove it"
                    )


@dataclass(frozen=True)
class Sweep:
    """What a sweep's file asks for.

    Attributes:
        folder: all runs lie in it.
        runs: seed by seed, so that an unfinished comparison still compares.
        evaluate: arguments of ``plastic-rl evaluate``: ``episodes``, ``seed``, ``deterministic``.
        window: episodes of training that means of learning curves run over.
        levels: mean returns of training; the table says when they were reached.
        at: training episodes; the table says what the mean return was after so many.
        against: what learning curves are drawn against.
    """

    folder: Path
    runs: list[SweepRun]
    evaluate: dict[str, Any]
    window: int
    levels: list[float] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    against: Sequence[Against] = _AGAINST

    def of(self, state: str) -> list[SweepRun]:
        """The runs in this state."""
        return [run for run in self.runs if run.state() == state]

    def by_condition(self) -> dict[str, dict[str, list[SweepRun]]]:
        """All runs by environment and name of their settings."""
        found: dict[str, dict[str, list[SweepRun]]] = {}
        for run in self.runs:
            found.setdefault(run.config.env_id, {}).setdefault(run.condition, []).append(run)
        return found


def read_sweep(path: Path) -> Sweep:
    """Read and check a sweep's file; its form is in docs/sweeps.md.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no sweep, or names something unknown.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no sweep file {path}")
    try:
        content = load_yaml(read_text(path, _LARGEST))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    try:
        return _sweep(path, _mapping("the file", content, _KEYS))
    except FileNotFoundError:
        raise
    except (ValueError, ImportError) as error:
        raise ValueError(f"{path}: {error}") from error


def _sweep(path: Path, content: dict[str, Any]) -> Sweep:
    folder = Path(content.get("folder") or Path("runs/sweeps") / path.stem)
    results = path.parent / content["results"] if content.get("results") else None
    evaluate = _EVALUATE | _mapping("evaluate", content.get("evaluate"), _EVALUATE)
    check_count("evaluate.episodes", evaluate["episodes"])
    table = _TABLE | _mapping("table", content.get("table"), _TABLE)
    config = path.parent / content["config"] if content.get("config") else None
    settings = _settings(content)
    found = []
    for seed, (env_id, env_kwargs) in product(_seeds(content.get("seeds", 1)), _envs(content).items()):
        for condition, changes in settings.items():
            chosen = dict(changes)
            algo = chosen.pop("algo", content.get("algo")) or default_algorithm(env_id, env_kwargs)
            if "timesteps" in content:
                chosen.setdefault("n_timesteps", content["timesteps"])
            try:
                loaded = load_config(env_id, algo, config, chosen)
            except ValueError as error:
                raise ValueError(f"settings {condition!r}: {error}") from error
            place = Path(split_env_id(env_id)[1]) / _as_name(condition) / f"seed_{seed}"
            kept_as = None if results is None else results / place.with_suffix(".json")
            found.append(SweepRun(condition, loaded, env_kwargs, seed, folder / place, kept_as))
    places = [run.folder for run in found]
    for place in places:
        if places.count(place) > 1:
            raise ValueError(f"two runs would lie in {place}: environments and settings need other names")
    levels = table["levels"]
    if not isinstance(levels, list) or not all(is_number(level) for level in levels):
        raise ValueError(f"table.levels must be a list of numbers, got {levels!r}")
    if not isinstance(table["at"], list):
        raise ValueError(f"table.at must be a list of numbers of episodes, got {table['at']!r}")
    window = check_count("table.window", table["window"])
    at = [check_count("table.at", episodes, least=window) for episodes in table["at"]]
    against = table["against"]
    if not isinstance(against, list) or not against or not all(one in _AGAINST for one in against):
        raise ValueError(f"table.against must be a list of {' or '.join(_AGAINST)}, got {against!r}")
    return Sweep(folder, found, evaluate, window, levels, at, against)


def _mapping(name: str, value: Any, known: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a mapping, got {value!r}")
    for key in value:
        if key not in known:
            raise ValueError(f"unknown key {key!r} in {name}: choose from {', '.join(known)}")
    return dict(value)


def _envs(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Arguments of the environments by id."""
    given = content.get("envs")
    if isinstance(given, list) and given and all(isinstance(one, str) for one in given):
        return {env_id: {} for env_id in given}
    if isinstance(given, Mapping) and given and all(isinstance(kw, Mapping | None) for kw in given.values()):
        return {env_id: dict(kwargs or {}) for env_id, kwargs in given.items()}
    raise ValueError(f"envs must be a list of ids, or a mapping from ids to their arguments, got {given!r}")


def _seeds(given: Any) -> list[int]:
    seeds = list(range(given)) if is_integer(given) else given
    if isinstance(seeds, list) and seeds and all(is_integer(one) and 0 <= one < MAX_SEED for one in seeds):
        return seeds
    raise ValueError(f"seeds must be a list of seeds, or how many of them, counted from 0, got {given!r}")


def _settings(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What is changed in the hyper-parameters, by the names of settings: crossed with the grid."""
    named = content.get("settings") or {"": {}}
    if not isinstance(named, Mapping) or not all(isinstance(one, Mapping | None) for one in named.values()):
        raise ValueError(f"settings must map names to hyper-parameters, got {named!r}")
    for name in named:
        if not isinstance(name, str):
            # YAML reads 1e-3 as a number, and would call the settings 0.001.
            raise ValueError(f"settings must have names that are text, got {name!r}: put it in quotes")
    grid = content.get("grid") or {}
    if not isinstance(grid, Mapping) or not all(isinstance(one, list) and one for one in grid.values()):
        raise ValueError(f"grid must map hyper-parameters to lists of their values, got {grid!r}")
    settings = {}
    for name, changes in named.items():
        for values in product(*grid.values()):
            point = dict(zip(grid, values, strict=True))
            words = [name] if name else []
            words += [f"{key.rpartition('.')[2]} {value}" for key, value in point.items()]
            nested = parse_pairs([f"{key}:{json.dumps(value)}" for key, value in point.items()])
            settings[", ".join(words) or "default"] = merge(changes or {}, nested)
    return settings


def _as_name(condition: str) -> str:
    """A folder's name for settings."""
    name = "".join(sign if sign.isalnum() or sign in "._-+=" else "_" for sign in condition).strip(".")
    if not name:
        raise ValueError(f"the name {condition!r} of settings has no letter or digit")
    return name
