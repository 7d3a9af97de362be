"""What goes into the plastic operator and what it carries from step to step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from torch import Tensor

from plastic_rl.ops.plastic_rnn.state import map_state, take_rows, zero_rows

# The name of a built-in rule, or of one that was given to register_rule.
Rule: TypeAlias = Literal["hebb", "oja", "modulated", "retroactive"] | str
Cell = Literal["rnn", "gru", "lstm"]
Activation = Literal["tanh", "sigmoid", "relu", "linear"]
# The name of a backend, or "auto" for the first that can run.
Backend: TypeAlias = Literal["auto", "reference", "numba", "triton"] | str


class _Parts(NamedTuple):
    hidden: Tensor
    trace: Tensor
    cell: Tensor
    eligibility: Tensor


class PlasticState(_Parts):
    """What the operator carries from one step to the next.

    ``cell`` and ``eligibility`` may be left out where the network has none.

    hidden: (B, N), the activations of the previous step, y_{t-1}, or h of a gated cell
    trace: (B, N, N), the Hebbian trace H_t; (B, 0, 0) without plasticity
    cell: (B, N), c of an ``lstm``; (B, 0) in other cells
    eligibility: (B, N, N), the second trace E_t of the rule ``retroactive``; (B, 0, 0) with other rules
    """

    __slots__ = ()

    def __new__(
        cls, hidden: Tensor, trace: Tensor, cell: Tensor | None = None, eligibility: Tensor | None = None
    ) -> PlasticState:
        """Fill in empty parts."""
        if cell is None:
            cell = hidden[:, :0]
        if eligibility is None:
            eligibility = trace[:, :0, :0]
        return super().__new__(cls, hidden, trace, cell, eligibility)

    def map(self, function: Callable[[Tensor], Any]) -> PlasticState:
        """The state with ``function(tensor)`` in the place of every tensor."""
        return map_state(function, self)

    def detach(self) -> PlasticState:
        """The same numbers, cut off from the graph: where back-propagation through time ends."""
        return self.map(Tensor.detach)

    def clone(self) -> PlasticState:
        """A copy with memory of its own."""
        return self.map(Tensor.clone)

    def rows(self, index: Any) -> PlasticState:
        """A copy of the state of some environments. index: (K,) integers."""
        return take_rows(self, index)

    def zeroed(self, where: Tensor) -> PlasticState:
        """The state with zeros in the rows in which an episode starts. where: (B,), bool."""
        return zero_rows(self, where)

    def to_numpy(self) -> PlasticState:
        """The same NamedTuple holding NumPy arrays, for callers that live outside torch."""
        return self.map(lambda part: part.detach().cpu().numpy())


@dataclass(frozen=True)
class PlasticParams:
    """Everything of the operator that is shared by the batch.

    Which form of plasticity runs follows from ``alpha``: (N, N) gives every connection its own plasticity,
    a scalar one to all of them, None is a plain recurrent network without a trace.

    Args:
        w: (N, N), fixed weights; column j feeds neuron j.
        alpha: (N, N), () or None, the plasticity of each connection.
        eta: (), the learning rate of the trace, in (0, 1); all built-in rules but ``modulated``.
        rule: how the trace changes: ``hebb`` (ICML 2018, Eq. 2), ``oja`` (ICML 2018, Eq. 3),
            ``modulated`` and ``retroactive`` (simple and retroactive neuromodulation, Backpropamine, ICLR
            2019), or one that `register_rule` has added, which says itself which of the following it uses.
        activation: the nonlinearity sigma of Eq. 1, in a gated cell that of the candidate.
        w_m: (N,), weights of the modulating neuron; ``modulated``, ``retroactive``.
        b_m: (), its bias; ``modulated``, ``retroactive``.
        fan_out: (N,), how strongly it reaches each neuron; ``modulated``, ``retroactive``.
        trace_clip: bound on the size of every element of the trace; ``modulated``, ``retroactive``.
        cell: ``rnn`` (Eq. 1), ``gru`` or ``lstm``, in which w, alpha and trace are those of the candidate.
        w_gates: (N, 2 N) of a ``gru``, for its gates r, z; (N, 3 N) of an ``lstm``, for i, f, o.
        b_u: (N,), of a ``gru``: the bias inside the reset gate. All other biases are the drive's.
        core_steps: how often in a row the network runs at each step, at least 1, with the same input drive
            and clamp. The output is that of the last of these inner steps, and only there the trace changes,
            by the last two activations: the inner steps before recall. With more than one, what is seen now
            addresses the trace before the output is due. An episode starts at the first.
    """

    w: Tensor
    alpha: Tensor | None = None
    eta: Tensor | None = None
    rule: Rule = "hebb"
    activation: Activation = "tanh"
    w_m: Tensor | None = None
    b_m: Tensor | None = None
    fan_out: Tensor | None = None
    trace_clip: float = 2.0
    cell: Cell = "rnn"
    w_gates: Tensor | None = None
    b_u: Tensor | None = None
    core_steps: int = 1

    @property
    def n(self) -> int:
        """Number of neurons N."""
        return self.w.shape[0]

    @property
    def plastic(self) -> bool:
        """Whether there is a trace at all."""
        return self.alpha is not None

    def tensors(self) -> dict[str, Tensor]:
        """The tensors among the parameters, by name: those that this rule and this alpha use."""
        named = {
            "w": self.w,
            "alpha": self.alpha,
            "eta": self.eta,
            "w_m": self.w_m,
            "b_m": self.b_m,
            "fan_out": self.fan_out,
            "w_gates": self.w_gates,
            "b_u": self.b_u,
        }
        return {name: tensor for name, tensor in named.items() if tensor is not None}
