"""An animation of one lifetime with the Hebbian trace beside it."""

import math

import numpy as np
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageFont

from plastic_rl.analysis.lifetime import Lifetimes
from plastic_rl.analysis.plots.style import DIVERGING

_BACKGROUND = (58, 62, 70)
_TEXT = (255, 255, 255)
_CELLS = 50
# Few colours and large cells: a third of the file's size, and no detail that an eye would see.
_SHADES = 33
_LINE = 32


def trace_animation(lives: Lifetimes, order: np.ndarray | None = None) -> list[np.ndarray]:
    """Pictures of a lifetime: the environment on the left, the trace at the same moment on the right.

    Blue is negative, red positive; the strongest colour is the same throughout. Large networks are drawn as
    the means of squares of connections.

    Args:
        lives: one lifetime with its frames and traces.
        order: (N,), the neurons in the order in which to draw them, see `neuron_order`; as they are if None.

    Returns:
        T pictures (height, width, 3) uint8, for ``save_gif``.

    Raises:
        ValueError: frames or traces were not recorded.
    """
    if lives.frames is None or lives.traces is None:
        raise ValueError("the lifetime must be recorded with keep_frames=True and keep_traces=True")
    traces = lives.traces[:-1, 0]
    if order is not None:
        traces = traces[:, order][:, :, order]
    cells = np.stack([_coarse(trace) for trace in traces])
    scale = float(np.quantile(np.abs(cells[-1]), 0.98)) or 1.0
    shades = np.rint((np.clip(cells / scale, -1, 1) + 1) / 2 * (_SHADES - 1)).astype(int)
    palette = (colormaps[DIVERGING](np.linspace(0, 1, _SHADES))[:, :3] * 255).astype(np.uint8)
    caption = f"Hebbian trace of {traces.shape[1]} x {traces.shape[1]} connections"
    font = ImageFont.load_default(16)
    return [
        _beside(frame, palette[shade], caption, font)
        for frame, shade in zip(lives.frames, shades, strict=True)
    ]


def _coarse(matrix: np.ndarray) -> np.ndarray:
    """The means of squares of entries, at most _CELLS to a side; what does not fill a square is left out."""
    side = math.ceil(len(matrix) / _CELLS)
    whole = len(matrix) // side * side
    return matrix[:whole, :whole].reshape(whole // side, side, whole // side, side).mean(axis=(1, 3))


def _beside(
    frame: np.ndarray,
    cells: np.ndarray,
    caption: str,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> np.ndarray:
    """Enlarge the cells to about the frame's height, put them beside it and the caption under them."""
    height = len(frame) - _LINE
    zoom = max(1, (height - 3 * _LINE // 2) // len(cells))
    panel = cells.repeat(zoom, axis=0).repeat(zoom, axis=1)
    gap = max(0, height - len(panel)) // 2
    image = Image.new("RGB", (frame.shape[1] + panel.shape[1] + 2 * gap, len(frame)), _BACKGROUND)
    image.paste(Image.fromarray(frame), (0, 0))
    image.paste(Image.fromarray(panel), (frame.shape[1] + gap, gap))
    middle = (frame.shape[1] + gap + panel.shape[1] / 2, height)
    ImageDraw.Draw(image).text(middle, caption, fill=_TEXT, font=font, anchor="mm")
    return np.asarray(image)
