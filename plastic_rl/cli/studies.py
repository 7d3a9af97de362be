"""What ``plastic-rl plot`` draws: runs, grouped by what they share, and lifetimes of their agents."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plastic_rl.analysis.lifetime import Lifetimes, joined, record_lifetimes
from plastic_rl.analysis.plots.matrices import plastic_matrices
from plastic_rl.analysis.plots.study import Study
from plastic_rl.arguments import split_env_id
from plastic_rl.cli.errors import CommandError
from plastic_rl.cli.user_input import bad_input, check_import, checked_seed, make_env
from plastic_rl.envs import reference_levels
from plastic_rl.runs import folder as runs
from plastic_rl.runs.progress import Progress
from plastic_rl.runs.record import RunRecord
from plastic_rl.runs.statistics import normalized_as_trained
from plastic_rl.training.description import describe

# What the runs of one label have in common; they differ in the seed.
_COMMON = ("condition", "algo", "env_kwargs", "n_envs", "hyperparams")

Records = Mapping[Path, RunRecord]


def make_study(paths: Sequence[Path], episodes: int, window: int, seed: int, trust: bool = False) -> Study:
    """Read runs and play lifetimes of their agents.

    Args:
        paths: folders of runs, or folders that hold some.
        episodes: lifetimes of each agent.
        window: training episodes that a mean is taken over.
        seed: of the lifetimes.
        trust: whether files with pickled objects are read and modules of runs imported: both run code.

    Raises:
        CommandError: there is no run, or something is wrong with one.
    """
    with bad_input(ValueError, OSError):
        seed = checked_seed(seed)
        records = {folder: runs.read_config(folder) for path in paths for folder in find_runs(path)}
        env_ids = sorted({split_env_id(record.env_id)[1] for record in records.values()})
        if len(env_ids) > 1:
            raise CommandError(f"the runs are on different environments: {', '.join(env_ids)}")
        for folder, record in records.items():
            check_import(record.env_id, None, trust, folder)
            if not len(runs.read_monitor(folder / runs.MONITOR)["r"]):
                raise CommandError(f"{folder}: no episode has finished, there is nothing to draw")
    groups = grouped(records)
    lifetimes, matrices = _play(records, groups, episodes, seed, trust)
    return Study(
        title=env_ids[0],
        groups=groups,
        lifetimes=lifetimes,
        matrices=matrices,
        levels=_levels(records),
        episodes=episodes,
        window=window,
    )


def find_runs(path: Path) -> list[Path]:
    """The folder of a run, or all of those inside a folder, in the order of their names.

    Raises:
        FileNotFoundError: there is none.
    """
    folders = [path] if (path / runs.CONFIG).is_file() else sorted(f.parent for f in path.rglob(runs.CONFIG))
    if not folders:
        raise FileNotFoundError(f"{path} holds no run: there is no {runs.CONFIG} in it")
    return folders


def grouped(records: Records) -> dict[str, list[Path]]:
    """The runs that differ in the seed only, under a label that says how they differ from the others.

    Args:
        records: what ``read_config`` returns, by the run's folder.
    """
    groups: dict[str, list[Path]] = {}
    for folder, record in records.items():
        key = json.dumps(_common(record), sort_keys=True, default=str)
        groups.setdefault(key, []).append(folder)
    values = [_flat(_common(records[folders[0]])) for folders in groups.values()]
    if all("condition" in flat for flat in values):
        # Named by whoever started the runs.
        values = [{"condition": flat["condition"]} for flat in values]
    names = sorted({name for flat in values for name in flat})
    differing = [name for name in names if len({str(flat.get(name)) for flat in values}) > 1]
    labels = []
    for flat in values:
        parts = [f"{name.rpartition('.')[2]} {flat.get(name, 'default')}" for name in differing]
        labels.append(", ".join(part.removeprefix("condition ").removeprefix("algo ") for part in parts))
    if len(groups) == 1:
        labels = [next(iter(records.values())).algo]
    return dict(zip(labels, groups.values(), strict=True))


def _common(record: RunRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in _COMMON}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as one level, with dots in the names; None counts as not set."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value is not None:
            flat[f"{prefix}{name}"] = value
    return flat


def _play(
    records: Records, groups: Mapping[str, list[Path]], episodes: int, seed: int, trust: bool
) -> tuple[dict[str, Lifetimes], dict[str, dict[str, np.ndarray]]]:
    """Lifetimes of all runs of each label, and the trained matrices of its first run that has some."""
    lifetimes: dict[str, Lifetimes] = {}
    matrices: dict[str, dict[str, np.ndarray]] = {}
    todo = [(label, folder) for label, folders in groups.items() for folder in folders]
    progress = Progress(len(todo), "run", stream=sys.stderr, keep=False)
    for number, (label, folder) in enumerate(todo):
        progress.advance(number, lambda: "lifetimes of the trained agents")
        record = records[folder]
        env = make_env(record.env_id, record.env_kwargs, record.n_envs, record.seed)
        with bad_input(ValueError, OSError):
            env = normalized_as_trained(env, record.normalize, folder)
            model = runs.load_model(runs.find_model(folder), record.algo, env, "cpu", trust)
        env.close()
        found = plastic_matrices(model.policy)
        if found:
            matrices.setdefault(label, found)
        if describe(model).whole_episodes:
            # All of the reward is on the last step.
            continue
        lives = record_lifetimes(model, record.env_id, record.env_kwargs, episodes=episodes, seed=seed)
        lifetimes[label] = joined([lifetimes[label], lives]) if label in lifetimes else lives
    progress.close()
    return lifetimes, matrices


def _levels(records: Records) -> dict[str, float]:
    """The levels to draw: those that hold for all of the runs."""
    found = [reference_levels(record.env_id, record.env_kwargs) for record in records.values()]
    return found[0] if all(levels == found[0] for levels in found) else {}
