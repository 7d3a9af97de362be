"""The way back through a sequence. A step is two launches, and with gates a matrix product.

This module imports triton: it is imported only when the backend is used.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from plastic_rl.ops.plastic_rnn.triton import memory, neurons, traces
from plastic_rl.ops.plastic_rnn.triton.forward import Kept, settle
from plastic_rl.ops.plastic_rnn.triton.memory import Network, Weights


class Backward:
    """The gradients of one sequence.

    Args:
        network, weights, kept: of its forward pass.
        spacing: with which it kept traces.
        outgoing: the gradients of y and of the final state's parts, None for zero.
    """

    def __init__(
        self,
        network: Network,
        weights: Weights,
        kept: Kept,
        spacing: int,
        outgoing: tuple[Tensor | None, ...],
    ) -> None:
        self.network, self.weights, self.kept, self.spacing = network, weights, kept, spacing
        self.steps, self.batch, self.n = kept.y.shape
        inner_steps, width = len(kept.pre), self.n
        y = kept.y
        dy, dhidden, dtrace, dcell, dsecond = outgoing
        self.dy = torch.zeros_like(y) if dy is None else dy.contiguous()
        self.turn = 0
        self.direct, self.dcell = y.new_empty(2, *y.shape[1:]), y.new_empty(2, *kept.cells.shape[1:])
        for row, given in ((self.direct[0], dhidden), (self.dcell[0], dcell if network.memory else None)):
            row.zero_() if given is None else row.copy_(given)
        self.du = torch.empty_like(kept.pre)
        self.dgates = torch.empty_like(kept.gates)
        gated = network.gates > 0
        self.dx = y.new_empty(inner_steps, self.batch, (1 + network.gates) * width) if gated else self.du
        shape = (self.steps, self.batch) if network.plastic else (0,)
        self.deta, self.signal = y.new_empty(shape), y.new_empty(shape)
        self.dfan = y.new_empty(*shape, width)

        blocks = memory.BACK
        rows, columns = triton.cdiv(width, blocks.rows), triton.cdiv(width, blocks.columns)
        groups = triton.cdiv(self.batch, blocks.environments)
        self.grid = rows, columns, groups
        # Through the read-out, and then through the gates.
        self.sent_back = y.new_empty((columns if network.plastic else 1) + gated, self.batch, width)
        if not network.plastic:
            return
        parts = y.new_empty(3 if network.second else 2, rows, self.batch, width)
        self.gains, self.decays, self.sents = parts[0], parts[1], parts[-1]
        self.dalpha = y.new_zeros(groups, width, width)
        # Without a gradient of the final traces the first launch writes them without reading.
        self.zero = dtrace is None and dsecond is None
        self.up = _own(dtrace, y, (self.batch, width, width), self.zero)
        self.up_second = _own(dsecond, y, (self.batch if network.second else 0, width, width), self.zero)
        self.window = -1
        slots = spacing if spacing > 1 else 0
        self.slots = (
            y.new_empty(slots, *self.up.shape),
            y.new_empty(slots if network.second else 0, *self.up.shape),
        )

    def run(self) -> dict[str, Tensor]:
        """The gradient of every tensor that there may be, by name."""
        k, network = self.network.core_steps, self.network
        sums = network.plastic and not self.zero
        if sums:
            self._matrices(self.steps, len(self.du), read=False)
        for m in reversed(range(len(self.du))):
            t, s = divmod(m, k)
            last = s == k - 1
            self._neurons(t, m, sums=sums and last)
            if network.gates:
                torch.mm(self.dgates[m], self.weights.w_gates.t(), out=self.sent_back[-1])
            if network.plastic:
                self._matrices(t, m, read=True)
                sums = True
            else:
                torch.mm(self.du[m], self.weights.w.t(), out=self.sent_back[0])
        return self._gradients()

    def _neurons(self, t: int, m: int, *, sums: bool) -> None:
        kept, network, weights = self.kept, self.network, self.weights
        k = network.core_steps
        last = m % k == k - 1
        parts = (self.gains, self.decays, self.sents) if network.plastic else (self.du,) * 3
        neurons.fire_back[(self.batch,)](
            self.dy, self.sent_back, len(self.sent_back), self.direct, self.dcell, self.turn,
            *parts, self.grid[0], kept.pre, kept.cells, kept.posts,
            kept.y if last else kept.pre, t if last else m + 1,
            kept.gates, kept.inner, kept.masks, kept.starts,
            weights.eta, weights.w_m, weights.b_m, weights.fan_out,
            self.du, self.dx, self.dgates, self.deta, self.signal, self.dfan, t, m, self.batch, self.n,
            CELL=network.cell, ACT=network.activation, RULE=network.rule, CLAMPED=kept.masks.numel() > 0,
            FRESH=m % k == 0, LAST=last, CARRIED=m < len(self.du) - 1, SUMS=sums,
            NP=triton.next_power_of_2(self.n), num_warps=4, enable_fp_fusion=True,
        )  # fmt: skip
        self.turn = 1 - self.turn

    def _matrices(self, t: int, m: int, *, read: bool) -> None:
        kept, network, weights, blocks = self.kept, self.network, self.weights, memory.BACK
        k = network.core_steps
        traces.back[self.grid](
            *self._trace(max(t - 1, 0)), kept.decay, kept.gain, kept.sent, kept.pre, t * k - 1, self.du,
            kept.starts, weights.w, weights.alpha, self.up, self.up_second, self.sent_back, self.gains,
            self.decays, self.sents, self.dalpha, network.clip, t, m, self.batch, self.n, blocks.environments,
            READ=read, LAST=m % k == k - 1, FRESH=m % k == 0, UPDATE=t > 0, ZERO=self.zero,
            CLIP=network.clipped, SECOND=network.second, BI=blocks.rows, BJ=blocks.columns,
            num_warps=blocks.warps, enable_fp_fusion=True,
        )  # fmt: skip
        self.zero = False

    def _trace(self, t: int) -> tuple[Tensor, Tensor, int]:
        """H_t and its second trace, with their slot; what was not kept is rolled forward by windows."""
        kept, k = self.kept, self.spacing
        if k == 1:
            return kept.traces, kept.seconds, t
        window, slot = divmod(t, k)
        if window != self.window:
            self.window = window
            for slots, stored in zip(self.slots, (kept.traces, kept.seconds), strict=True):
                if stored.numel():
                    slots[0].copy_(stored[window])
            for r in range(1, slot + 1):  # going back, the last of a window is asked for first
                settle(self.network, kept, (*self.slots, r - 1), (*self.slots, r), window * k + r, reset=True)
        return *self.slots, slot

    def _gradients(self) -> dict[str, Tensor]:
        kept, network = self.kept, self.network
        k = network.core_steps
        start = kept.starts[0].bool().unsqueeze(1)
        hidden = self.sent_back.sum(0) + self.direct[self.turn]
        read = kept.pre.flatten(0, 1).t()
        found = {
            "x": self.dx if k == 1 else self.dx.unflatten(0, (-1, k)).sum(1),
            "hidden": hidden.masked_fill(start, 0.0),
            "w": read @ self.du.flatten(0, 1),
        }
        if network.gates:
            found["w_gates"] = read @ self.dgates.flatten(0, 1)
            found["b_u"] = self.du.sum((0, 1))
        if network.memory:
            found["cell"] = self.dcell[self.turn].masked_fill(start, 0.0)
        if not network.plastic:
            return found
        if network.second:
            found["eligibility"] = self.up_second
        return found | {
            "trace": self.up,
            "alpha": self.dalpha.sum(0),
            "eta": self.deta.sum(),
            "w_m": self.signal.flatten() @ kept.y.flatten(0, 1),
            "b_m": self.signal.sum(),
            "fan_out": self.dfan.sum((0, 1)),
        }


def _own(given: Tensor | None, like: Tensor, shape: tuple[int, ...], unread: bool) -> Tensor:
    """Dense memory with the numbers that are given, or with zeros where they are read."""
    if given is not None and given.numel():
        return given.clone(memory_format=torch.contiguous_format)
    return like.new_empty(shape) if unread else like.new_zeros(shape)
