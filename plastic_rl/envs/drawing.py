"""What the pictures of several environments have in common."""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

CARD: Colour = (247, 246, 242)
"""The ground on which cues are drawn."""


def cue_picture(
    cue: NDArray[np.float32], side: int, ones: Colour, others: Colour, line: Colour
) -> Image.Image:
    """A cue as squares, row by row, in an outlined picture of `side` x `side` pixels.

    Args:
        cue: (cue_size,), signs.
        side: of the picture.
        ones: the colour of the entries above 0.
        others: the colour of the other entries.
        line: of the outline.
    """
    cells = math.ceil(math.sqrt(len(cue)))
    colours = np.full((cells * cells, 3), CARD, np.uint8)
    colours[: len(cue)] = np.where(cue[:, None] > 0, ones, others)
    small = Image.fromarray(colours.reshape(cells, cells, 3))
    picture = small.resize((side, side), Image.Resampling.NEAREST)
    ImageDraw.Draw(picture).rectangle((0, 0, side - 1, side - 1), outline=line)
    return picture


@lru_cache
def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font, so that pictures are alike on all machines."""
    return ImageFont.load_default(size)
