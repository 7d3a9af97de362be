"""A plastic recurrent layer: the trained tensors around the operator ``plastic_rnn``."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from plastic_rl.arguments import check_choice, check_count, check_open_fraction, check_positive, check_scale
from plastic_rl.ops.plastic_rnn import (
    ACTIVATIONS,
    BACKENDS,
    Activation,
    Backend,
    PlasticParams,
    PlasticState,
    Rule,
    get_rule,
    initial_state,
    plastic_rnn,
    plastic_rnn_step_,
    try_rule,
)

Alpha = Literal["full", "homogeneous", "none"]


class PlasticRNN(nn.Module):
    """Linear drive and plastic recurrent core (Miconi, Stanley & Clune, ICML 2018, Eq. 1 to 3).

    The layer holds no state: it goes in and comes out.

    Args:
        input_size: number of input features F, at least 1.
        hidden_size: number of neurons N, at least 1.
        rule: how the trace changes: ``hebb``, ``oja``, ``modulated``, or one that you have registered with
            ``plastic_rl.register_rule``.
        alpha: ``full``, one trained plasticity per connection; ``homogeneous``, one for all;
            ``none``, no plasticity: a plain recurrent network.
        eta: where the trained learning rate of the trace starts, in (0, 1); not for ``modulated``.
        activation: ``tanh``, ``sigmoid``, ``relu`` or ``linear``.
        backend: of the operator: ``auto``, ``numba`` or ``reference``.
        w_init: w starts uniform in [0, w_init], at least 0.
        alpha_init: alpha starts uniform in [0, alpha_init] (``homogeneous``: at half of it), at least 0.
        trace_clip: bound on the trace, above 0; ``modulated`` and registered rules that ask for it.

    Raises:
        ValueError: an argument outside its range, named.
    """

    eta_logit: nn.Parameter | None
    alpha: nn.Parameter | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int = 200,
        *,
        rule: Rule = "hebb",
        alpha: Alpha = "full",
        eta: float = 0.01,
        activation: Activation = "tanh",
        backend: Backend = "auto",
        w_init: float = 0.01,
        alpha_init: float = 0.01,
        trace_clip: float = 2.0,
    ) -> None:
        super().__init__()
        # SB3's extractors may count in NumPy integers.
        self.input_size = check_count("input_size", input_size)
        self.hidden_size = n = check_count("hidden_size", hidden_size)
        trained = get_rule(rule).parameters
        check_choice("alpha", alpha, get_args(Alpha))
        check_choice("activation", activation, ACTIVATIONS)
        check_choice("backend", backend, BACKENDS)
        check_open_fraction("eta", eta)
        check_scale("w_init", w_init)
        check_scale("alpha_init", alpha_init)

        self.rule = rule
        self.activation = activation
        self.backend = backend
        self.trace_clip = check_positive("trace_clip", trace_clip)

        self.drive = nn.Linear(input_size, n)
        self.w = nn.Parameter(w_init * torch.rand(n, n))
        if alpha == "full":
            self.alpha = nn.Parameter(alpha_init * torch.rand(n, n))
        elif alpha == "homogeneous":
            self.alpha = nn.Parameter(torch.tensor(alpha_init / 2))
        else:
            self.alpha = None
            trained = ()
        # The logit is what is trained, so that eta stays in (0, 1).
        logit = torch.tensor(math.log(eta / (1 - eta)))
        self.eta_logit = nn.Parameter(logit) if "eta" in trained else None
        bound = 1 / math.sqrt(n)
        self.w_m = nn.Parameter(torch.empty(n).uniform_(-bound, bound)) if "w_m" in trained else None
        self.b_m = nn.Parameter(torch.zeros(())) if "b_m" in trained else None
        self.fan_out = nn.Parameter(torch.ones(n)) if "fan_out" in trained else None
        try_rule(self.params())

    @property
    def eta(self) -> Tensor | None:
        """The learning rate of the trace, (), in (0, 1); None where the rule has none."""
        return None if self.eta_logit is None else torch.sigmoid(self.eta_logit)

    def params(self) -> PlasticParams:
        """The operator's parameters; gradients flow through them to this layer's."""
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
        )

    def initial_state(self, batch_size: int) -> PlasticState:
        """Zeros: hidden (B, N) and trace (B, N, N), or (B, 0, 0) without plasticity."""
        return PlasticState(*(part.detach() for part in initial_state(self.params(), batch_size)))

    def forward(
        self, features: Tensor, state: PlasticState, episode_starts: Tensor | None = None
    ) -> tuple[Tensor, PlasticState]:
        """Run a sequence, with gradients.

        features: (T, B, F)
        state: hidden (B, N), trace (B, N, N)
        episode_starts: (T, B)
        returns: y (T, B, N), state after the last step
        """
        return plastic_rnn(self.drive(features), self.params(), state, episode_starts, backend=self.backend)

    def step(
        self, features: Tensor, state: PlasticState, episode_start: Tensor | None = None
    ) -> tuple[Tensor, PlasticState]:
        """One step without gradients; the caller's state is left as it was.

        features: (B, F)
        state: hidden (B, N), trace (B, N, N)
        episode_start: (B,)
        returns: y (B, N), new state
        """
        with torch.no_grad():
            state = state.clone()
            y = plastic_rnn_step_(
                self.drive(features), self.params(), state, episode_start, backend=self.backend
            )
        return y, state

    def extra_repr(self) -> str:
        """What ``print`` shows beside the sub-modules."""
        mode = "none" if self.alpha is None else "full" if self.alpha.dim() == 2 else "homogeneous"
        return f"hidden_size={self.hidden_size}, rule={self.rule}, alpha={mode}, activation={self.activation}"
