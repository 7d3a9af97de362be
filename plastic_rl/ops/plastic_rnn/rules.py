"""The plasticity rules.

Every rule is an affine map of each column of the trace (row i feeds, column j is fed):

    H_{t+1,ij} = clip(d_tj H_t,ij + g_tj y_{t-1,i})

so a rule is two vectors computed from the new activations: the decay d and the gain g, both (B, N).
"""

from __future__ import annotations

import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn.types import Activation, PlasticParams


def activate(pre: Tensor, activation: Activation) -> Tensor:
    """Apply the nonlinearity sigma of Eq. 1, elementwise."""
    if activation == "tanh":
        return torch.tanh(pre)
    if activation == "sigmoid":
        return torch.sigmoid(pre)
    if activation == "relu":
        return torch.relu(pre)
    return pre


def decay_and_gain(y: Tensor, params: PlasticParams) -> tuple[Tensor, Tensor]:
    """Decay d and gain g of the trace, each (B, N), from the new activations y (B, N).

    hebb       d = 1 - eta          g = eta y            ICML 2018, Eq. 2
    oja        d = 1 - eta y^2      g = eta y            ICML 2018, Eq. 3
    modulated  d = 1                g = M y, with M = fan_out tanh(y . w_m + b_m)    ICLR 2019
    """
    if params.rule == "modulated":
        assert params.w_m is not None
        assert params.b_m is not None
        assert params.fan_out is not None
        signal = torch.tanh(y @ params.w_m + params.b_m).unsqueeze(-1)
        return torch.ones_like(y), params.fan_out * signal * y
    assert params.eta is not None
    if params.rule == "oja":
        return 1 - params.eta * y**2, params.eta * y
    return (1 - params.eta).expand_as(y), params.eta * y


def trace_bound(params: PlasticParams) -> float | None:
    """The bound that the rule puts on every element of the trace, or None."""
    return params.trace_clip if params.rule == "modulated" else None
