"""CIFAR-10's images, from the official archives or what was unpacked from them."""

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from plastic_rl.envs.datasets.cifar10_pickle import read_python_batch
from plastic_rl.envs.datasets.members import BadDataError, read_members

BATCH = 10_000
"""Images in each of the official files, of which five hold training images and one test images."""

_PIXELS = 3 * 32 * 32
# A pickled batch also holds file names, and grows by half where Python 3 has written it for Python 2.
_PICKLED_BYTES = 50_000_000
_TOTAL_BYTES = 6 * _PICKLED_BYTES
_BATCH_NAME = re.compile(r"(data_batch_[1-5]|test_batch)(\.bin)?")


def read_cifar10(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read the images of CIFAR-10, in its binary or its python version.

    Args:
        path: the `.tar.gz` archive or the folder unpacked from it. It may hold fewer than five training
            batches, and a batch fewer than 10,000 images.

    Returns:
        Training images and test images, (n, 3, 32, 32) uint8 each: red, green and blue, row by row.

    Raises:
        BadDataError: if anything in it is damaged or has another form, or one of the two parts is missing.
    """
    batches: dict[str, NDArray[np.uint8]] = {}
    for name, data in read_members(path, _allowed_size, _TOTAL_BYTES):
        batch = name.name.removesuffix(".bin")
        if batch in batches:
            raise BadDataError(f"{path}: {batch} is there twice")
        read: Callable[[str, bytes], tuple[NDArray[np.uint8], NDArray[np.int64]]]
        read = _read_binary_batch if name.suffix == ".bin" else read_python_batch
        images, labels = read(f"{path}: {name}", data)
        wrong = np.flatnonzero((labels < 0) | (labels > 9))
        if len(wrong):
            at, label = wrong[0], labels[wrong[0]]
            raise BadDataError(f"{path}: {name}: image {at} has the label {label}; labels are 0 to 9")
        batches[batch] = images
    test = batches.pop("test_batch", None)
    if test is None or not batches:
        missing = "test_batch" if test is None else "data_batch_1 to data_batch_5"
        raise BadDataError(f"{path} lacks {missing}, or any name that CIFAR-10 has for it")
    return np.concatenate([batches[name] for name in sorted(batches)]), test


def _allowed_size(name: PurePosixPath) -> int:
    if not _BATCH_NAME.fullmatch(name.name):
        return 0
    return BATCH * (1 + _PIXELS) if name.suffix == ".bin" else _PICKLED_BYTES


def _read_binary_batch(name: str, data: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, 3, 32, 32) and labels (n,), from records of one byte label and 3,072 bytes image."""
    if not data or len(data) % (1 + _PIXELS):
        expected = f"1 or more records of {1 + _PIXELS:,} bytes"
        raise BadDataError(f"{name} has {len(data):,} bytes, which are not {expected}: truncated or damaged")
    records = np.frombuffer(data, np.uint8).reshape(-1, 1 + _PIXELS)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)
