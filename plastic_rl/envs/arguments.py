"""Checks of arguments, shared by the episodic tasks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plastic_rl.envs.maze_rules import is_integer


def check_count(name: str, value: Any, least: int = 1) -> int:
    """Return `value` as an int, or raise a ValueError unless it is an integer of at least `least`."""
    if not is_integer(value) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> None:
    """Raise a ValueError unless `value` is one of the `allowed` strings."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {list(allowed)}, got {value!r}")


def check_flag(name: str, value: Any) -> bool:
    """Return `value`, or raise a ValueError unless it is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return value


def check_images(data: Any, attribute: str, shape: Sequence[int | str]) -> NDArray[np.uint8]:
    """Return the images that were given as the argument `data`.

    Args:
        data: the images, or an object that has them under the name `attribute`.
        attribute: see `data`.
        shape: what the images' shape must be: lengths, or names of dimensions that may have any length.

    Raises:
        ValueError: there are no images, or they are not a uint8 array of this shape.
    """
    images: Any = data if isinstance(data, np.ndarray) else getattr(data, attribute, None)
    is_array = isinstance(images, np.ndarray)
    if not is_array or images.dtype != np.uint8 or not _fits(images.shape, shape):
        wanted = f"uint8 array of shape ({', '.join(map(str, shape))})"
        found = f"{images.dtype} {images.shape}" if is_array else repr(data)
        raise ValueError(
            f"data must be a path, a {wanted} or an object with one as its {attribute!r}, got {found}"
        )
    return np.asarray(images)


def _fits(shape: tuple[int, ...], wanted: Sequence[int | str]) -> bool:
    return len(shape) == len(wanted) and all(
        isinstance(length, str) or length == found for found, length in zip(shape, wanted, strict=True)
    )
