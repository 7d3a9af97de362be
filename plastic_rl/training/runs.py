"""The folder of a training run: where it lies, what it holds, how its files are written and continued."""

import csv
import json
import os
import pickle
import platform
import zipfile
import zlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import CSVOutputFormat, Logger
from stable_baselines3.common.vec_env import VecEnv

from plastic_rl.training.settings import algorithm_class
from plastic_rl.training.values import load_yaml

MODEL = "model.zip"
CONFIG = "config.yml"
MONITOR = "monitor.csv"
PROGRESS = "progress.csv"
CURVE = "learning_curve.png"
EPISODE = "episode.gif"

_STEPS_COLUMN = "time/total_timesteps"


def next_free_folder(algo: str, env_id: str, root: Path = Path("runs")) -> Path:
    """The default folder of a new run, ``runs/<algo>/<env_id>_<n>``, with the next free number."""
    parent = root / algo
    name = env_id.rpartition(":")[2].replace("/", "-")
    number = 1
    while (parent / f"{name}_{number}").exists():
        number += 1
    return parent / f"{name}_{number}"


def check_new_folder(folder: Path) -> None:
    """Make sure that a new run can be stored here, without creating anything.

    Raises:
        FileExistsError: the folder already holds a run, or a file is in its place.
        PermissionError: it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file, not a folder")
    for name in (CONFIG, MODEL, MONITOR, PROGRESS, CURVE, EPISODE):
        if (folder / name).exists():
            raise FileExistsError(
                f"{folder} already holds a run ({name}): choose another folder or resume it"
            )
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise FileExistsError(f"{folder} cannot be created: {existing} is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be written: no permission in {existing}")


def create_folder(folder: Path, config: Mapping[str, Any]) -> None:
    """Create the folder and claim it for this run by writing its configuration.

    Raises:
        OSError: the folder cannot be written, or another run has claimed it in the meantime.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / CONFIG, "x", encoding="utf-8") as file:
            yaml.safe_dump(dict(config), file, sort_keys=False, allow_unicode=True)
    except OSError as error:
        raise OSError(f"{folder} cannot be written: {error.strerror}") from error


def update_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Replace the configuration of an existing run."""
    _replace_text(folder / CONFIG, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration a run was started with.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: its ``config.yml`` is not the configuration of a run.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no run: there is no {CONFIG}")
    try:
        config = load_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    needed = {"env_id": str, "algo": str, "n_envs": int, "n_timesteps": int, "seed": int, "env_kwargs": dict}
    for key, kind in needed.items():
        if not isinstance(config, dict) or not isinstance(config.get(key), kind):
            raise ValueError(f"{path} is not the configuration of a run: {key} is missing or wrong")
    return config


def versions() -> dict[str, str]:
    """Versions of what a run's results depend on."""
    found = {"python": platform.python_version()}
    for name in ("plastic-rl", "stable-baselines3", "sb3-contrib", "gymnasium", "torch", "numpy", "numba"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    return found


def save_model(model: BaseAlgorithm, path: Path) -> None:
    """Save the model so that `path` always holds a whole model, even if the process is killed meanwhile."""
    partial = path.with_name(f"{path.stem}.partial.zip")
    model.save(partial)
    os.replace(partial, path)


def find_model(path: str | Path) -> Path:
    """The model file meant by a file name, a file name without ``.zip``, or the folder of a run.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(path)
    for candidate in (path / MODEL, path, path.with_name(f"{path.name}.zip")):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"no model at {path}: give a model.zip or the folder of a run")


def load_model(path: Path, algo: str, env: VecEnv, device: str = "auto") -> BaseAlgorithm:
    """Load a saved model onto an environment.

    Raises:
        ValueError: the file is truncated or not a model of this algorithm, or the model was trained on other
            observation or action spaces.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            names = set(archive.namelist())
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{path} is not a model, or only a part of one: {error}") from error
    if damaged is not None:
        raise ValueError(f"{path} is damaged: {damaged} cannot be read")
    # A part of a model can still be an archive: the one of its weights, which lies inside.
    if not {"data", "policy.pth"} <= names:
        raise ValueError(f"{path} is not a model, or only a part of one")
    try:
        return algorithm_class(algo).load(path, env=env, device=device)
    except ValueError as error:
        raise ValueError(f"{path} does not fit: {error}") from error
    except (
        KeyError,
        TypeError,
        AttributeError,
        AssertionError,
        RuntimeError,
        pickle.UnpicklingError,
    ) as error:
        # What Stable-Baselines3 raises for a file that holds something else, or another algorithm's model.
        raise ValueError(f"{path} is not a model of {algo}: {type(error).__name__}: {error}") from error


def read_monitor(folder: Path) -> dict[str, np.ndarray]:
    """Read the monitor logs of a folder (``*monitor.csv``), episodes in the order in which they ended.

    Returns:
        ``r`` returns (E,), ``l`` lengths in steps (E,), ``t`` seconds since the start (E,).

    Raises:
        FileNotFoundError: the folder has no monitor log.
    """
    paths = sorted(folder.glob(f"*{MONITOR}"))
    if not paths:
        raise FileNotFoundError(f"no monitor log (*{MONITOR}) in {folder}")
    rows: list[tuple[float, float, float]] = []
    starts: list[float] = []
    for path in paths:
        with open(path, encoding="utf-8", newline="") as file:
            start = float(json.loads(file.readline()[1:])["t_start"])
            rows += [(float(r["r"]), float(r["l"]), start + float(r["t"])) for r in csv.DictReader(file)]
            starts.append(start)
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    table = table[np.argsort(table[:, 2], kind="stable")]
    return {"r": table[:, 0], "l": table[:, 1].astype(np.int64), "t": table[:, 2] - min(starts)}


def trim_monitor(folder: Path, episodes: int) -> None:
    """Forget the episodes that a killed run logged after its last saved model."""
    path = folder / MONITOR
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        _replace_text(path, "".join(lines[: 2 + episodes]))


def progress_logger(folder: Path, num_timesteps: int = 0) -> Logger:
    """A Stable-Baselines3 logger that writes ``progress.csv``, after the old rows up to `num_timesteps`."""
    path = folder / PROGRESS
    old: list[dict[str, str]] = []
    if num_timesteps and path.is_file():
        with open(path, encoding="utf-8", newline="") as file:
            old = [row for row in csv.DictReader(file) if int(row[_STEPS_COLUMN] or 0) <= num_timesteps]
    output = CSVOutputFormat(str(path))
    if old:
        output.keys = list(old[0])
        writer = csv.DictWriter(output.file, output.keys, lineterminator="\n")
        writer.writeheader()
        writer.writerows(old)
    return Logger(folder=str(folder), output_formats=[output])


def _replace_text(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
