"""Draws that the episodic tasks share."""

import numpy as np
from numpy.typing import NDArray


def draw_distinct(rng: np.random.Generator, rows: int, limit: int, count: int) -> NDArray[np.intp]:
    """Draw `count` different integers below `limit`, in random order, for each of so many rows.

    By Floyd's algorithm: candidate j is drawn from 0 to j, and replaced by j where it was there already. The
    work does not grow with `limit`, unlike that of a shuffle.

    Returns:
        (rows, count) integers.
    """
    drawn = np.empty((rows, count), np.intp)
    for column, largest in enumerate(range(limit - count, limit)):
        candidates = rng.integers(largest + 1, size=rows)
        taken = (drawn[:, :column] == candidates[:, None]).any(axis=1)
        drawn[:, column] = np.where(taken, largest, candidates)
    return rng.permuted(drawn, axis=1)


def draw_halves(size: int, rows: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """For each row, half of `size` elements (rounded down) at random, as a (rows, size) mask."""
    return rng.permuted(np.tile(np.arange(size) < size // 2, (rows, 1)), axis=1)
