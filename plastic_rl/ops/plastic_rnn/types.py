"""What goes into the plastic operator and what it carries from step to step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from torch import Tensor

from plastic_rl.ops.plastic_rnn.state import map_state, take_rows, zero_rows

# The name of a built-in rule, or of one that was given to register_rule.
Rule: TypeAlias = Literal["hebb", "oja", "modulated"] | str
Activation = Literal["tanh", "sigmoid", "relu", "linear"]
# The name of a backend, or "auto" for the first that can run.
Backend: TypeAlias = Literal["auto", "reference", "numba"] | str


class PlasticState(NamedTuple):
    """What the operator carries from one step to the next.

    hidden: (B, N), the activations of the previous step, y_{t-1}
    trace: (B, N, N), the Hebbian trace H_t; (B, 0, 0) for a plain RNN
    """

    hidden: Tensor
    trace: Tensor

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
        eta: (), the learning rate of the trace, in (0, 1); rules ``hebb`` and ``oja``.
        rule: how the trace changes: ``hebb`` (ICML 2018, Eq. 2), ``oja`` (ICML 2018, Eq. 3),
            ``modulated`` (simple neuromodulation, Backpropamine, ICLR 2019), or one that `register_rule`
            has added, which says itself which of the following it uses.
        activation: the nonlinearity sigma of Eq. 1.
        w_m: (N,), weights of the modulating neuron; ``modulated``.
        b_m: (), its bias; ``modulated``.
        fan_out: (N,), how strongly it reaches each neuron; ``modulated``.
        trace_clip: bound on the size of every element of the trace; ``modulated``.
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

    @property
    def n(self) -> int:
        """Number of neurons N."""
        return self.w.shape[0]

    @property
    def plastic(self) -> bool:
        """Whether there is a trace at all."""
        return self.alpha is not None

    def state_shapes(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        """The shape of each part of the state."""
        m = self.n if self.plastic else 0
        return {"hidden": (batch_size, self.n), "trace": (batch_size, m, m)}

    def tensors(self) -> dict[str, Tensor]:
        """The tensors among the parameters, by name: those that this rule and this alpha use."""
        named = {
            "w": self.w,
            "alpha": self.alpha,
            "eta": self.eta,
            "w_m": self.w_m,
            "b_m": self.b_m,
            "fan_out": self.fan_out,
        }
        return {name: tensor for name, tensor in named.items() if tensor is not None}
