"""What outlives the folder of a sweep's run: one small file of its settings, scores and learning curve."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plastic_rl.files import atomic, read_text
from plastic_rl.runs.record import RunRecord

POINTS = 400
"""Of a learning curve, at most."""

_LARGEST = 2**20  # bytes
_DIGITS = 5
_CURVE = ("episodes", "r", "l", "t")


@dataclass(frozen=True)
class KeptRun:
    """A run that is over.

    Attributes:
        record: what it was started with.
        result: what its agent scores and has cost.
        curve: stretches of its episodes (P,): where each ends, ``episodes`` and ``t``, and its means, ``r``
            and ``l``.
    """

    record: RunRecord
    result: dict[str, Any]
    curve: dict[str, np.ndarray]

    @property
    def monitor(self) -> dict[str, np.ndarray]:
        """Its episodes as `read_monitor` gives them; each has the means of the stretch that it lies in."""
        ends = self.curve["episodes"].astype(int)
        lengths = np.diff(ends, prepend=0)
        count = np.arange(1, int(lengths.sum()) + 1)
        return {
            "r": np.repeat(self.curve["r"], lengths),
            "l": np.repeat(self.curve["l"], lengths),
            "t": np.interp(count, [0, *ends], [0.0, *self.curve["t"]]),
        }


def keep(path: Path, record: RunRecord, result: Mapping[str, Any], monitor: Mapping[str, np.ndarray]) -> None:
    """Write the file.

    Args:
        path: of the file; its folder is made.
        record: what the run was started with.
        result: what its agent scores and has cost, plain values by name.
        monitor: its episodes, ``r``, ``l`` and ``t`` (E,).

    Raises:
        OSError: it cannot be written.
    """
    episodes = len(monitor["r"])
    ends = np.unique(np.linspace(0, episodes, POINTS + 1).round().astype(int))[1:]
    curve: dict[str, list[float]] = {"episodes": ends.tolist()}
    for name in ("r", "l"):
        sums = np.concatenate([[0.0], np.cumsum(monitor[name], dtype=np.float64)])[[0, *ends]]
        curve[name] = _rounded(np.diff(sums) / np.diff([0, *ends]))
    curve["t"] = _rounded(monitor["t"][ends - 1])
    content = {"record": record.to_mapping(), "result": dict(result), "curve": curve}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as partial:
        partial.write_text(json.dumps(content) + "\n", encoding="utf-8")


def read_kept(path: Path) -> KeptRun:
    """Read the file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged.
    """
    try:
        content = json.loads(read_text(path, _LARGEST))
        curve = {name: np.asarray(content["curve"][name], dtype=float) for name in _CURVE}
        if len({one.shape for one in curve.values()}) > 1:
            raise ValueError("its curve has columns of different lengths")
        return KeptRun(RunRecord.from_mapping(content["record"]), checked_result(content["result"]), curve)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged, remove it: {error}") from error


def checked_result(found: Mapping[str, Any]) -> dict[str, Any]:
    """A result with what every report needs of it.

    Raises:
        ValueError, LookupError, TypeError: it lacks that.
    """
    return {**found, "steps": int(found["steps"]), "measures": dict(found["measures"])}


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values]
