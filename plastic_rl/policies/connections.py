"""The trained tensors of plastic connections between neurons."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from plastic_rl.arguments import check_choice, check_count, check_open_fraction
from plastic_rl.ops.plastic_rnn import (
    ACTIVATIONS,
    Activation,
    Cell,
    PlasticParams,
    Rule,
    get_rule,
    rule_names,
    try_rule,
)

Alpha = Literal["full", "homogeneous", "none"]
InnerUpdates = Literal["every", "last"]


class PlasticWeights(nn.Module):
    """Fixed weights w, plasticities alpha and what the rule trains beside them (ICML 2018, Eq. 1).

    Args:
        w: (I, O), where the weights start.
        alpha: (I, O), () or None, where the plasticities start.
        rule: how the trace changes.
        eta: where the trained learning rate of the trace starts, in (0, 1).
        activation: of the neurons that are fed.
        trace_clip: bound on the trace, for rules that ask for it.
        cell: what the weights are the recurrent ones of, where they are.
        w_gates: where the gates' recurrent weights start, for a gated cell.
        b_u: where the bias inside the reset gate starts, for a ``gru``.
        core_steps: how often in a row the network runs at each step.
        inner_updates: at which of these runs the trace changes.
    """

    alpha: nn.Parameter | None
    eta_logit: nn.Parameter | None
    w_m: nn.Parameter | None
    b_m: nn.Parameter | None
    fan_out: nn.Parameter | None
    w_gates: nn.Parameter | None
    b_u: nn.Parameter | None

    def __init__(
        self,
        w: Tensor,
        alpha: Tensor | None,
        *,
        rule: Rule,
        eta: float,
        activation: Activation = "tanh",
        trace_clip: float = 2.0,
        cell: Cell = "rnn",
        w_gates: Tensor | None = None,
        b_u: Tensor | None = None,
        core_steps: int = 1,
        inner_updates: InnerUpdates = "every",
    ) -> None:
        super().__init__()
        self.cell: Cell = cell
        self.rule = rule
        self.activation: Activation = activation
        self.trace_clip = float(trace_clip)
        self.core_steps = int(core_steps)
        self.inner_updates: InnerUpdates = inner_updates
        self.w = nn.Parameter(w)
        self.w_gates = None if w_gates is None else nn.Parameter(w_gates)
        self.b_u = None if b_u is None else nn.Parameter(b_u)
        self.alpha = None if alpha is None else nn.Parameter(alpha)
        trained = () if alpha is None else get_rule(rule).parameters
        # The logit is what is trained, so that eta stays in (0, 1).
        logit = torch.tensor(math.log(eta / (1 - eta)))
        self.eta_logit = nn.Parameter(logit) if "eta" in trained else None
        n = w.shape[1]
        bound = 1 / math.sqrt(n)
        self.w_m = nn.Parameter(torch.empty(n).uniform_(-bound, bound)) if "w_m" in trained else None
        self.b_m = nn.Parameter(torch.zeros(())) if "b_m" in trained else None
        self.fan_out = nn.Parameter(torch.ones(n)) if "fan_out" in trained else None
        try_rule(self.params())

    @property
    def eta(self) -> Tensor | None:
        """The learning rate of the trace, (), in (0, 1); None where there is none."""
        return None if self.eta_logit is None else torch.sigmoid(self.eta_logit)

    @property
    def plasticity(self) -> Alpha:
        """The form of alpha, as the argument names it."""
        if self.alpha is None:
            return "none"
        return "full" if self.alpha.dim() == 2 else "homogeneous"

    @property
    def runs(self) -> int:
        """How often the operator has to be given each input: runs that change the trace are steps to it."""
        return self.core_steps if self.inner_updates == "every" else 1

    def params(self) -> PlasticParams:
        """The form in which rules and operator take them; gradients flow through to this module's."""
        return PlasticParams(
            w=self.w,
            alpha=self.alpha,
            eta=self.eta,
            rule=self.rule,
            activation=self.activation,
            w_m=self.w_m,
            b_m=self.b_m,
            fan_out=self.fan_out,
            trace_clip=self.trace_clip,
            cell=self.cell,
            w_gates=self.w_gates,
            b_u=self.b_u,
            core_steps=self.core_steps // self.runs,
        )

    def scaled_parameters(self) -> list[nn.Parameter]:
        """The matrices, which learn at a rate of their own; see `RecurrentCore.scaled_parameters`."""
        return [self.w] if self.alpha is None else [self.w, self.alpha]


class PlasticConnections(PlasticWeights):
    """Plastic connections between two groups of neurons, w and alpha starting normal.

    Args:
        inputs: number I of neurons that feed, at least 1.
        outputs: number O of neurons that are fed, at least 1.
        rule: how the trace changes: ``hebb``, ``oja``, or a registered one that has no modulating neuron.
        alpha: ``full``, one trained plasticity per connection; ``homogeneous``, one for all;
            ``none``, no plasticity.
        eta: where the trained learning rate of the trace starts, in (0, 1).
        activation: of the neurons that are fed: ``tanh``, ``sigmoid``, ``relu`` or ``linear``.
        w_std: w starts normal, with mean 0 and this standard deviation of at least 0.
        alpha_mean: the mean of the plasticities at the start.
        alpha_std: their standard deviation, at least 0; a ``homogeneous`` one starts at the mean.

    Raises:
        ValueError: an argument outside its range, named.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        rule: Rule = "hebb",
        alpha: Alpha = "full",
        eta: float = 0.01,
        activation: Activation = "tanh",
        w_std: float = 0.01,
        alpha_mean: float = 0.0,
        alpha_std: float = 0.01,
    ) -> None:
        shape = check_count("inputs", inputs), check_count("outputs", outputs)
        get_rule(rule)
        check_choice("rule", rule, tuple(name for name in rule_names() if _without_modulation(name)))
        check_choice("alpha", alpha, get_args(Alpha))
        check_choice("activation", activation, ACTIVATIONS)
        check_open_fraction("eta", eta)
        w = w_std * torch.randn(shape)
        start = None
        if alpha == "full":
            start = alpha_mean + alpha_std * torch.randn(shape)
        elif alpha == "homogeneous":
            start = torch.tensor(float(alpha_mean))
        super().__init__(w, start, rule=rule, eta=eta, activation=activation)

    def extra_repr(self) -> str:
        """What ``print`` shows beside the sub-modules."""
        inputs, outputs = self.w.shape
        return f"inputs={inputs}, outputs={outputs}, rule={self.rule}, alpha={self.plasticity}"


def _without_modulation(rule: Rule) -> bool:
    """Whether the trace depends on nothing but the two neurons that a connection joins."""
    return set(get_rule(rule).parameters) <= {"eta"}
