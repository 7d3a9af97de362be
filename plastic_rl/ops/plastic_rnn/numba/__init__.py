"""The fused CPU backend: float32, compiled with numba, which is imported only when it is used."""

from __future__ import annotations

import importlib.util
from functools import cached_property
from types import ModuleType

import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn.cells import CELLS, get_cell
from plastic_rl.ops.plastic_rnn.protocols import Refusal, Tape
from plastic_rl.ops.plastic_rnn.rules import RULES, find_rule, get_rule
from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState


class NumbaBackend:
    """Compiled kernels for the cells and the rules that have a code."""

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
        """Only float32 on the CPU, and the cells and rules that have a code."""
        if x.dtype != torch.float32 or x.device.type != "cpu":
            return Refusal(f"takes float32 on the CPU, got {x.dtype} on {x.device}")
        # Names that nobody knows are refused when the arguments are checked.
        rule, cell = find_rule(params.rule), CELLS.get(params.cell)
        if rule is not None and rule.code is None:
            fused = ", ".join(name for name, rule in RULES.items() if rule.code is not None)
            return Refusal(f"is compiled for the rules {fused}, got {params.rule!r}", avoidable=True)
        if cell is not None and cell.code is None:
            fused = ", ".join(name for name, cell in CELLS.items() if cell.code is not None)
            return Refusal(f"is compiled for the cell {fused}, got {params.cell!r}", avoidable=True)
        if not self._installed:
            install = "needs the package numba: python -m pip install numba"
            return Refusal(install, RuntimeError, remedy="", avoidable=True)
        return None

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
