"""The folder of a training run: where it lies, what it holds, how its files are written and continued."""

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv

from plastic_rl.arguments import split_env_id
from plastic_rl.files import atomic, read_text
from plastic_rl.runs.hyperparams import algorithm_class
from plastic_rl.runs.logs import ProgressLog
from plastic_rl.runs.record import RunRecord
from plastic_rl.runs.statistics import STATISTICS, save_statistics
from plastic_rl.saving import ModelFileError
from plastic_rl.saving import load_model as load_model_file
from plastic_rl.saving import save_model as save_model_file

MODEL = "model.zip"
CONFIG = "config.yml"
MONITOR = "monitor.csv"
PROGRESS = "progress.csv"
CURVE = "learning_curve.png"
EPISODE = "episode.gif"

# Bytes. A log of ten million episodes is smaller.
_LARGEST_CONFIG, _LARGEST_LOG = 2**20, 2**29
_STEPS_COLUMN = "time/total_timesteps"
_MONITOR_COLUMNS = {"r", "l", "t"}


def next_free_folder(algo: str, env_id: str, root: Path = Path("runs")) -> Path:
    """The default folder of a new run, ``runs/<algo>/<env_id>_<n>``, with the next free number."""
    parent = root / algo
    name = split_env_id(env_id)[1].replace("/", "-")
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
    for name in (CONFIG, MODEL, STATISTICS, MONITOR, PROGRESS, CURVE, EPISODE):
        if (folder / name).exists():
            raise FileExistsError(
                f"{folder} already holds a run ({name}): choose another folder or resume it"
            )
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise FileExistsError(f"{folder} cannot be created: {existing} is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be written: no permission in {existing}")


def create_folder(folder: Path, record: RunRecord) -> None:
    """Create the folder and claim it for this run by writing its record.

    Raises:
        OSError: the folder cannot be written, or another run has claimed it in the meantime.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / CONFIG, "x", encoding="utf-8") as file:
            file.write(record.to_yaml())
    except OSError as error:
        raise OSError(f"{folder} cannot be written: {error.strerror}") from error


def update_config(folder: Path, record: RunRecord) -> None:
    """Replace the record of an existing run."""
    _replace_text(folder / CONFIG, record.to_yaml())


def read_config(folder: Path) -> RunRecord:
    """What a run was started with.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: its ``config.yml`` is not the record of a run.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no run: there is no {CONFIG}")
    try:
        return RunRecord.from_yaml(read_text(path, _LARGEST_CONFIG))
    except ValueError as error:
        raise ValueError(f"{path} is not the configuration of a run: {error}") from error


def save_model(
    model: BaseAlgorithm, path: Path, before: Callable[[Path], object] = lambda written: None
) -> None:
    """Save the model so that `path` always holds a whole model, even if the process is killed meanwhile.

    Beside it, the statistics of environments that are normalized.

    Args:
        model: any.
        path: of the file.
        before: is called with the new file when that is written and has not taken the place of the old one.

    Raises:
        OSError: it cannot be written; the old one stays.
    """
    with atomic(path) as partial:
        save_model_file(model, partial)
        before(partial)
        save_statistics(model.env, path.parent)


def find_model(path: str | Path) -> Path:
    """The model file meant by a file name, a file name without ``.zip``, or the folder of a run.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(path)
    # The current folder has no name.
    without_ending = [path.with_name(f"{path.name}.zip")] if path.name else []
    for candidate in (path / MODEL, path, *without_ending):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"no model at {path}: give a model.zip or the folder of a run")


def load_model(
    path: Path, algo: str, env: VecEnv, device: str = "auto", trust: bool = False
) -> BaseAlgorithm:
    """Load a saved model onto an environment. Nothing in the file is run.

    Args:
        path: the file.
        algo: what the model was trained with.
        env: the environment.
        device: of torch.
        trust: whether a file with pickled objects, which can run any code, is read.

    Raises:
        ValueError: the file is damaged or not a model of this algorithm, it has pickled objects and ``trust``
            is false, or the model was trained on other observation or action spaces.
        OSError: the file cannot be read.
    """
    try:
        return load_model_file(algorithm_class(algo), path, env=env, device=device, trust=trust)
    except ModelFileError:
        raise
    except ValueError as error:
        raise ValueError(f"{path} does not fit: {error}") from error


def read_monitor(source: Path) -> dict[str, np.ndarray]:
    """Read a monitor log, or all of a folder (``*monitor.csv``), episodes in the order in which they ended.

    Returns:
        ``r`` returns (E,), ``l`` lengths in steps (E,), ``t`` seconds since the start (E,).

    Raises:
        FileNotFoundError: the folder has no monitor log.
        ValueError: a log is damaged.
    """
    paths = sorted(source.glob(f"*{MONITOR}")) if source.is_dir() else [source]
    if not paths:
        raise FileNotFoundError(f"no monitor log (*{MONITOR}) in {source}")
    logs = [_parse_monitor(path, read_text(path, _LARGEST_LOG)) for path in paths]
    table = np.concatenate([rows for _, rows in logs])
    table = table[np.argsort(table[:, 2], kind="stable")]
    start = min(start for start, _ in logs)
    return {"r": table[:, 0], "l": table[:, 1].astype(np.int64), "t": table[:, 2] - start}


def trimmed_monitor(folder: Path, episodes: int) -> str:
    """The run's monitor log without what a killed run logged after its last saved model; empty without a log.

    Raises:
        OSError: it cannot be read.
        ValueError: what is left of it is damaged.
    """
    path = folder / MONITOR
    if not path.exists():
        return ""
    text = "".join(read_text(path, _LARGEST_LOG).splitlines(keepends=True)[: 2 + episodes])
    text = _whole_lines(text)
    _parse_monitor(path, text)
    return text


def write_monitor(folder: Path, text: str) -> None:
    """Replace the run's monitor log; an empty text is none."""
    if text:
        _replace_text(folder / MONITOR, text)


def read_progress(folder: Path, num_timesteps: int) -> list[dict[str, str]]:
    """The rows of ``progress.csv`` up to `num_timesteps`; none without the file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged.
    """
    path = folder / PROGRESS
    if not path.exists():
        return []
    try:
        reader = csv.DictReader(io.StringIO(_whole_lines(read_text(path, _LARGEST_LOG))), strict=True)
        rows = list(reader)
        # A training that was stopped before its first row leaves an empty file.
        if reader.fieldnames and _STEPS_COLUMN not in reader.fieldnames:
            raise ValueError(f"there is no column {_STEPS_COLUMN}")
        if any(None in row or None in row.values() for row in rows):
            raise ValueError("rows are of different lengths")
        return [row for row in rows if int(row[_STEPS_COLUMN] or 0) <= num_timesteps]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path} is damaged, repair or remove it: {error}") from error


def progress_logger(folder: Path, old: Sequence[Mapping[str, str]] = ()) -> Logger:
    """A Stable-Baselines3 logger that writes ``progress.csv``, after the `old` rows."""
    return Logger(folder=str(folder), output_formats=[ProgressLog(folder / PROGRESS, old)])


def _parse_monitor(path: Path, text: str) -> tuple[float, np.ndarray]:
    """The start in seconds since the epoch, and return, length and end (E, 3) of every episode."""
    header, _, body = text.partition("\n")
    try:
        start = float(json.loads(header.removeprefix("#"))["t_start"])
        reader = csv.DictReader(io.StringIO(body), strict=True)
        rows = [(float(row["r"]), float(row["l"]), start + float(row["t"])) for row in reader]
        if not set(reader.fieldnames or ()) >= _MONITOR_COLUMNS:
            raise ValueError("there are no columns r, l, t")
        # Another episode could not be written after a row without its end.
        if not body.endswith("\n"):
            raise ValueError("its last row is cut off")
        table = np.array(rows, dtype=np.float64).reshape(-1, 3)
        if not np.isfinite(table[:, 1:]).all():
            raise ValueError("lengths and times must be finite")
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        detail = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{path} is not a monitor log, or is damaged, repair or remove it: {detail}"
        ) from error
    return start, table


def _whole_lines(text: str) -> str:
    """Without a last line that was cut off, as by a loss of power."""
    return text[: text.rfind("\n") + 1]


def _replace_text(path: Path, text: str) -> None:
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")
