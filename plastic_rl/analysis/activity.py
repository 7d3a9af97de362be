"""What an agent sees, does and holds at every step, on any environment."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv

from plastic_rl.analysis.lesions import Lesion
from plastic_rl.analysis.rounds import Keep, Round, play_rounds
from plastic_rl.arguments import check_count
from plastic_rl.files import atomic
from plastic_rl.runs.statistics import find_normalize, normalized_like
from plastic_rl.training.vec_env import make_vec_env

if TYPE_CHECKING:
    import pandas as pd

Part = Literal["observations", "states", "gates", "values"]
# Without these there is no recording.
_NEEDED = ("episode", "step", "start", "action", "reward")


@dataclass(frozen=True)
class Activity:
    """K steps of whole episodes, one episode after the other.

    Attributes:
        columns: by name, (K, ...) each: ``episode`` and ``step``, counted from 0; ``start``, true at an
            episode's first step; ``action`` and ``reward``; and, where they were kept and the agent has them:
            ``observation``, or ``observation/<key>`` of a Dict, as the environment gave it before the step;
            ``hidden`` and ``cell`` (K, N), the activities after the step; ``gate/<name>`` (K, N), how far the
            gates were open in it; ``value``, what the critic expected before it; ``info/<key>``.
        ended: (E,) bool, whether each of the E episodes came to its end.
        traces: (M, n, n), the trace that M of the steps read; None if none was kept.
        trace_rows: (M,), which of the K steps these are.

    Raises:
        ValueError: columns are missing or of different lengths.
    """

    columns: Mapping[str, np.ndarray]
    ended: np.ndarray
    traces: np.ndarray | None = None
    trace_rows: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        missing = [name for name in _NEEDED if name not in self.columns]
        lengths = {len(column) for column in self.columns.values()}
        if missing or len(lengths) != 1:
            raise ValueError(
                f"columns must have {', '.join(_NEEDED)}, all of one length, got {', '.join(self.columns)} "
                f"of lengths {sorted(lengths)}"
            )

    def __len__(self) -> int:
        return len(self.columns["step"])

    def __getitem__(self, name: str) -> np.ndarray:
        """A column.

        Raises:
            KeyError: there is none of this name; the message names those that there are.
        """
        if name not in self.columns:
            raise KeyError(f"no column {name!r}: there are {', '.join(self.columns)}")
        return self.columns[name]

    @property
    def returns(self) -> np.ndarray:
        """(E,), the sum of rewards of each episode."""
        return np.bincount(self["episode"], weights=self["reward"], minlength=len(self.ended))

    def to_dataframe(self) -> pd.DataFrame:
        """One row for each step; a column of several elements becomes ``name_0``, ``name_1``, ...

        Traces are not in it. Of large observations leave out the column first, or do not keep them.
        """
        import pandas as pd

        table: dict[str, np.ndarray] = {}
        for name, column in self.columns.items():
            flat = column.reshape(len(column), -1)
            if column.ndim == 1:
                table[name] = column
            else:
                table |= {f"{name}_{i}": flat[:, i] for i in range(flat.shape[1])}
        return pd.DataFrame(table)

    def save(self, path: str | Path) -> None:
        """Write it to a compressed NumPy file under this very name.

        Raises:
            OSError: it cannot be written.
        """
        own: dict[str, np.ndarray] = {"ended": self.ended, "trace_rows": self.trace_rows}
        if self.traces is not None:
            own["traces"] = self.traces
        arrays: dict[str, Any] = {f"column/{name}": column for name, column in self.columns.items()} | own
        with atomic(Path(path)) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> Activity:
        """Read what `save` has written; nothing in the file is run.

        Raises:
            OSError: it cannot be read.
            ValueError: it is something else.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            prefix = "column/"
            columns = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
            return cls(columns, arrays["ended"], arrays.get("traces"), arrays["trace_rows"])
        except OSError:
            raise
        except Exception as error:  # of a zip file, of NumPy, of a missing array
            raise ValueError(f"{path} is not a recorded activity: {error}") from error


def record_activity(
    model: BaseAlgorithm,
    env: GymEnv | str,
    episodes: int = 16,
    *,
    env_kwargs: dict[str, Any] | None = None,
    seed: int = 0,
    deterministic: bool = False,
    lesions: Lesion | Sequence[Lesion] = (),
    keep: Collection[Part] = get_args(Part),
    info_keys: Sequence[str] = (),
    trace_every: int | None = None,
    trace_units: Sequence[int] | None = None,
    max_steps: int = 10_000,
    batch: int = 16,
) -> Activity:
    """Play whole episodes, each from an empty memory, and keep what the agent sees, does and holds.

    Args:
        model: any Stable-Baselines3 model. Gates are those of a `PlasticRNN`; values those of `PlasticA2C`,
            `PlasticPPO`, A2C and PPO; the activities of any recurrent one. Observations are normalized for it
            as in its training, and kept as the environment gives them.
        env: the environment, its id, or a vector environment, which then is played as it is; one that was
            handed over stays open.
        episodes: how many, at least 1.
        env_kwargs: arguments of an environment that is given by its id.
        seed: of environments and sampled actions; the same seed gives the same episodes, and the same starts
            under every lesion. torch's global random state is left as it was.
        deterministic: take the most probable action; otherwise actions are sampled, as in training.
        lesions: what is done to the agent: `freeze`, `wipe`, `wipe_once`, `silence`, `clamp`.
        keep: which of ``observations``, ``states``, ``gates``, ``values`` are kept.
        info_keys: entries of the environment's infos to keep; nan where a step has none.
        trace_every: keep the trace of one step in so many, ``4 N N`` bytes each; None keeps none.
        trace_units: the neurons between which the trace is kept; None is all.
        max_steps: longer episodes are cut off here, at least 1.
        batch: episodes played at a time, at least 1; that of a vector environment is its own.

    Raises:
        ValueError: an argument outside its range, an info that no step has, or a model without a trace where
            one is needed.
    """
    check_count("episodes", episodes)
    check_count("batch", batch)
    unknown = [part for part in keep if part not in get_args(Part)]
    if unknown:
        raise ValueError(f"keep must be some of {', '.join(get_args(Part))}, got {', '.join(unknown)}")
    if trace_every is not None:
        check_count("trace_every", trace_every)
    if env_kwargs and not isinstance(env, str):
        raise ValueError(f"env_kwargs must be None where env is no id, got {env_kwargs!r}")
    stage = _Stage(model, env, env_kwargs)
    rounds = play_rounds(
        model,
        stage.make,
        episodes,
        stage.size or batch,
        Keep(tuple(keep), tuple(info_keys), trace_every, trace_units),
        seed=seed,
        deterministic=deterministic,
        lesions=[lesions] if isinstance(lesions, Lesion) else list(lesions),
        max_steps=check_count("max_steps", max_steps),
    )
    try:
        activity = _one_after_the_other(rounds, episodes, trace_every)
    finally:
        stage.close()
    for key in info_keys:
        column = activity[f"info/{key}"]
        if np.issubdtype(column.dtype, np.floating) and np.isnan(column).all():
            raise ValueError(f"info_keys must be entries of the infos, got {key!r}, which no step has")
    return activity


class _Stage:
    """Where the agent plays: environments of its own, or what the caller has handed over.

    Attributes:
        size: the number of environments that were handed over, None if that is open.
    """

    def __init__(self, model: BaseAlgorithm, env: GymEnv | str, env_kwargs: dict[str, Any] | None) -> None:
        self._model, self._env_id, self._env_kwargs = model, env if isinstance(env, str) else None, env_kwargs
        self._given: VecEnv | None = None
        self._made: VecEnv | None = None
        if not isinstance(env, str):
            self._given = type(model)._wrap_env(env, verbose=0)
            if find_normalize(self._given) is None:
                self._given = normalized_like(model.get_env(), self._given)
        self.size = None if self._given is None else self._given.num_envs

    def make(self, n_envs: int, seed: int) -> VecEnv:
        """Environments that start from this seed."""
        if self._given is not None:
            self._given.seed(seed)
            return self._given
        assert self._env_id is not None
        self.close()
        env = make_vec_env(self._env_id, n_envs, seed=seed, env_kwargs=self._env_kwargs)
        self._made = normalized_like(self._model.get_env(), env)
        return self._made

    def close(self) -> None:
        """Close what is its own."""
        if self._made is not None:
            self._made.close()


def _one_after_the_other(rounds: Iterator[Round], episodes: int, trace_every: int | None) -> Activity:
    """The first episodes of all rounds in one recording."""
    parts: dict[str, list[np.ndarray]] = {}
    ended: list[bool] = []
    traces: list[np.ndarray] = []
    trace_rows: list[np.ndarray] = []
    n_rows = 0
    for one in rounds:
        for i in range(one.alive.shape[1]):
            if len(ended) == episodes:
                break
            length = int(one.alive[:, i].sum())
            steps = np.arange(length)
            own = {"episode": np.full(length, len(ended)), "step": steps, "start": steps == 0}
            own |= {name: column[:length, i] for name, column in one.columns.items()}
            for name, column in own.items():
                parts.setdefault(name, []).append(column)
            if one.traces is not None and trace_every is not None:
                kept = steps[::trace_every]
                traces.append(one.traces[: len(kept), i])
                trace_rows.append(n_rows + kept)
            ended.append(bool(one.ended[i]))
            n_rows += length
    columns = {name: np.concatenate(column) for name, column in parts.items()}
    if not traces:
        return Activity(columns, np.array(ended))
    return Activity(columns, np.array(ended), np.concatenate(traces), np.concatenate(trace_rows))
