"""What all figures share: colours that any colour vision tells apart, reference levels, files and axes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with any colour vision, and in grey by its lightness.
CURVES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = (
    "solid",
    (0, (5, 1.5)),
    (0, (3, 1, 1, 1)),
    (0, (1, 1)),
    (0, (7, 1, 1, 1, 1, 1)),
    (0, (2, 2)),
)
LEVELS = ("#595959", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
LEVEL_DASHES = ("dotted", "dashed", "dashdot", "solid", (0, (7, 1, 1, 1, 1, 1)))

Target = str | Path | Axes
"""Where a figure goes: the picture file to write, or matplotlib axes to draw on."""

DIVERGING = "RdBu_r"
"""The colour map of what has a sign: blue is negative, red positive, white zero."""


def line_style(i: int) -> tuple[str, Any]:
    """Colour and dashes of the i-th line; as there is one colour more than dashes, 42 are no two alike."""
    return CURVES[i % len(CURVES)], DASHES[i % len(DASHES)]


@contextmanager
def drawing_on(target: Target, size: tuple[float, float] = (8, 4.5)) -> Iterator[Axes]:
    """The axes given, or those of a new picture that is written to the file `target` at the end.

    Args:
        target: matplotlib axes, or the picture file to write.
        size: width and height of a new picture in inches, of 150 pixels each.
    """
    if isinstance(target, Axes):
        yield target
        return
    with picture(target, size) as figure:
        yield figure.add_subplot()


@contextmanager
def picture(path: str | Path, size: tuple[float, float]) -> Iterator[Figure]:
    """A new figure of `size` inches, of 150 pixels each, which is written to the file `path` at the end."""
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    yield figure
    figure.savefig(path)


def draw_levels(axes: Axes, levels: Mapping[str, float], grey: bool = False) -> None:
    """Draw labelled horizontal lines; in grey where other curves need the colours."""
    for i, (name, level) in enumerate(levels.items()):
        color = LEVELS[0 if grey else i % len(LEVELS)]
        axes.axhline(level, color=color, linestyle=LEVEL_DASHES[i % len(LEVEL_DASHES)], linewidth=1.3)
        axes.annotate(
            f"{name} ({level:.4g})",
            (1.01, level),
            xycoords=("axes fraction", "data"),
            color=color,
            verticalalignment="center",
        )
