"""Checks of arguments that environments share, beside those of `plastic_rl.arguments`."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray


def check_render_mode(render_mode: str | None, allowed: Sequence[str]) -> str | None:
    """Return `render_mode`, or raise a ValueError that names the allowed ones."""
    if render_mode is not None and render_mode not in allowed:
        raise ValueError(f"render_mode must be None or one of {list(allowed)}, got {render_mode!r}")
    return render_mode


def can_render(render_mode: str | None, is_started: bool) -> bool:
    """Whether ``render()`` has something to show; a warning says so where there is no render mode.

    Raises:
        ResetNeeded: there was no `reset` yet.
    """
    if render_mode is None:
        gym.logger.warn("render() does nothing: the environment was made without a render_mode")
        return False
    if not is_started:
        raise ResetNeeded("Cannot call render() before calling reset()")
    return True


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
