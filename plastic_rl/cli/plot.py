"""What ``plastic-rl plot`` does: figures of one run, or of several beside each other."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm  # type: ignore[import-untyped]

from plastic_rl.analysis import plots
from plastic_rl.analysis.lifetime import Lifetimes, joined, record_lifetimes
from plastic_rl.arguments import split_env_id
from plastic_rl.cli.errors import CommandError
from plastic_rl.cli.user_input import bad_input, checked_seed, make_env
from plastic_rl.envs import reference_levels
from plastic_rl.runs import folder as runs
from plastic_rl.runs.record import RunRecord

_LEVELS = ("random", "paper non-plastic", "paper plastic", "bayes-optimal")
# What the runs of one label have in common; they differ in the seed.
_COMMON = ("condition", "algo", "env_kwargs", "n_envs", "hyperparams")

Records = Mapping[Path, RunRecord]


def plot(arguments: argparse.Namespace) -> int:
    """Draw learning curves, lifetimes and trained matrices of runs into a folder."""
    if arguments.episodes < 2 or arguments.window < 1:
        raise CommandError("--episodes must be at least 2, --window at least 1")
    with bad_input(ValueError, OSError):
        seed = checked_seed(arguments.seed)
        records = {folder: runs.read_config(folder) for path in arguments.runs for folder in find_runs(path)}
        env_ids = sorted({split_env_id(record.env_id)[1] for record in records.values()})
        if len(env_ids) > 1:
            raise CommandError(f"the runs are on different environments: {', '.join(env_ids)}")
        for folder in records:
            if not len(runs.read_monitor(folder / runs.MONITOR)["r"]):
                raise CommandError(f"{folder}: no episode has finished, there is nothing to draw")
        if arguments.output.exists() and not arguments.output.is_dir():
            raise CommandError(f"--output {arguments.output} is a file, not a folder")
    groups = grouped(records)
    lifetimes, matrices = _play(records, groups, arguments.episodes, seed)

    output: Path = arguments.output
    drawn: list[Path] = []

    def file(name: str) -> Path:
        drawn.append(output / name)
        return drawn[-1]

    with bad_input(OSError):
        output.mkdir(parents=True, exist_ok=True)
        levels, title, window = _levels(records), env_ids[0], arguments.window
        plots.learning_curves(groups, file("learning_episodes.png"), levels, title, window)
        plots.learning_curves(groups, file("learning_minutes.png"), levels, title, window, against="minutes")
        steps = min((len(lives.rewards) for lives in lifetimes.values()), default=0)
        if steps > 1:
            note = f"{title}, {arguments.episodes} lifetimes per run, sampled actions, 95 % intervals"
            plots.lifetime_curves(lifetimes, file("lifetime.png"), max(1, steps // 12), note)
        for label, named in matrices.items():
            name = "matrices.png" if len(groups) == 1 else f"matrices_{list(groups).index(label) + 1}.png"
            plots.weight_matrices(named, file(name), title=f"{title}: {label}")
    for path in drawn:
        print(f"Stored {path}")
    return 0


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
    settings = [_flat(_common(records[folders[0]])) for folders in groups.values()]
    if all("condition" in flat for flat in settings):
        # Named by whoever started the runs.
        settings = [{"condition": flat["condition"]} for flat in settings]
    names = sorted({name for flat in settings for name in flat})
    differing = [name for name in names if len({str(flat.get(name)) for flat in settings}) > 1]
    labels = []
    for flat in settings:
        parts = [f"{name.rpartition('.')[2]} {flat.get(name, 'default')}" for name in differing]
        labels.append(", ".join(part.removeprefix("condition ").removeprefix("algo ") for part in parts))
    if len(groups) == 1:
        labels = [next(iter(records.values())).algo]
    return dict(zip(labels, groups.values(), strict=True))


def _common(record: RunRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in _COMMON}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level, with dots in the names; None counts as not set."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value is not None:
            flat[f"{prefix}{name}"] = value
    return flat


def _play(
    records: Records, groups: Mapping[str, list[Path]], episodes: int, seed: int
) -> tuple[dict[str, Lifetimes], dict[str, dict[str, np.ndarray]]]:
    """Lifetimes of all runs of each label, and the trained matrices of its first run that has some."""
    lifetimes: dict[str, Lifetimes] = {}
    matrices: dict[str, dict[str, np.ndarray]] = {}
    todo = [(label, folder) for label, folders in groups.items() for folder in folders]
    for label, folder in tqdm(todo, desc="lifetimes", unit="run", leave=False):
        record = records[folder]
        env = make_env(record.env_id, record.env_kwargs, record.n_envs, record.seed)
        with bad_input(ValueError, OSError):
            model = runs.load_model(runs.find_model(folder), record.algo, env, "cpu")
        env.close()
        found = plots.plastic_matrices(model.policy)
        if found:
            matrices.setdefault(label, found)
        if record.algo == "supervised":
            # All of the reward is on the last step.
            continue
        lives = record_lifetimes(model, record.env_id, record.env_kwargs, episodes=episodes, seed=seed)
        lifetimes[label] = joined([lifetimes[label], lives]) if label in lifetimes else lives
    return lifetimes, matrices


def _levels(records: Records) -> dict[str, float]:
    """The levels to draw: those of an environment's default form, where all runs were on it."""
    found = [reference_levels(record.env_id, record.env_kwargs) for record in records.values()]
    levels = found[0] if all(found) else {}
    return {name: levels[name] for name in _LEVELS if name in levels} or levels
