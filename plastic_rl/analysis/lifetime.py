"""Whole lifetimes of a trained agent: what it found and where it was, also with lesions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from plastic_rl.analysis.lesions import Lesion
from plastic_rl.analysis.rounds import Keep, Round, play_rounds
from plastic_rl.arguments import check_count
from plastic_rl.runs.statistics import normalized_like
from plastic_rl.training.vec_env import has_batched_form, make_vec_env


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
    lesions: Lesion | Sequence[Lesion] = (),
    keep_traces: bool = False,
    keep_frames: bool = False,
    max_steps: int = 10_000,
    batch: int = 64,
) -> Lifetimes:
    """Play whole lifetimes, each from an empty memory, and keep what counts in them, side by side.

    What else happens in an agent at every step, on any environment: `plastic_rl.analysis.record_activity`.

    Args:
        model: any Stable-Baselines3 model; lesions or traces need one with a plastic core.
        env_id: the environment to play on.
        env_kwargs: its arguments.
        episodes: number of lifetimes B, at least 1.
        seed: of environments and sampled actions; the same seed gives the same lifetimes, and the same start
            and goal under every lesion. torch's global random state is left as it was.
        deterministic: take the most probable action; otherwise actions are sampled, as in training.
        lesions: what is done to the agent, see `plastic_rl.analysis.lesions`.
        keep_traces: keep the trace of every step, ``(T + 1) * B * N * N * 4`` bytes.
        keep_frames: keep a picture of every step; one lifetime only.
        max_steps: longer lifetimes are cut off here, at least 1.
        batch: lifetimes played at a time, at least 1.

    Raises:
        ValueError: an argument outside its range, or a model without a trace where one is needed.
    """
    check_count("episodes", episodes)
    if keep_frames and episodes != 1:
        raise ValueError(f"keep_frames needs episodes=1, got {episodes}")
    env_kwargs = {**({"render_mode": "rgb_array"} if keep_frames else {}), **(env_kwargs or {})}
    if not keep_frames and has_batched_form(env_id, None):
        # A batch that might be asked for pictures would keep every maze's path.
        env_kwargs = {"render_mode": None, **env_kwargs}
    envs: list[VecEnv] = []
    frames: list[np.ndarray] = []

    def make(n_envs: int, own_seed: int) -> VecEnv:
        for env in envs:
            env.close()
        env = make_vec_env(env_id, n_envs, seed=own_seed, env_kwargs=env_kwargs)
        envs[:] = [normalized_like(model.get_env(), env)]
        return envs[0]

    keep = Keep(
        info_keys=("goal", "position"),
        trace_every=1 if keep_traces else None,
        watch=(lambda: frames.append(_picture(envs[0]))) if keep_frames else None,
    )
    try:
        rounds = play_rounds(
            model,
            make,
            episodes,
            check_count("batch", batch),
            keep,
            seed=seed,
            deterministic=deterministic,
            lesions=[lesions] if isinstance(lesions, Lesion) else list(lesions),
            max_steps=check_count("max_steps", max_steps),
        )
        whole = joined([_lifetimes(one) for one in rounds])
    finally:
        for env in envs:
            env.close()
    return replace(whole, frames=frames if keep_frames else None)


def _lifetimes(one: Round) -> Lifetimes:
    """What counts in a round."""
    goals, start = _column(one.at_reset, "goal"), _column(one.at_reset, "position")
    positions = None
    if goals is not None and start is not None:
        places = np.where(one.alive[..., None], one.columns["info/position"], -1)
        positions = np.concatenate([start[None], places])
    traces = None
    if one.traces is not None and one.last_trace is not None:
        traces = np.concatenate([one.traces, one.last_trace[None]])
    return Lifetimes(
        rewards=np.where(one.alive, one.columns["reward"], np.nan),
        goals=goals,
        positions=positions,
        traces=traces,
    )


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
