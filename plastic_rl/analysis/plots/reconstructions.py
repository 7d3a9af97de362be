"""Completed patterns beside what was shown and what is true."""

import math
from pathlib import Path

import numpy as np
from matplotlib import colormaps

from plastic_rl.analysis.plots.style import picture

_ERASED = "#E69F00"


def reconstructions(
    probes: np.ndarray,
    completions: np.ndarray,
    truths: np.ndarray,
    path: str | Path,
    shape: tuple[int, int] | None = None,
    title: str = "",
) -> None:
    """Draw what was shown, what the network made of it, and the truth, one column for each pattern.

    Over each completion stands its mean squared error over all elements.

    Args:
        probes: (K, P), the elements shown, in [-1, 1]; those that are 0 were erased, and are drawn in orange.
        completions: (K, P), in [-1, 1].
        truths: (K, P), in [-1, 1].
        path: the picture file to write.
        shape: height and width of a pattern; if None, a square, or one row where P is no square number.
        title: heading.

    Raises:
        ValueError: no pattern, arrays of different shapes, or a `shape` that does not fit.
    """
    if probes.ndim != 2 or not len(probes) or not probes.shape == completions.shape == truths.shape:
        raise ValueError(
            "probes, completions and truths must be of one shape (K, P) with K at least 1, got "
            f"{probes.shape}, {completions.shape} and {truths.shape}"
        )
    count, elements = probes.shape
    if shape is None:
        side = math.isqrt(elements)
        shape = (side, side) if side * side == elements else (1, elements)
    if math.prod(shape) != elements:
        raise ValueError(f"shape must have {elements} elements, got {shape}")
    rows = {
        "shown": np.ma.masked_equal(probes, 0.0),
        "completed": completions,
        "truth": truths,
    }
    errors = np.mean((completions - truths) ** 2, axis=1)
    with picture(path, (max(3.0, 1.3 * count + 1.0), 4.6)) as figure:
        axes = figure.subplots(3, count, squeeze=False)
        grey = colormaps["gray"].with_extremes(bad=_ERASED)
        for (name, patterns), line in zip(rows.items(), axes, strict=True):
            for pattern, place in zip(patterns, line, strict=True):
                place.imshow(
                    pattern.reshape(shape),
                    cmap=grey,
                    vmin=-1,
                    vmax=1,
                    aspect="auto" if shape[0] == 1 else None,
                )
                place.set_xticks([])
                place.set_yticks([])
            line[0].set_ylabel(name)
        for error, place in zip(errors, axes[1], strict=True):
            place.set_title(f"MSE {error:.3f}", fontsize="small")
        figure.suptitle(title, fontsize="medium")
