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


def draw_cues(rng: np.random.Generator, rows: int, count: int, size: int) -> NDArray[np.float32]:
    """Draw `count` cues of `size` random signs for each of so many rows, all cues of a row different.

    Returns:
        (rows, count, size) of -1 and 1.
    """
    # The first signs as bits of an integer, which is quick to compare; more than 62 of them never agree by
    # chance.
    n_bits = min(size, 62)
    if count * count > 2**n_bits:
        codes = draw_distinct(rng, rows, 2**n_bits, count)
    else:
        # The expected number of coincidences is below one half: draw again where there is one.
        codes = rng.integers(2**n_bits, size=(rows, count))
        while np.count_nonzero(alike := _have_duplicates(codes)):
            codes[alike] = rng.integers(2**n_bits, size=(np.count_nonzero(alike), count))
    octets = codes.astype("<i8")[..., None].view(np.uint8)
    bits = np.unpackbits(octets, axis=2, count=n_bits, bitorder="little")
    if size > n_bits:
        more = rng.integers(2, size=(rows, count, size - n_bits), dtype=np.uint8)
        bits = np.concatenate([bits, more], axis=2)
    signs = bits.astype(np.float32)
    signs *= 2
    signs -= 1
    return signs


def _have_duplicates(rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows, (n, K), hold a number more than once, (n,)."""
    ordered = np.sort(rows, axis=1)
    return (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
