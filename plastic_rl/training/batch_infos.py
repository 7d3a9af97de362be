"""The infos of a batch's step, each made when somebody asks for it, and a monitor that asks for few."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
from stable_baselines3.common.vec_env import VecMonitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn


class Column(NamedTuple):
    """One entry of the infos of B environments.

    values: (B,)
    owners: (B,), which environments have it; None for all
    """

    values: list[Any]
    owners: list[bool] | None = None


class BatchInfos(list[dict[str, Any]]):
    """A list of one dictionary per environment, sharing no memory.

    Making thousands of dictionaries takes many times longer than the step that they tell of, and only those
    of episodes that have ended are looked at in a training. So each is made at the first look at it. Whatever
    is done to the list as a whole makes them all: to who uses it, it is a list of dictionaries.

    Args:
        columns: their entries by name.
        n_envs: B.
    """

    def __init__(self, columns: dict[str, Column], n_envs: int) -> None:
        super().__init__([{}] * n_envs)
        self._columns = columns
        self._made: set[int] = set()
        self._all_made = False

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            self._make_all()
            return super().__getitem__(index)
        i = range(len(self))[index]
        if not self._all_made and i not in self._made:
            columns = self._columns.items()
            self[i] = {name: values[i] for name, (values, owners) in columns if owners is None or owners[i]}
        return super().__getitem__(i)

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            self._make_all()
            super().__setitem__(index, value)
            return
        i = range(len(self))[index]
        super().__setitem__(i, value)
        self._made.add(i)

    def put(self, name: str, values: list[Any]) -> None:
        """Give every info this entry; values has one for each."""
        self._columns[name] = Column(values)
        for i in self._looked_at():
            self[i][name] = values[i]

    def having(self, *names: str) -> list[int]:
        """The environments whose infos have one of these entries, in order."""
        wanted = set(names)
        if wanted & self._columns.keys():
            self._make_all()
        # What was added later can be in those alone that have been looked at.
        return [i for i in self._looked_at() if wanted & self[i].keys()]

    def __radd__(self, other: list[Any]) -> list[Any]:
        return [*other, *self]

    def __reduce__(self) -> tuple[Any, ...]:
        # Copies and pickles are plain lists.
        return list, (list(self),)

    def _looked_at(self) -> Iterable[int]:
        return range(len(self)) if self._all_made else sorted(self._made)

    def _make_all(self) -> None:
        if self._all_made:
            return
        rows: list[dict[str, Any]] = [{} for _ in range(len(self))]
        for name, (values, owners) in self._columns.items():
            if owners is None:
                for row, value in zip(rows, values, strict=True):
                    row[name] = value
            else:
                for row, value, own in zip(rows, values, owners, strict=True):
                    if own:
                        row[name] = value
        for i in self._made:
            rows[i] = super().__getitem__(i)
        super().__setitem__(slice(None), rows)
        self._all_made = True


def _of_all(name: str) -> Callable[..., Any]:
    method = getattr(list, name)

    def made(self: BatchInfos, *args: Any, **kwargs: Any) -> Any:
        self._make_all()
        return method(self, *args, **kwargs)

    return made


_OF_ALL = (
    "__add__ __contains__ __delitem__ __eq__ __ge__ __gt__ __iadd__ __imul__ __iter__ __le__ __lt__ __mul__ "
    "__ne__ __repr__ __reversed__ __rmul__ append copy count extend index insert pop remove reverse sort"
)
for _name in _OF_ALL.split():
    setattr(BatchInfos, _name, _of_all(_name))


def split_infos(infos: Mapping[str, Any], n_envs: int) -> BatchInfos:
    """Turn a batch's info into one dictionary per environment; numbers become Python's.

    `infos[key]` has an entry per environment; `infos["_" + key]`, if there, says which of them count. What is
    in it is copied now: the environment may write into its arrays again.

    Raises:
        ValueError: an entry is no array of one value per environment.
    """
    columns: dict[str, Column] = {}
    for key, column in infos.items():
        if key.startswith("_") and key[1:] in infos:
            continue
        if isinstance(column, Mapping):
            values: list[Any] = split_infos(column, n_envs)
        elif not isinstance(column, np.ndarray) or column.shape[:1] != (n_envs,):
            raise ValueError(f"info {key!r} must be an array with {n_envs} entries, got {column!r}")
        elif column.dtype == object:
            values = _copy_unless_constant(list(column))
        else:
            values = column.tolist() if column.ndim == 1 else list(column.copy())
        mask = infos.get(f"_{key}")
        whole = mask is None or np.count_nonzero(mask) == n_envs
        columns[key] = Column(values, None if whole else np.asarray(mask).tolist())
    return BatchInfos(columns, n_envs)


def _copy_unless_constant(values: list[Any]) -> list[Any]:
    """Copy objects, which is slow, only if they cannot be hashed: tuples and strings stay what they are."""
    try:
        hash(tuple(values))
    except TypeError:
        return deepcopy(values)
    return values


class BatchMonitor(VecMonitor):
    """SB3's monitor, but only environments whose episode has ended are looked at, not all at every step."""

    def step_wait(self) -> VecEnvStepReturn:
        """Take the step; the infos of episodes that have ended get ``episode``, as by SB3's."""
        observations, rewards, dones, infos = self.venv.step_wait()
        self.episode_returns += rewards
        self.episode_lengths += 1
        for i in np.flatnonzero(dones).tolist():
            info, passed = infos[i], round(time.time() - self.t_start, 6)
            episode = {"r": self.episode_returns[i], "l": self.episode_lengths[i], "t": passed}
            for key in self.info_keywords:
                episode[key] = info[key]
            info["episode"] = episode
            self.episode_count += 1
            self.episode_returns[i] = 0
            self.episode_lengths[i] = 0
            if self.results_writer:
                self.results_writer.write_row(episode)
        return observations, rewards, dones, infos
