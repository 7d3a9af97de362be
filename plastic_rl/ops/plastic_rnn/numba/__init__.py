"""The fused CPU backend: float32, compiled with numba, which is imported only when it is used."""

from __future__ import annotations

import importlib.util
from functools import cached_property
from types import ModuleType

import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn.cells import get_cell
from plastic_rl.ops.plastic_rnn.protocols import Refusal, Tape, without_code
from plastic_rl.ops.plastic_rnn.rules import get_rule
from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState


class NumbaBackend:
    """Compiled kernels for the cells, rules and activations that have a code."""

    @cached_property
    def _installed(self) -> bool:
        return importlib.util.find_spec("numba") is not None

    @cached_property
    def _autograd(self) -> ModuleType:
        from plastic_rl.ops.plastic_rnn.numba import autograd  # compiles nothing, but numba is slow to import

        return autograd

    @cached_property
    def _gated(self) -> ModuleType:
        from plastic_rl.ops.plastic_rnn.numba import gated

        return gated

    def _forms(self, params: PlasticParams) -> ModuleType:
        one_trace = params.plastic and not get_rule(params.rule).eligibility
        return self._autograd if one_trace and not get_cell(params.cell).gates else self._gated

    def can_run(self, x: Tensor, params: PlasticParams) -> Refusal | None:
        """Only float32 on the CPU, and what has a code."""
        if x.dtype != torch.float32 or x.device.type != "cpu":
            return Refusal(f"takes float32 on the CPU, got {x.dtype} on {x.device}")
        refusal = without_code(params, "is compiled")
        if refusal is None and not self._installed:
            install = "needs the package numba: python -m pip install numba"
            refusal = Refusal(install, RuntimeError, remedy="", avoidable=True)
        return refusal

    def sequence(
        self,
        x: Tensor,
        params: PlasticParams,
        state: PlasticState,
        episode_starts: Tensor | None,
        clamp: tuple[Tensor, Tensor] | None,
        repeats: Tensor | None,
    ) -> tuple[Tensor, PlasticState]:
        """Every environment through all its steps, in the cache of one core."""
        return self._forms(params).sequence(x, params, state, episode_starts, clamp, repeats)

    def step(
        self,
        x: Tensor,
        params: PlasticParams,
        state: PlasticState,
        episode_start: Tensor | None,
        clamp: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """One step on row-major matrices."""
        return self._forms(params).step(x, params, state, episode_start, clamp)

    def tape(self, params: PlasticParams, episode_starts: Tensor, y: Tensor) -> Tape:
        """Keeps what the backward pass needs, traces now and then."""
        from plastic_rl.ops.plastic_rnn.numba import gated_tape, tape

        if not params.plastic:
            return gated_tape.PlainTape(params, episode_starts, y)
        if get_rule(params.rule).eligibility:
            return gated_tape.RetroactiveTape(episode_starts, y)
        if get_cell(params.cell).gates:
            return gated_tape.GatedTape(episode_starts, y)
        return tape.NumbaTape(episode_starts, y)
