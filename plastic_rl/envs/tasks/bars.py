"""A picture for tasks that have none of their own: what was seen, the answer and the target as bars."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from plastic_rl.envs.tasks.render import BACKGROUND, EMPTY, ERASED, GAP, LINE, NOW, RIGHT, TEXT, blank, write
from plastic_rl.envs.tasks.task import EpisodicTask

Colour = tuple[int, int, int]

_WIDTH = 480
_HEIGHT = 80
_MOST_BARS = 128
_MOST_NUMBERS = 8
_MOST_MAPPED = 64
_NEGATIVE = (213, 94, 0)


def draw_bars(task: EpisodicTask, observations: Any, action: Any, target: Any) -> NDArray[np.uint8]:
    """One episode of any task: what was seen so far, what is seen now, the answer and the target.

    What was seen is a map with a column for each step, blue above 0 and red below. The others are bars around
    a line for 0, with their numbers where they are few; a discrete value is the bars of its one-hot form.
    More than 128 elements become a grey picture, more than 64 have no map.

    Args:
        task: says the spaces and the length.
        observations: those so far, (t, *shape) or a dict of them.
        action: the answer to the last of them, or None.
        target: what the last action should be.

    Returns:
        (H, W, 3) uint8, H and W multiples of 16, the same for a whole episode.
    """
    parts = list(_parts("observation", task.observation_space, observations))
    maps = [spaces.flatdim(space) <= _MOST_MAPPED and task.episode_length > 1 for _, space, _ in parts]
    panels = len(parts) + sum(maps) + 2
    image, canvas = blank(_WIDTH + 2 * GAP, LINE + GAP + panels * (_HEIGHT + LINE + GAP))
    write(canvas, (GAP, GAP // 2), f"step {len(parts[0][2])} of {task.episode_length}")
    corners = iter([(GAP, LINE + GAP + i * (_HEIGHT + LINE + GAP) + LINE) for i in range(panels)])
    for (name, space, values), mapped in zip(parts, maps, strict=True):
        if mapped:
            _map(image, canvas, next(corners), f"{name} so far", space, values, task.episode_length)
        _bars(image, canvas, next(corners), f"{name} now", space, values[-1], NOW)
    _bars(image, canvas, next(corners), "answer", task.action_space, action, ERASED)
    _bars(image, canvas, next(corners), "target", task.action_space, target, RIGHT)
    return np.array(image)


def _parts(name: str, space: spaces.Space[Any], values: Any) -> Iterator[tuple[str, spaces.Space[Any], Any]]:
    """The spaces of arrays in a space, each with its name and its values."""
    if isinstance(space, spaces.Dict):
        for key, part in space.items():
            yield from _parts(str(key), part, values[key])
    else:
        yield name, space, values


def _flat(space: spaces.Space[Any], value: Any) -> NDArray[np.float64]:
    return np.asarray(spaces.flatten(space, value), dtype=np.float64)


def _largest(space: spaces.Space[Any], values: NDArray[np.float64]) -> float:
    """The value that fills a panel: the space's bound, or the largest value where it has none."""
    bound = 1.0
    if isinstance(space, spaces.Box):
        bound = max(abs(float(space.low.min())), abs(float(space.high.max())))
    return bound if 0 < bound < np.inf else max(float(np.abs(values).max()), 1e-9)


def _title(canvas: ImageDraw.ImageDraw, corner: tuple[int, int], text: str) -> None:
    write(canvas, (corner[0], corner[1] - LINE + 4), text)


def _map(
    image: Image.Image,
    canvas: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    title: str,
    space: spaces.Space[Any],
    values: Any,
    length: int,
) -> None:
    _title(canvas, corner, title)
    seen = np.stack([_flat(space, value) for value in values], axis=1)
    share = np.clip(seen / _largest(space, seen), -1, 1)[..., None]
    ends = np.where(share < 0, _NEGATIVE, NOW)
    cells = np.full((len(seen), length, 3), EMPTY, np.uint8)
    cells[:, : seen.shape[1]] = np.array(BACKGROUND) + np.abs(share) * (ends - np.array(BACKGROUND))
    image.paste(Image.fromarray(cells).resize((_WIDTH, _HEIGHT), Image.Resampling.NEAREST), corner)
    left, right = (corner[0] + round(_WIDTH * step / length) for step in (seen.shape[1] - 1, seen.shape[1]))
    canvas.rectangle((left, corner[1], right - 1, corner[1] + _HEIGHT - 1), outline=TEXT, width=2)


def _bars(
    image: Image.Image,
    canvas: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    title: str,
    space: spaces.Space[Any],
    value: Any,
    colour: Colour,
) -> None:
    x, y = corner
    if value is None:
        _title(canvas, corner, title)
        canvas.rectangle((x, y, x + _WIDTH - 1, y + _HEIGHT - 1), fill=EMPTY)
        return
    flat = _flat(space, value)
    numbers = np.array(value, dtype=np.float64).ravel()
    if len(numbers) <= _MOST_NUMBERS:
        title += ": " + ", ".join(f"{number:.3g}" for number in numbers)
    _title(canvas, corner, title)
    canvas.rectangle((x, y, x + _WIDTH - 1, y + _HEIGHT - 1), fill=(255, 255, 255))
    if len(flat) > _MOST_BARS:
        _paste_grey(image, corner, flat / _largest(space, flat), space)
        return
    signed = bool((flat < 0).any()) or (isinstance(space, spaces.Box) and float(space.low.min()) < 0)
    room = _HEIGHT // 2 if signed else _HEIGHT - 1
    zero = y + room
    slot = _WIDTH / len(flat)
    margin = min(slot / 5, 30)
    for i, share in enumerate(np.clip(flat / _largest(space, flat), -1, 1)):
        left, right = round(x + i * slot + margin), round(x + (i + 1) * slot - margin)
        low, high = sorted((zero, zero - round(share * (room - 1))))
        canvas.rectangle((left, low, max(left, right - 1), high), fill=colour)
    canvas.line((x, zero, x + _WIDTH - 1, zero), fill=TEXT)


def _paste_grey(
    image: Image.Image, corner: tuple[int, int], shares: NDArray[np.float64], space: spaces.Space[Any]
) -> None:
    """A picture of the panel's height: rows as in the space where it has two dimensions, else near square."""
    shape = space.shape or ()
    width = shape[1] if len(shape) == 2 else int(np.ceil(np.sqrt(len(shares))))
    cells = np.append(shares, np.zeros(-len(shares) % width)).reshape(-1, width)
    low = -1.0 if (cells < 0).any() else 0.0
    grey = (255 * (np.clip(cells, low, 1) - low) / (1 - low)).astype(np.uint8)
    picture = Image.fromarray(np.repeat(grey[..., None], 3, axis=-1))
    scale = min(_HEIGHT / len(cells), _WIDTH / width)
    size = (max(1, int(width * scale)), max(1, int(len(cells) * scale)))
    image.paste(picture.resize(size, Image.Resampling.NEAREST), corner)
