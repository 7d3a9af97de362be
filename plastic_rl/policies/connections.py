"""The trained tensors of plastic connections between two groups of neurons."""

from __future__ import annotations

import math
from typing import get_args

import torch
from torch import Tensor, nn

from plastic_rl.arguments import check_choice, check_count, check_open_fraction
from plastic_rl.ops.plastic_rnn import Activation, PlasticParams, Rule, get_rule, rule_names, try_rule
from plastic_rl.policies.plastic_rnn import Alpha


class PlasticConnections(nn.Module):
    """Fixed weights w, plasticities alpha and the trace's learning rate eta (ICML 2018, Eq. 1).

    Args:
        inputs: number I of neurons that feed, at least 1.
        outputs: number O of neurons that are fed, at least 1.
        rule: how the trace changes: ``hebb``, ``oja``, or a registered one that has no modulating neuron.
        alpha: ``full``, one trained plasticity per connection; ``homogeneous``, one for all;
            ``none``, no plasticity.
        eta: where the trained learning rate of the trace starts, in (0, 1).
        w_std: w starts normal, with mean 0 and this standard deviation of at least 0.
        alpha_mean: the mean of the plasticities at the start.
        alpha_std: their standard deviation, at least 0; a ``homogeneous`` one starts at the mean.

    Raises:
        ValueError: an argument outside its range, named.
    """

    alpha: nn.Parameter | None
    eta_logit: nn.Parameter | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        rule: Rule = "hebb",
        alpha: Alpha = "full",
        eta: float = 0.01,
        w_std: float = 0.01,
        alpha_mean: float = 0.0,
        alpha_std: float = 0.01,
    ) -> None:
        super().__init__()
        shape = check_count("inputs", inputs), check_count("outputs", outputs)
        trained = get_rule(rule).parameters
        check_choice("rule", rule, tuple(name for name in rule_names() if _without_modulation(name)))
        check_choice("alpha", alpha, get_args(Alpha))
        check_open_fraction("eta", eta)
        self.rule = rule
        self.w = nn.Parameter(w_std * torch.randn(shape))
        if alpha == "full":
            self.alpha = nn.Parameter(alpha_mean + alpha_std * torch.randn(shape))
        elif alpha == "homogeneous":
            self.alpha = nn.Parameter(torch.tensor(float(alpha_mean)))
        else:
            self.alpha = None
        # The logit is what is trained, so that eta stays in (0, 1).
        logit = torch.tensor(math.log(eta / (1 - eta)))
        plastic = self.alpha is not None
        self.eta_logit = nn.Parameter(logit) if plastic and "eta" in trained else None
        try_rule(self.params())

    @property
    def eta(self) -> Tensor | None:
        """The learning rate of the trace, (), in (0, 1); None where there is none."""
        return None if self.eta_logit is None else torch.sigmoid(self.eta_logit)

    def params(self, activation: Activation = "tanh") -> PlasticParams:
        """The form in which rules and operator take them; gradients flow through to this module's."""
        return PlasticParams(self.w, self.alpha, self.eta, rule=self.rule, activation=activation)

    def extra_repr(self) -> str:
        """What ``print`` shows beside the sub-modules."""
        mode = "none" if self.alpha is None else "full" if self.alpha.dim() == 2 else "homogeneous"
        inputs, outputs = self.w.shape
        return f"inputs={inputs}, outputs={outputs}, rule={self.rule}, alpha={mode}"


def _without_modulation(rule: Rule) -> bool:
    """Whether the trace depends on nothing but the two neurons that a connection joins."""
    return set(get_rule(rule).parameters) <= {"eta"}
