"""Pictures of the episodic tasks: what was shown, the question, the answer and the truth."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from plastic_rl.envs.drawing import font

# Okabe and Ito's palette, which stays distinct for colour-blind eyes, on greys.
BACKGROUND = (247, 246, 242)
EMPTY = (229, 227, 220)
TEXT = (58, 62, 70)
ERASED = (240, 196, 100)
NOW = (0, 114, 178)
RIGHT = (0, 158, 115)
_WRONG = (213, 94, 0)

GAP = 12
LINE = 24
_BORDER = 4
_LARGE = 160
_MULTIPLE = 16
"""Video encoders want sides that are multiples of this."""


def draw_completion(
    items: Sequence[NDArray[np.float32]],
    grid: tuple[int, int],
    *,
    highlight: int | None,
    probe: NDArray[np.float32] | None,
    answer: NDArray[np.float32] | None,
    wrong: NDArray[np.bool_] | None,
    truth: NDArray[np.float32] | None,
    title: str,
    caption: str,
) -> NDArray[np.uint8]:
    """Items shown so far, and under them the probe, the answer and the truth.

    From -1 black to 1 white; erased elements of the probe are orange. What is not known yet is an empty box.
    A blue frame marks what is shown right now; with the truth, green frames mark the item asked for.

    Args:
        items: each (E,) from -1 to 1, in the order in which they were shown.
        grid: rows and columns of boxes to put them into.
        highlight: the number of the item that is shown right now.
        probe: (E,), 0 where erased.
        answer: (E,).
        wrong: (E,), elements of the answer to be painted red.
        truth: (E,).
        title: the line at the top.
        caption: the line at the bottom.

    Returns:
        (H, W, 3) uint8, H and W multiples of 16.
    """
    rows, columns = grid
    size = truth.size if truth is not None else items[0].size
    width = math.ceil(math.sqrt(size))
    small = max(1, min(96, 640 // columns, 480 // rows) // width) * width
    large = max(1, _LARGE // width) * width

    below = LINE + GAP + rows * (small + GAP)
    image, canvas = blank(
        max(columns * (small + GAP), 3 * (large + GAP)) + GAP, below + large + 2 * LINE + GAP
    )
    write(canvas, (GAP, GAP // 2), title)
    for number in range(rows * columns):
        row, column = divmod(number, columns)
        corner = (GAP + column * (small + GAP), LINE + GAP + row * (small + GAP))
        tile = _grey(items[number], width) if number < len(items) else None
        frame = NOW if number == highlight else None
        if tile is not None and truth is not None and np.array_equal(items[number], truth):
            frame = RIGHT
        _paste(image, tile, corner, small, frame)

    tiles = [None if values is None else _grey(values, width) for values in (probe, answer, truth)]
    if probe is not None and tiles[0] is not None:
        tiles[0][_fold(probe == 0, width, False)] = ERASED
    if wrong is not None and tiles[1] is not None:
        tiles[1][_fold(wrong, width, False)] = _WRONG
    frames = (NOW if probe is not None else None, None, RIGHT if truth is not None else None)
    for column, name in enumerate(("probe", "answer", "truth")):
        corner = (GAP + column * (large + GAP), below)
        _paste(image, tiles[column], corner, large, frames[column])
        write(canvas, (corner[0], below + large + _BORDER), name)
    write(canvas, (GAP, below + large + LINE + _BORDER), caption)
    return np.array(image)


def draw_classification(
    items: Sequence[NDArray[np.float32]],
    labels: Sequence[int],
    n_way: int,
    k_shot: int,
    *,
    query: NDArray[np.float32] | None,
    answer: int | None,
    truth: int | None,
    title: str,
) -> NDArray[np.uint8]:
    """Labelled drawings shown so far, and under them the query, the answer and the truth.

    A blue frame marks what is shown right now. With the answer, drawings that bear the right label get a
    green frame, those that bear a wrongly given one a red frame.

    Args:
        items: each (S, S), 1 ink and 0 paper, in the order in which they were shown.
        labels: their labels, below `n_way`.
        n_way: labels there are, and columns of boxes.
        k_shot: rows of boxes.
        query: (S, S).
        answer: the label given.
        truth: the right label.
        title: the line at the top.

    Returns:
        (H, W, 3) uint8, H and W multiples of 16.
    """
    side = 31 if not items else items[0].shape[0]
    small = max(1, min(96, 640 // n_way, 480 // k_shot) // side) * side
    large = max(1, _LARGE // side) * side
    step = small + LINE + GAP

    below = LINE + GAP + k_shot * step
    image, canvas = blank(max(n_way * (small + GAP), 2 * (large + GAP)) + GAP, below + large + LINE + GAP)
    write(canvas, (GAP, GAP // 2), title)
    for number in range(n_way * k_shot):
        row, column = divmod(number, n_way)
        corner = (GAP + column * (small + GAP), LINE + GAP + row * step)
        if number >= len(items):
            _paste(image, None, corner, small)
            continue
        frame = NOW if query is None and number == len(items) - 1 else None
        if answer is not None and labels[number] == truth:
            frame = RIGHT
        elif answer is not None and labels[number] == answer:
            frame = _WRONG
        _paste(image, _ink(items[number]), corner, small, frame)
        write(canvas, (corner[0], corner[1] + small + _BORDER), f"label {labels[number]}", frame or TEXT)

    is_now = query is not None and answer is None
    _paste(image, None if query is None else _ink(query), (GAP, below), large, NOW if is_now else None)
    write(canvas, (GAP, below + large + _BORDER), "query")
    beside = 2 * GAP + large
    if answer is not None:
        colour = RIGHT if answer == truth else _WRONG
        write(canvas, (beside, below), f"answer {answer}", colour, 28)
    if truth is not None:
        write(canvas, (beside, below + 2 * LINE), f"truth {truth}", RIGHT, 28)
    return np.array(image)


def blank(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty picture of at least this size, its sides multiples of 16, and what draws on it."""
    size = tuple(math.ceil(length / _MULTIPLE) * _MULTIPLE for length in (width, height))
    image = Image.new("RGB", (size[0], size[1]), BACKGROUND)
    return image, ImageDraw.Draw(image)


def _fold(values: NDArray, width: int, filling: float) -> NDArray:
    """(E,) as (rows, width), row by row, with something to fill the last row."""
    missing = -len(values) % width
    return np.append(values, np.full(missing, filling, values.dtype)).reshape(-1, width)


def _grey(values: NDArray[np.float32], width: int) -> NDArray[np.uint8]:
    """(E,) from -1 to 1 as an (rows, width, 3) picture."""
    shades = 127.5 * (1 + np.clip(values, -1, 1))
    picture = np.repeat(_fold(shades.astype(np.uint8), width, 0)[..., None], 3, axis=-1)
    picture[~_fold(np.ones(len(values), dtype=bool), width, False)] = BACKGROUND
    return picture


def _ink(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(S, S) from 0 paper to 1 ink as an (S, S, 3) picture."""
    return np.repeat((255 * (1 - values)).astype(np.uint8)[..., None], 3, axis=-1)


def _paste(
    image: Image.Image,
    tile: NDArray[np.uint8] | None,
    corner: tuple[int, int],
    side: int,
    frame: tuple[int, int, int] | None = None,
) -> None:
    """Put a picture, enlarged to be `side` pixels wide, or an empty square there."""
    x, y = corner
    if frame is not None:
        box = (x - _BORDER, y - _BORDER, x + side + _BORDER - 1, y + side + _BORDER - 1)
        ImageDraw.Draw(image).rectangle(box, fill=BACKGROUND, outline=frame, width=_BORDER)
    if tile is None:
        ImageDraw.Draw(image).rectangle((x, y, x + side - 1, y + side - 1), fill=EMPTY)
        return
    scale = side // tile.shape[1]
    image.paste(Image.fromarray(tile.repeat(scale, axis=0).repeat(scale, axis=1)), corner)


def write(
    canvas: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    text: str,
    colour: tuple[int, int, int] = TEXT,
    size: int = 16,
) -> None:
    """Put a line of text there; the corner is its upper left one."""
    canvas.text(corner, text, fill=colour, font=font(size), anchor="la")
