"""Whole lifetimes of a trained agent, step by step, with its trace left alone, frozen or wiped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from plastic_rl.analysis.playback import play
from plastic_rl.runs.statistics import normalized_like
from plastic_rl.training.vec_env import has_batched_form, make_vec_env

Effect = Literal["freeze", "wipe", "wipe_once"]


@dataclass(frozen=True)
class Ablation:
    """What is done to the trace within a lifetime, to see what the agent loses by it.

    Attributes:
        effect: ``freeze`` keeps the trace as it is from then on; ``wipe`` zeroes it before every step from
            then on; ``wipe_once`` zeroes it and lets it grow anew. Activations and trained weights stay.
        begin: the step before which it begins, at least 0, or ``first_hit``.
        delay: steps that the agent still takes after its first hit. The hit shows in the observation of the
            next step: after 1 step the reward is part of the trace, after 0 it is not.

    Raises:
        ValueError: an attribute outside its range.
    """

    effect: Effect
    begin: int | Literal["first_hit"] = 0
    delay: int = 1

    def __post_init__(self) -> None:
        if self.effect not in get_args(Effect):
            raise ValueError(f"effect must be one of {', '.join(get_args(Effect))}, got {self.effect!r}")
        if self.begin != "first_hit" and (not isinstance(self.begin, int) or self.begin < 0):
            raise ValueError(f"begin must be a step of at least 0 or 'first_hit', got {self.begin!r}")
        if self.delay < 0:
            raise ValueError(f"delay must be at least 0, got {self.delay}")


@dataclass(frozen=True)
class Lifetimes:
    """What happened in B lifetimes of at most T steps. A hit is a step with a positive reward.

    Attributes:
        rewards: (T, B), nan after the end of a shorter lifetime.
        goals: (B, 2) the goal's row and column, None where the environment reports none.
        positions: (T + 1, B, 2) the agent's rows and columns, from the start to after the last step, -1 after
            the end of a shorter lifetime; None where the environment reports none.
        traces: (T + 1, B, N, N) the trace before every step and after the last one, if they were asked for.
        frames: T pictures (height, width, 3) uint8 of the only lifetime, one before every step, if they were
            asked for. (After the last step the environment already shows the next lifetime.)
    """

    rewards: np.ndarray
    goals: np.ndarray | None = None
    positions: np.ndarray | None = None
    traces: np.ndarray | None = None
    frames: list[np.ndarray] | None = None

    @property
    def returns(self) -> np.ndarray:
        """(B,), the sum of rewards of each lifetime."""
        return np.nansum(self.rewards, axis=0)

    @property
    def second_half_returns(self) -> np.ndarray:
        """(B,), the sum of the rewards from step T // 2 on."""
        return np.nansum(self.rewards[len(self.rewards) // 2 :], axis=0)

    @property
    def hits(self) -> np.ndarray:
        """(T, B), true at every hit."""
        return self.rewards > 0

    @property
    def first_hits(self) -> np.ndarray:
        """(B,), the step of the first hit, counted from 0; T where there was none."""
        return np.where(self.hits.any(axis=0), self.hits.argmax(axis=0), len(self.rewards))

    def search_times(self, hits: int) -> np.ndarray:
        """Steps that each of the first hits took, counted from the hit before it or from the start.

        Args:
            hits: how many hits K to look at, at least 1.

        Returns:
            (K, B), inf where the lifetime ended first.
        """
        if hits < 1:
            raise ValueError(f"hits must be at least 1, got {hits}")
        times = np.full((hits, self.rewards.shape[1]), np.inf)
        for i, column in enumerate(self.hits.T):
            steps = np.flatnonzero(column)[:hits] + 1
            times[: len(steps), i] = np.diff(steps, prepend=0)
        return times

    def around_first_hit(self, before: int, after: int) -> np.ndarray:
        """Rewards aligned at the first hit: (before + 1 + after, B), nan where there was no such step."""
        padded = np.full((before + len(self.rewards) + after, self.rewards.shape[1]), np.nan)
        padded[before : before + len(self.rewards)] = self.rewards
        rows = self.first_hits + np.arange(before + 1 + after)[:, None]
        aligned = padded[np.minimum(rows, len(padded) - 1), np.arange(padded.shape[1])]
        aligned[:, ~self.hits.any(axis=0)] = np.nan
        return aligned


def record_lifetimes(
    model: BaseAlgorithm,
    env_id: str,
    env_kwargs: dict[str, Any] | None = None,
    *,
    episodes: int = 256,
    seed: int = 0,
    deterministic: bool = False,
    ablation: Ablation | None = None,
    keep_traces: bool = False,
    keep_frames: bool = False,
    max_steps: int = 10_000,
    batch: int = 64,
) -> Lifetimes:
    """Play whole lifetimes, each from an empty memory, and keep what happened at every step.

    Args:
        model: any Stable-Baselines3 model; an ablation or traces need one with a plastic core.
        env_id: the environment to play on.
        env_kwargs: its arguments.
        episodes: number of lifetimes B, at least 1.
        seed: of environments and sampled actions; the same seed gives the same lifetimes, and the same start
            and goal under every ablation. torch's global random state is left as it was.
        deterministic: take the most probable action; otherwise actions are sampled, as in training.
        ablation: what to do to the trace; None leaves it alone.
        keep_traces: keep the trace of every step, ``(T + 1) * B * N * N * 4`` bytes.
        keep_frames: keep a picture of every step; one lifetime only.
        max_steps: longer lifetimes are cut off here, at least 1.
        batch: lifetimes played at a time, at least 1.

    Raises:
        ValueError: an argument outside its range, or a model without a trace where one is needed.
    """
    for name, value in {"episodes": episodes, "max_steps": max_steps, "batch": batch}.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if keep_frames and episodes != 1:
        raise ValueError(f"keep_frames needs episodes=1, got {episodes}")
    env_kwargs = {**({"render_mode": "rgb_array"} if keep_frames else {}), **(env_kwargs or {})}
    if not keep_frames and has_batched_form(env_id, None):
        # A batch that might be asked for pictures would keep every maze's path.
        env_kwargs = {"render_mode": None, **env_kwargs}
    parts = []
    for number, first in enumerate(range(0, episodes, batch)):
        n_envs = min(batch, episodes - first)
        # Not seed + number: then two neighbouring seeds would have lifetimes in common.
        own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0] // 2)
        env = make_vec_env(env_id, n_envs, seed=own_seed, env_kwargs=env_kwargs)
        env = normalized_like(model.get_env(), env)
        devices = [model.device] if model.device.type == "cuda" else []
        try:
            with th.random.fork_rng(devices=devices):
                th.manual_seed(own_seed)
                parts.append(_play(model, env, deterministic, ablation, keep_traces, keep_frames, max_steps))
        finally:
            env.close()
    return joined(parts)


class _Surgery:
    """Carries an ablation out on the traces of B lifetimes."""

    def __init__(self, ablation: Ablation, n_envs: int) -> None:
        self.ablation = ablation
        at_hit = ablation.begin == "first_hit"
        self.begin = np.full(n_envs, np.inf if at_hit else ablation.begin)
        self.kept: np.ndarray | None = None

    def operate(self, t: int, trace: np.ndarray) -> None:
        """Change the trace (B, N, N) before step t, in place."""
        now, active = self.begin == t, self.begin <= t
        if self.ablation.effect == "wipe":
            trace[active] = 0
        elif self.ablation.effect == "wipe_once":
            trace[now] = 0
        else:
            self.kept = np.zeros_like(trace) if self.kept is None else self.kept
            self.kept[now] = trace[now]
            trace[active] = self.kept[active]

    def notice(self, t: int, hit: np.ndarray) -> None:
        """Take note of who hit, (B,) bool, in step t."""
        if self.ablation.begin == "first_hit":
            self.begin[hit & np.isinf(self.begin)] = t + 1 + self.ablation.delay


def _play(
    model: BaseAlgorithm,
    env: VecEnv,
    deterministic: bool,
    ablation: Ablation | None,
    keep_traces: bool,
    keep_frames: bool,
    max_steps: int,
) -> Lifetimes:
    """One lifetime in each of the environments."""
    n_envs = env.num_envs
    surgery = None if ablation is None else _Surgery(ablation, n_envs)
    goals: np.ndarray | None = None
    positions: list[np.ndarray | None] = []
    traces: list[np.ndarray] = []
    frames: list[np.ndarray] = []

    def before(t: int, _: Any, state: Any) -> None:
        nonlocal goals
        if t == 0:
            goals = _column(env.reset_infos, "goal")
            positions.append(_column(env.reset_infos, "position"))
        if state is not None and surgery is not None:
            surgery.operate(t, _trace(state))
        if state is not None and keep_traces:
            traces.append(_trace(state).copy())
        if keep_frames:
            frames.append(_picture(env))

    alive = np.ones(n_envs, dtype=bool)
    rewards: list[np.ndarray] = []
    state: Any = None
    for t, step in enumerate(play(model, env, max_steps, deterministic, before)):
        state = step.state
        rewards.append(np.where(alive, step.rewards.astype(np.float64), np.nan))
        if surgery is not None:
            surgery.notice(t, alive & (step.rewards > 0))
        place = _column(step.infos, "position")
        positions.append(None if place is None else np.where(alive[:, None], place, -1))
        alive &= ~step.starts
        if not alive.any():
            break
    if keep_traces:
        last = _trace(state)
        # Before the first step the memory is empty.
        traces = [np.zeros_like(last), *traces, last]
    return Lifetimes(
        rewards=np.stack(rewards),
        goals=goals,
        positions=None if goals is None else np.stack(positions),  # type: ignore[arg-type]
        traces=np.stack(traces) if keep_traces else None,
        frames=frames if keep_frames else None,
    )


def _trace(state: Any) -> np.ndarray:
    """The trace (B, N, N) in what ``predict`` returned as the state."""
    trace = getattr(state, "trace", None)
    if trace is None or not trace.size:
        raise ValueError("the model has no plastic core: there is no trace to keep or to change")
    return trace


def _column(infos: Any, key: str) -> np.ndarray | None:
    """One entry of every info, (B, ...), or None where the environment has no such entry."""
    return np.array([info[key] for info in infos]) if all(key in info for info in infos) else None


def _picture(env: VecEnv) -> np.ndarray:
    (picture,) = env.get_images()
    assert picture is not None
    return np.asarray(picture, dtype=np.uint8)


def joined(parts: Sequence[Lifetimes]) -> Lifetimes:
    """Several batches of lifetimes as one; the shorter ones are filled up."""
    if len(parts) == 1:
        return parts[0]
    steps = max(len(part.rewards) for part in parts)

    def stacked(arrays: list[Any], length: int | None = None, fill: float = 0) -> Any:
        if any(array is None for array in arrays):
            return None
        if length is None:
            return np.concatenate(arrays)
        full = [
            np.pad(a, [(0, length - len(a)), *[(0, 0)] * (a.ndim - 1)], constant_values=fill) for a in arrays
        ]
        return np.concatenate(full, axis=1)

    return Lifetimes(
        rewards=stacked([part.rewards for part in parts], steps, np.nan),
        goals=stacked([part.goals for part in parts]),
        positions=stacked([part.positions for part in parts], steps + 1, -1),
        traces=stacked([part.traces for part in parts], steps + 1),
    )
