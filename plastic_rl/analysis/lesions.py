"""Lesions: what is done to an agent's trace or neurons while it plays, to see what it loses by that.

Activations of other units and trained weights stay as they are. Several lesions go together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor, nn

from plastic_rl.arguments import is_integer
from plastic_rl.policies import PlasticPolicy, PlasticRNN

Effect = Literal["freeze", "wipe", "wipe_once", "forget", "clamp"]
# The step before which it begins, or from when on a reward has been found.
Begin: TypeAlias = int | Literal["first_hit"]


@dataclass(frozen=True)
class Lesion:
    """One lesion of every episode; `freeze`, `wipe`, `wipe_once`, `forget`, `silence` and `clamp` make them.

    Attributes:
        effect: what is done.
        begin: the step before which it begins, at least 0, or ``first_hit``: after the episode's first step
            with a positive reward.
        delay: steps that the agent still takes after its first hit. The hit shows in the observation of the
            next step: after 1 step the reward is part of the trace, after 0 it is not.
        units: of a ``clamp``, the numbers of the neurons.
        values: of a ``clamp``, what each of them is held at.

    Raises:
        ValueError: an attribute outside its range.
    """

    effect: Effect
    begin: Begin = 0
    delay: int = 1
    units: tuple[int, ...] = ()
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.effect not in get_args(Effect):
            raise ValueError(f"effect must be one of {', '.join(get_args(Effect))}, got {self.effect!r}")
        if self.begin != "first_hit" and (not is_integer(self.begin) or self.begin < 0):
            raise ValueError(f"begin must be a step of at least 0 or 'first_hit', got {self.begin!r}")
        if not is_integer(self.delay) or self.delay < 0:
            raise ValueError(f"delay must be an integer of at least 0, got {self.delay!r}")
        if (self.effect == "clamp") != bool(self.units):
            raise ValueError(f"units must be given for clamp and for nothing else, got {self.units!r}")
        if not all(is_integer(unit) and unit >= 0 for unit in self.units):
            raise ValueError(f"units must be numbers of neurons, from 0, got {self.units!r}")
        if len(self.values) != len(self.units) or not np.isfinite(self.values).all():
            raise ValueError(f"values must be a finite number for each of the units, got {self.values!r}")


def freeze(begin: Begin = 0, delay: int = 1) -> Lesion:
    """Keep the trace as it is then. For the arguments see `Lesion`."""
    return Lesion("freeze", begin, delay)


def wipe(begin: Begin = 0, delay: int = 1) -> Lesion:
    """Zero the trace before every step from then on. For the arguments see `Lesion`."""
    return Lesion("wipe", begin, delay)


def wipe_once(begin: Begin = 0, delay: int = 1) -> Lesion:
    """Zero the trace once and let it grow anew. For the arguments see `Lesion`."""
    return Lesion("wipe_once", begin, delay)


def forget(begin: Begin = 0, delay: int = 1) -> Lesion:
    """Zero once what the neurons themselves hold, h and an lstm's c: what is not in the trace is lost.

    For the arguments see `Lesion`.
    """
    return Lesion("forget", begin, delay)


def clamp(units: Sequence[int], values: float | Sequence[float], begin: Begin = 0, delay: int = 1) -> Lesion:
    """Hold neurons of the core at values from then on, for what they feed and for the read-out.

    Args:
        units: the numbers of the neurons, from 0.
        values: one for each, or one for all.
        begin: see `Lesion`.
        delay: see `Lesion`.
    """
    held = np.broadcast_to(np.asarray(values, dtype=np.float64), (len(units),))
    return Lesion("clamp", begin, delay, tuple(units), tuple(held.tolist()))


def silence(units: Sequence[int], begin: Begin = 0, delay: int = 1) -> Lesion:
    """Hold neurons at zero from then on; see `clamp`."""
    return clamp(units, 0.0, begin, delay)


class Surgery:
    """Carries lesions out on B episodes that are played side by side.

    Args:
        lesions: all of them.
        n_envs: B.
    """

    def __init__(self, lesions: Sequence[Lesion], n_envs: int) -> None:
        self.lesions = lesions
        self._begins = [
            np.full(n_envs, np.inf if one.begin == "first_hit" else one.begin, dtype=np.float64)
            for one in lesions
        ]
        self._kept: list[tuple[np.ndarray, ...] | None] = [None] * len(lesions)
        self._core: ClampedCore | None = None

    @contextmanager
    def installed(self, model: BaseAlgorithm) -> Iterator[None]:
        """While inside, the core of the model takes clamps.

        Raises:
            ValueError: it cannot, or has no such neuron.
        """
        clamps = [one for one in self.lesions if one.effect == "clamp"]
        if not clamps:
            yield
            return
        policy: Any = model.policy
        core = policy.core if isinstance(policy, PlasticPolicy) else policy
        if not isinstance(core, PlasticRNN) or not core.runs_plainly():
            raise ValueError(
                "silence and clamp need a PlasticPolicy whose core runs as PlasticRNN does, got "
                f"{type(core).__name__}"
            )
        largest = max(max(one.units) for one in clamps)
        if largest >= core.hidden_size:
            raise ValueError(f"units must be below the core's {core.hidden_size} neurons, got {largest}")
        self._core = ClampedCore(core, len(self._begins[0]))
        policy.core = self._core
        try:
            yield
        finally:
            policy.core = core

    def operate(self, t: int, state: Any) -> None:
        """Do before step t what is due. state: what ``predict`` returned, changed in place; None at first."""
        for i, lesion in enumerate(self.lesions):
            now, active = self._begins[i] == t, self._begins[i] <= t
            if lesion.effect == "clamp":
                assert self._core is not None
                self._core.hold(lesion, torch.as_tensor(now))
            elif state is None:
                continue
            elif lesion.effect == "forget":
                for part in neurons(state):
                    part[now] = 0
            else:
                self._change(i, lesion.effect, memories(state), now, active)

    def _change(
        self, i: int, effect: Effect, traces: tuple[np.ndarray, ...], now: np.ndarray, active: np.ndarray
    ) -> None:
        if effect == "freeze" and self._kept[i] is None:
            self._kept[i] = tuple(np.zeros_like(trace) for trace in traces)
        for k, trace in enumerate(traces):
            if effect == "wipe":
                trace[active] = 0
            elif effect == "wipe_once":
                trace[now] = 0
            else:
                kept = self._kept[i]
                assert kept is not None
                kept[k][now] = trace[now]
                trace[active] = kept[k][active]

    def notice(self, t: int, hit: np.ndarray) -> None:
        """Take note of who was rewarded, (B,) bool, in step t."""
        for lesion, begin in zip(self.lesions, self._begins, strict=True):
            if lesion.begin == "first_hit":
                begin[hit & np.isinf(begin)] = t + 1 + lesion.delay


class ClampedCore(nn.Module):
    """A plastic core in which neurons of some environments are held."""

    clamp: tuple[Tensor, Tensor]

    def __init__(self, core: PlasticRNN, n_envs: int) -> None:
        super().__init__()
        self.core = core
        zeros = core.w.new_zeros(n_envs, core.hidden_size, requires_grad=False)
        self.clamp = zeros, torch.zeros_like(zeros, dtype=torch.bool)

    def hold(self, lesion: Lesion, rows: Tensor) -> None:
        """Hold a lesion's units in these rows, (B,) bool, from now on."""
        values, mask = self.clamp
        for unit, value in zip(lesion.units, lesion.values, strict=True):
            values[rows, unit] = value
            mask[rows, unit] = True

    def initial_state(self, batch_size: int) -> Any:
        """See `RecurrentCore`."""
        return self.core.initial_state(batch_size)

    def step(self, features: Tensor, state: Any, episode_start: Tensor | None = None) -> tuple[Tensor, Any]:
        """See `RecurrentCore`."""
        return self.core.clamped_step(features, state, episode_start, self.clamp)


def neurons(state: Any) -> tuple[np.ndarray, ...]:
    """The neurons' h (B, N), and c (B, N) of an lstm, in what ``predict`` returned as the state.

    Raises:
        ValueError: there is none.
    """
    hidden = getattr(state, "hidden", None)
    if hidden is None:
        raise ValueError("the model has no core of this package: there are no neurons to forget with")
    cell = getattr(state, "cell", hidden[:, :0])
    return (hidden, cell) if cell.size else (hidden,)


def memories(state: Any) -> tuple[np.ndarray, ...]:
    """The trace (B, N, N), and the eligibility where there is one, in what ``predict`` returned as the state.

    Raises:
        ValueError: there is none.
    """
    trace = getattr(state, "trace", None)
    if trace is None or not trace.size:
        raise ValueError("the model has no plastic core: there is no trace to keep or to change")
    eligibility = getattr(state, "eligibility", trace[:, :0])
    return (trace, eligibility) if eligibility.size else (trace,)
