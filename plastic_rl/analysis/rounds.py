"""Episodes played side by side, one in each environment, with everything that happens kept step by step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from plastic_rl.analysis.lesions import Lesion, Surgery, memories
from plastic_rl.analysis.playback import play
from plastic_rl.analysis.probe import Probe
from plastic_rl.runs.statistics import find_normalize


@dataclass
class Round:
    """At most T steps of B episodes, each from an empty memory.

    Attributes:
        alive: (T, B) bool, false after an episode's end.
        ended: (B,) bool, whether the episode came to its end within T steps.
        columns: by name, (T, B, ...) each; what is kept, and always ``action`` and ``reward``.
        traces: (T', B, N, N), the trace before every step that it is kept of.
        last_trace: (B, N, N) after the last step; None without a trace.
        at_reset: the infos of the reset, one for each episode.
    """

    alive: np.ndarray
    ended: np.ndarray
    columns: dict[str, np.ndarray]
    traces: np.ndarray | None
    last_trace: np.ndarray | None
    at_reset: list[dict[str, Any]]


@dataclass(frozen=True)
class Keep:
    """What is kept of every step besides actions and rewards.

    Attributes:
        parts: some of ``observations``, ``states``, ``gates``, ``values``.
        info_keys: entries of the infos.
        trace_every: from so many steps the trace of one is kept; None keeps none.
        trace_units: the rows and columns of the trace that are kept; None is all.
        watch: called before every step.
    """

    parts: Collection[str] = ()
    info_keys: Sequence[str] = ()
    trace_every: int | None = None
    trace_units: Sequence[int] | None = None
    watch: Callable[[], object] | None = field(default=None, repr=False)


def play_rounds(
    model: BaseAlgorithm,
    make: Callable[[int, int], VecEnv],
    episodes: int,
    batch: int,
    keep: Keep,
    *,
    seed: int,
    deterministic: bool,
    lesions: Sequence[Lesion],
    max_steps: int,
) -> Iterator[Round]:
    """Play whole episodes, ``batch`` at a time; torch's global random state is left as it was.

    Args:
        model: any Stable-Baselines3 model.
        make: gives environments from their number and their seed.
        episodes: how many.
        batch: how many at a time.
        keep: what is kept.
        seed: of environments and sampled actions.
        deterministic: take the most probable action.
        lesions: what is done to the agent.
        max_steps: longer episodes are cut off here.
    """
    devices = [model.device] if model.device.type == "cuda" else []
    for number, first in enumerate(range(0, episodes, batch)):
        # Not seed + number: then two neighbouring seeds would have episodes in common.
        own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0] // 2)
        env = make(min(batch, episodes - first), own_seed)
        surgery = Surgery(lesions, env.num_envs)
        with th.random.fork_rng(devices=devices), surgery.installed(model):
            th.manual_seed(own_seed)
            yield _play_round(model, env, keep, surgery, deterministic, max_steps)


def _play_round(
    model: BaseAlgorithm, env: VecEnv, keep: Keep, surgery: Surgery, deterministic: bool, max_steps: int
) -> Round:
    normalize = find_normalize(env)
    probe = Probe(model, env.num_envs, keep.parts)
    rows: list[dict[str, np.ndarray]] = []
    traces: list[np.ndarray | None] = []
    starts = np.ones(env.num_envs, dtype=bool)
    at_reset: list[dict[str, Any]] = []

    def before(t: int, observations: Any, state: Any) -> None:
        if t == 0:
            at_reset.extend(dict(info) for info in env.reset_infos)
        surgery.operate(t, state)
        row: dict[str, np.ndarray] = {}
        if "observations" in keep.parts:
            raw = observations if normalize is None else normalize.get_original_obs()
            row |= _observation_columns(raw)
        row |= probe.look(observations, state, starts)
        rows.append(row)
        if keep.trace_every is not None and t % keep.trace_every == 0:
            # Before the first step the memory is empty: its shape is known after it.
            traces.append(None if state is None else _part(memories(state)[0], keep.trace_units))
        if keep.watch is not None:
            keep.watch()

    alive, now = [], np.ones(env.num_envs, dtype=bool)
    state: Any = None
    for t, step in enumerate(play(model, env, max_steps, deterministic, before)):
        state = step.state
        row = rows[t]
        row |= {"action": step.actions, "reward": step.rewards.astype(np.float64)}
        if "states" in keep.parts:
            row |= probe.state_columns(state)
        row |= {f"info/{key}": _info_column(step.infos, key) for key in keep.info_keys}
        surgery.notice(t, now & (step.rewards > 0))
        alive.append(now)
        starts = step.starts
        now = now & ~step.starts
        if not now.any():
            break
    last = None
    if keep.trace_every is not None:
        last = _part(memories(state)[0], keep.trace_units)
        traces = [np.zeros_like(last) if trace is None else trace for trace in traces]
    return Round(
        alive=np.stack(alive),
        ended=~now,
        columns={name: np.stack([row[name] for row in rows]) for name in rows[0]},
        traces=None if last is None else np.stack(traces),  # type: ignore[arg-type]
        last_trace=last,
        at_reset=at_reset,
    )


def _part(trace: np.ndarray, units: Sequence[int] | None) -> np.ndarray:
    """The trace (B, N, N) between some neurons."""
    return trace if units is None else trace[:, units][:, :, units]


def _observation_columns(observations: Any) -> dict[str, np.ndarray]:
    if isinstance(observations, dict):
        return {f"observation/{key}": np.array(part) for key, part in observations.items()}
    return {"observation": np.array(observations)}


def _info_column(infos: Sequence[dict[str, Any]], key: str) -> np.ndarray:
    """One entry of every info, (B, ...); nan where there is none."""
    found = next((np.asarray(info[key]) for info in infos if key in info), np.asarray(np.nan))
    missing = np.full(found.shape, np.nan)
    if all(key in info for info in infos):
        return np.array([info[key] for info in infos])
    return np.array([np.asarray(info.get(key, missing), dtype=np.float64) for info in infos])
