"""The fused GPU backend: float32 on CUDA, in Triton, which is imported only when it is used."""

from __future__ import annotations

import importlib.util
import os
from functools import cached_property
from types import ModuleType

import torch
from torch import Tensor

from plastic_rl.arguments import check_count
from plastic_rl.ops.plastic_rnn.protocols import Refusal, Tape, without_code
from plastic_rl.ops.plastic_rnn.triton.graphs import Graphs
from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState


class TritonBackend:
    """Kernels for the cells, rules and activations that have a code.

    Args:
        trace_spacing: every how many steps a trace is kept for the backward pass, from 1 for all of them; the
            others are computed again. None takes the smallest for which half of the free memory will do.
            ``BACKENDS["triton"].trace_spacing = 4`` holds for what runs from then on.
        cuda_graphs: whether the launches of sequences, of their gradients and of recorded steps are captured
            where the same shapes come again, and replayed at once. What is captured keeps its memory.
            ``BACKENDS["triton"].cuda_graphs = True`` holds for what runs from then on, ``False`` lets go of
            it. Not by default as long as it has only been tried with a stand-in for a GPU.

    Raises:
        ValueError: trace_spacing below 1.
    """

    def __init__(self, trace_spacing: int | None = None, *, cuda_graphs: bool = False) -> None:
        self.trace_spacing = trace_spacing
        self.graphs = Graphs()
        self.cuda_graphs = cuda_graphs

    @property
    def trace_spacing(self) -> int | None:
        """Every how many steps a trace is kept, or None."""
        return self._trace_spacing

    @trace_spacing.setter
    def trace_spacing(self, given: int | None) -> None:
        self._trace_spacing = None if given is None else check_count("trace_spacing", given)

    @property
    def cuda_graphs(self) -> bool:
        """Whether launches are captured and replayed."""
        return self._cuda_graphs

    @cuda_graphs.setter
    def cuda_graphs(self, given: bool) -> None:
        self._cuda_graphs = bool(given)
        if not given:
            self.graphs.clear()

    def _kept_graphs(self) -> Graphs | None:
        return self.graphs if self.cuda_graphs else None

    @cached_property
    def _installed(self) -> bool:
        return importlib.util.find_spec("triton") is not None

    @cached_property
    def _autograd(self) -> ModuleType:
        from plastic_rl.ops.plastic_rnn.triton import autograd

        return autograd

    def can_run(self, x: Tensor, params: PlasticParams) -> Refusal | None:
        """Only float32 on CUDA (the CPU in Triton's interpreter), and what has a code."""
        on_cpu = x.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
        if x.dtype != torch.float32 or not (x.device.type == "cuda" or on_cpu):
            return Refusal(f"takes float32 on CUDA, got {x.dtype} on {x.device}")
        refusal = without_code(params, "has kernels")
        if refusal is None and not self._installed:
            install = "needs the package triton: python -m pip install triton"
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
        """All environments side by side, step after step."""
        options = self.trace_spacing, self._kept_graphs()
        return self._autograd.sequence(x, params, state, episode_starts, clamp, repeats, *options)

    def step(
        self,
        x: Tensor,
        params: PlasticParams,
        state: PlasticState,
        episode_start: Tensor | None,
        clamp: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """One step; the state is overwritten."""
        return self._autograd.step(x, params, state, episode_start, clamp)

    def tape(self, params: PlasticParams, episode_starts: Tensor, y: Tensor) -> Tape:
        """Keeps what the backward pass needs."""
        from plastic_rl.ops.plastic_rnn.triton.tape import TritonTape

        return TritonTape(episode_starts, y, self.trace_spacing, self._kept_graphs())
