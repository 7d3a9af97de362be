"""Decoded datasets, kept as arrays in the user's cache folder, so that only the first use decodes images."""

import hashlib
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plastic_rl.envs.datasets.members import files_below
from plastic_rl.files import atomic

logger = logging.getLogger(__name__)

# Part of every key: raise it when what is stored, or how images are decoded, changes.
_FORMAT = 2


@dataclass(frozen=True)
class Source:
    """An archive or a folder, with what shows that it has changed."""

    path: Path
    state: str


def source(path: Path) -> Source:
    """The source at a path, described by size and time of the file, or of every file of the folder."""
    path = path.resolve()
    if not path.is_dir():
        status = path.stat()
        return Source(path, f"{status.st_size} {status.st_mtime_ns}")
    digest = hashlib.sha256()
    for name, status in files_below(path):
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return Source(path, digest.hexdigest())


def cache_folder() -> Path:
    """Where downloads and decoded arrays are kept: `PLASTIC_RL_CACHE`, or the user's folder for caches."""
    if chosen := os.environ.get("PLASTIC_RL_CACHE"):
        return Path(os.path.expanduser(chosen))
    if sys.platform == "win32":
        parent = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        parent = Path.home() / "Library" / "Caches"
    else:
        xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
        parent = xdg if xdg.is_absolute() else Path.home() / ".cache"
    return parent / "plastic_rl"


def cached(
    name: str, sources: Sequence[Source], build: Callable[[], Mapping[str, NDArray[Any]]]
) -> dict[str, NDArray[Any]]:
    """The arrays of a dataset: from the cache if its sources have not changed, otherwise built and stored.

    A cache file that is damaged is built again, one that cannot be written is done without; both are logged.

    Args:
        name: the dataset's name, the first part of the file's.
        sources: what the arrays are made from.
        build: makes the arrays.

    Returns:
        The arrays by name; they may be shared and are therefore read-only.
    """
    paths = "\0".join(str(origin.path) for origin in sources)
    # One file for each place, written over when what lies there changes, so that the cache does not grow.
    place = hashlib.sha256(paths.encode(errors="surrogateescape")).hexdigest()[:16]
    file = cache_folder() / "arrays" / f"{name}-{place}.npz"
    key = np.array([f"format {_FORMAT}", *(f"{origin.path} {origin.state}" for origin in sources)])
    arrays = _load(file, key)
    if arrays is None:
        arrays = dict(build())
        _store(file, {"key": key, **arrays})
    for array in arrays.values():
        array.setflags(write=False)
    return arrays


def _load(file: Path, key: NDArray[np.str_]) -> dict[str, NDArray[Any]] | None:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            if not np.array_equal(stored["key"], key):
                return None
            return {name: stored[name] for name in stored.files if name != "key"}
    except FileNotFoundError:
        return None
    # A damaged file can fail in any way at all, each of which means the same.
    except Exception as error:
        logger.warning("building %s again, as it cannot be read: %s", file, error)
        return None


def _store(file: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the file at once, so that no other process ever sees a part of it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic(file) as partial, partial.open("wb") as stream:
            # Older versions would store the argument allow_pickle as an array.
            np.savez(stream, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        logger.warning(
            "cannot keep the decoded images in %s, the next start decodes them again: %s", file, error
        )
