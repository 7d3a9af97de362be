"""Numbers that are not numbers: found in observations and rewards, and named."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class BadNumber(NamedTuple):
    """The first number of an array that is NaN or infinite.

    Attributes:
        where: in the array, as many integers as it has dimensions.
        part: the key of the array in a dictionary, None where there is none.
        value: NaN or an infinity.
    """

    where: tuple[int, ...]
    part: str | None
    value: float

    def words(self, n_batch: int) -> str:
        """The value and its place behind the batch's dimensions: ``nan at [2] of part 'felt'``."""
        place = f" at {list(self.where[n_batch:])}" if len(self.where) > n_batch else ""
        return f"{self.value}{place}" + ("" if self.part is None else f" of part {self.part!r}")


def find_bad_number(values: Any) -> BadNumber | None:
    """The first NaN or infinity of an array, or of a dictionary of arrays the one with the smallest index.

    Where all is well this costs one sum: any NaN or infinity makes that NaN or infinite.
    """
    parts = values.items() if isinstance(values, dict) else [(None, values)]
    found = []
    for part, given in parts:
        array = np.asarray(given)
        if not np.issubdtype(array.dtype, np.inexact):
            continue
        with np.errstate(all="ignore"):
            suspicious = not np.isfinite(array.sum())
        if suspicious and (bad := np.argwhere(~np.isfinite(array))).size:
            index = tuple(int(i) for i in bad[0])
            found.append(BadNumber(index, part, float(array[index])))
    return min(found, key=lambda bad: bad.where, default=None)
