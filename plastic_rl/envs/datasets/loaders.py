"""Omniglot and CIFAR-10 as arrays, from the official archives where users have put them."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plastic_rl.envs.datasets.cache import Source, cache_folder, cached, source
from plastic_rl.envs.datasets.cifar10_archive import BATCH, read_cifar10
from plastic_rl.envs.datasets.members import BadDataError
from plastic_rl.envs.datasets.omniglot_archive import CHARACTERS, read_omniglot

logger = logging.getLogger(__name__)

_CIFAR10_NAMES = (
    "cifar-10-binary.tar.gz",
    "cifar-10-python.tar.gz",
    "cifar-10-batches-bin",
    "cifar-10-batches-py",
)


@dataclass(frozen=True, eq=False)
class OmniglotData:
    """The characters of Omniglot as drawn, not rotated. The arrays are shared and read-only.

    Args:
        images: (n_classes, 20, 31, 31) uint8, ink 255 and paper 0. Complete: 1,623 characters.
        alphabets: (n_classes,), the name of each character's alphabet. Complete: 50 of them.
        background: (n_classes,) bool: whether the character belongs to the official background set (964
            characters of 30 alphabets) or to the evaluation set (659 of 20).
        sources: the archives or folders that were read.
    """

    images: NDArray[np.uint8]
    alphabets: NDArray[np.str_]
    background: NDArray[np.bool_]
    sources: tuple[Path, ...]

    def __str__(self) -> str:
        n, complete = len(self.images), sum(CHARACTERS.values())
        count = f"{n:,}" if n == complete else f"{n:,} of {complete:,}"
        names = f"{count} characters of {len(np.unique(self.alphabets))} alphabets"
        return f"{names}, 20 drawings each, from {' and '.join(map(str, self.sources))}"


@dataclass(frozen=True, eq=False)
class Cifar10Data:
    """The images of CIFAR-10. The arrays are shared and read-only.

    Args:
        train: (n, 3, 32, 32) uint8, red, green and blue. Complete: 50,000 images.
        test: the same. Complete: 10,000 images.
        sources: the archive or folder that was read.
    """

    train: NDArray[np.uint8]
    test: NDArray[np.uint8]
    sources: tuple[Path, ...]

    def __str__(self) -> str:
        parts = (("training", len(self.train), 5 * BATCH), ("test", len(self.test), BATCH))
        counts = [f"{n:,}{f' of {full:,}' if n < full else ''} {part} images" for part, n, full in parts]
        return f"{' and '.join(counts)}, from {self.sources[0]}"


def omniglot(data: str | os.PathLike[str] | None = None) -> OmniglotData:
    """Load Omniglot (Lake, Salakhutdinov & Tenenbaum, Science 2015), decoded once and then from the cache.

    Looks for `images_background.zip` and `images_evaluation.zip`, or for folders unpacked from them, in the
    folder itself and in `omniglot` inside it. One of the two is enough; a warning is logged then. Nothing is
    ever downloaded here.

    Args:
        data: the folder, or one of the two itself; by default the folder that `PLASTIC_RL_DATA` names, then
            that of `plastic-rl data fetch`.

    Returns:
        The drawings and what they show.

    Raises:
        FileNotFoundError: if neither is found; says where it looked, and the command that gets them.
        ValueError: if what was found is damaged or not what its name says.
    """
    for folder in _data_folders(data):
        halves = [_first(folder, "omniglot", (f"{half}.zip", half)) for half in CHARACTERS]
        if found := [half for half in halves if half is not None]:
            return _load_omniglot(tuple(source(half) for half in found))
    names = [f"{half}.zip" for half in CHARACTERS]
    raise _not_found("Omniglot", " or ".join(names), "omniglot", data)


def cifar10(data: str | os.PathLike[str] | None = None) -> Cifar10Data:
    """Load CIFAR-10 (Krizhevsky, 2009), decoded once and then from the cache.

    Looks for `cifar-10-binary.tar.gz`, `cifar-10-python.tar.gz` and the folders unpacked from them,
    `cifar-10-batches-bin` and `cifar-10-batches-py`, in the folder itself and in `cifar10` inside it, and
    takes the first one. Some of the training batches may be missing; a warning is logged then. Nothing is
    ever downloaded here.

    Args:
        data: the folder, or the archive itself; by default the folder that `PLASTIC_RL_DATA` names, then that
            of `plastic-rl data fetch`.

    Returns:
        The images.

    Raises:
        FileNotFoundError: if none is found; says where it looked, and the command that gets one.
        ValueError: if what was found is damaged or not what its name says.
    """
    for folder in _data_folders(data):
        if found := _first(folder, "cifar10", _CIFAR10_NAMES):
            return _load_cifar10(source(found))
    raise _not_found("CIFAR-10", " or ".join(_CIFAR10_NAMES), "cifar10", data)


# Environments that run side by side in one process share the arrays.
@lru_cache(maxsize=1)
def _load_omniglot(sources: tuple[Source, ...]) -> OmniglotData:
    def build() -> dict[str, NDArray]:
        logger.warning("decoding Omniglot: some seconds, once")
        halves = [read_omniglot(half.path) for half in sources]
        images, alphabets = (np.concatenate(parts) for parts in zip(*halves, strict=True))
        sizes = [len(half[0]) for half in halves]
        background = np.repeat([half.path.name.startswith("images_background") for half in sources], sizes)
        return {"images": images, "alphabets": alphabets, "background": background}

    with _naming_the_command("omniglot"):
        data = OmniglotData(
            **cached("omniglot", sources, build), sources=tuple(half.path for half in sources)
        )
    if len(data.images) < sum(CHARACTERS.values()):
        logger.warning("Omniglot is incomplete: %s", data)
    return data


@lru_cache(maxsize=1)
def _load_cifar10(found: Source) -> Cifar10Data:
    def build() -> dict[str, NDArray]:
        logger.warning("decoding CIFAR-10: some seconds, once")
        return dict(zip(("train", "test"), read_cifar10(found.path), strict=True))

    with _naming_the_command("cifar10"):
        data = Cifar10Data(**cached("cifar10", [found], build), sources=(found.path,))
    if len(data.train) < 5 * BATCH or len(data.test) < BATCH:
        logger.warning("CIFAR-10 is incomplete: %s", data)
    return data


def download_folder() -> Path:
    """Where `plastic-rl data fetch` puts the archives, and where they are looked for last."""
    return cache_folder() / "data"


def _data_folders(data: str | os.PathLike[str] | None) -> list[Path]:
    """The folders to look in, in this order."""
    if data is not None:
        return [Path(os.path.expanduser(data))]
    chosen = os.environ.get("PLASTIC_RL_DATA")
    return [*([Path(os.path.expanduser(chosen))] if chosen else []), download_folder()]


def _first(folder: Path, inner: str, names: tuple[str, ...]) -> Path | None:
    """The first of the names that exists in a folder, or else in a folder inside it; or the path itself."""
    if folder.name in names and folder.exists():
        return folder
    places = (parent / name for parent in (folder, folder / inner) for name in names)
    return next((place for place in places if place.exists()), None)


def _not_found(
    dataset: str, names: str, command: str, data: str | os.PathLike[str] | None
) -> FileNotFoundError:
    places = [str(place) for folder in _data_folders(data) for place in (folder, folder / command)]
    unset = data is None and not os.environ.get("PLASTIC_RL_DATA")
    where = " (PLASTIC_RL_DATA can name another folder)" if unset else ""
    return FileNotFoundError(
        f"{dataset} is not there: no {names} in {', '.join(places)}{where}. "
        f"`plastic-rl data fetch {command}` downloads it."
    )


@contextmanager
def _naming_the_command(command: str) -> Iterator[None]:
    try:
        yield
    except BadDataError as error:
        raise BadDataError(
            f"{error}. Delete it and get it with `plastic-rl data fetch {command}`."
        ) from error
