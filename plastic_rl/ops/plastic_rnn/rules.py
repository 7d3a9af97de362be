"""The plasticity rules: those that are built in, and those that a user registers.

A rule is an affine map of each column of the trace (row i feeds, column j is fed):

    H_{t+1,ij} = clip(d_tj H_t,ij + g_tj y_{t-1,i})

so a rule is two vectors computed from the new activations: the decay d and the gain g, both (B, N). The one
exception, ``retroactive``, has a second trace and an update of its own. In a gated cell y_{t-1} is the hidden
state that the step has read and y the candidate.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn.types import Activation, PlasticParams, Rule

RuleFunction = Callable[..., tuple[Tensor, Tensor]]

# What a rule may have of its own, all of it trained.
_PARAMETERS = ("eta", "w_m", "b_m", "fan_out")


@dataclass(frozen=True)
class RuleDefinition:
    """All that is known about a rule: everything that runs, packs or differentiates one asks here.

    Args:
        name: what users call it.
        decay_and_gain, parameters, trace_clip: see `register_rule`.
        smallest_decay: of any update, from the parameters and a bound on the size of all activations, so that
            backends know for how many updates the trace can be computed backwards; None where it cannot be.
        code: the number by which the fused kernels know the rule, None where they do not.
        reads_hidden: see `register_rule`.
        update: in place of ``decay_and_gain``, for a rule with a second trace: from trace and eligibility
            (B, I, N), the presynaptic activities (B, I), the postsynaptic ones (B, N), the new hidden state
            (B, N) and the parameters to the new trace, not clipped yet, and the new eligibility.
    """

    name: str
    decay_and_gain: RuleFunction | None
    parameters: tuple[str, ...] = ("eta",)
    trace_clip: bool = False
    smallest_decay: Callable[[PlasticParams, float], float] | None = None
    code: int | None = None
    reads_hidden: bool = False
    update: Callable[..., tuple[Tensor, Tensor]] | None = None

    @property
    def eligibility(self) -> bool:
        """Whether there is a second trace."""
        return self.update is not None

    def span_to_undo(self, params: PlasticParams, bound: float, amplification: float) -> int:
        """Over how many updates in a row H_t = (H_{t+1} - g y) / d multiplies errors by no more than this.

        params: of a network with a trace
        bound: on the size of the activations that a clamp sets, 0 without one
        amplification: above 1
        returns: the number of updates, 0 where not even one can be undone
        """
        if self.smallest_decay is None or self.trace_clip:
            return 0
        decay = self.smallest_decay(params, max(bound, ACTIVATIONS[params.activation].bound))
        if decay <= 0:
            return 0
        return sys.maxsize if decay >= 1 else int(math.log(amplification) / -math.log(decay))


class ActivationDefinition(NamedTuple):
    """A nonlinearity sigma of Eq. 1, elementwise.

    function: of a tensor
    bound: on the size of what it returns
    code: the number by which the fused kernels know it, None where they do not
    """

    function: Callable[[Tensor], Tensor]
    bound: float
    code: int | None = None


ACTIVATIONS: dict[str, ActivationDefinition] = {
    "tanh": ActivationDefinition(torch.tanh, 1.0, code=0),
    "sigmoid": ActivationDefinition(torch.sigmoid, 1.0, code=1),
    "relu": ActivationDefinition(torch.relu, math.inf, code=2),
    "linear": ActivationDefinition(lambda pre: pre, math.inf, code=3),
}


def hebb(y: Tensor, params: PlasticParams) -> tuple[Tensor, Tensor]:
    """ICML 2018, Eq. 2: d = 1 - eta, g = eta y."""
    assert params.eta is not None
    return 1 - params.eta, params.eta * y


def oja(y: Tensor, params: PlasticParams) -> tuple[Tensor, Tensor]:
    """ICML 2018, Eq. 3: d = 1 - eta y^2, g = eta y."""
    assert params.eta is not None
    return 1 - params.eta * y**2, params.eta * y


def modulated(y: Tensor, params: PlasticParams, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Simple neuromodulation, ICLR 2019: d = 1, g = M y."""
    return torch.ones_like(y), modulation(hidden, params) * y


def retroactive(
    trace: Tensor, eligibility: Tensor, pre: Tensor, y: Tensor, hidden: Tensor, params: PlasticParams
) -> tuple[Tensor, Tensor]:
    """Retroactive neuromodulation, ICLR 2019: H + M E with the old E, then (1 - eta) E + eta y_{t-1} y."""
    assert params.eta is not None
    trace = trace + modulation(hidden, params).unsqueeze(1) * eligibility
    eligibility = (1 - params.eta) * eligibility + pre.unsqueeze(2) * (params.eta * y).unsqueeze(1)
    return trace, eligibility


def modulation(hidden: Tensor, params: PlasticParams) -> Tensor:
    """What the modulating neuron sends to each neuron, (B, N): M = fan_out tanh(h' . w_m + b_m)."""
    assert params.w_m is not None
    assert params.b_m is not None
    assert params.fan_out is not None
    return params.fan_out * torch.tanh(hidden @ params.w_m + params.b_m).unsqueeze(-1)


def _smallest_decay_of_hebb(params: PlasticParams, bound: float) -> float:
    return 1 - _checked_eta(params)


def _smallest_decay_of_oja(params: PlasticParams, bound: float) -> float:
    return 1 - _checked_eta(params) * bound**2


def _checked_eta(params: PlasticParams) -> float:
    assert params.eta is not None
    eta = params.eta.item()
    if not 0 < eta < 1:  # acting does not look at values, and a network that has diverged comes by here
        raise ValueError(f"params.eta must lie strictly between 0 and 1, got {eta!r}")
    return eta


# The built-in rules.
RULES: dict[str, RuleDefinition] = {
    definition.name: definition
    for definition in (
        RuleDefinition("hebb", hebb, smallest_decay=_smallest_decay_of_hebb, code=0),
        RuleDefinition("oja", oja, smallest_decay=_smallest_decay_of_oja, code=1),
        RuleDefinition(
            "modulated", modulated, ("w_m", "b_m", "fan_out"), trace_clip=True, code=2, reads_hidden=True
        ),
        RuleDefinition(
            "retroactive",
            None,
            ("eta", "w_m", "b_m", "fan_out"),
            trace_clip=True,
            code=3,
            update=retroactive,
        ),
    )
}
# These, and those that users register.
_RULES = dict(RULES)


class UnknownRuleError(ValueError):
    """There is no rule of this name, or none is registered yet."""


def register_rule(
    name: str,
    decay_and_gain: RuleFunction,
    *,
    parameters: tuple[str, ...] = ("eta",),
    trace_clip: bool = False,
    reads_hidden: bool = False,
    overwrite: bool = False,
) -> None:
    """Add a plasticity rule, so that networks and policies take it as ``rule=name``.

    With the decay d and the gain g that the function returns, the trace of every environment changes by

        H_{t+1,ij} = clip(d_j H_t,ij + g_j y_{t-1,i})

    Gradients are torch's own, through the backend ``reference``: ``auto`` takes it and says so once, and an
    explicit ``numba``, which is compiled for built-in rules, is refused. A saved model holds the rule's
    name only: register the rule before loading it.

    Args:
        name: of the rule; those of built-in rules are taken.
        decay_and_gain: called at every step as ``decay_and_gain(y, params)`` with the new activations
            y (B, N), one environment per row, and the network's ``PlasticParams``. Returns the decay and the
            gain, each (B, N), or () where it is the same for all; made from y and params by differentiable
            torch operations, without changing them.
        parameters: which trained parameters of ``params`` the rule uses, the others being None: ``eta`` (),
            in (0, 1); ``w_m`` (N,), ``b_m`` () and ``fan_out`` (N,), which start random, at 0 and at 1.
        trace_clip: whether every element of the trace is bounded to plus and minus ``params.trace_clip``.
        reads_hidden: whether the function is called as ``decay_and_gain(y, params, hidden)``, with what
            leaves the step, (B, N): the new activations once more with the cell ``rnn``, and in a gated cell,
            where y is the candidate, the new hidden state.
        overwrite: whether a registered rule of this name is replaced, also in networks that exist.

    Raises:
        ValueError: an argument that cannot be, or a name that is taken, named.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"name must be a text of at least one character, got {name!r}")
    if name in RULES:
        raise ValueError(f"name must not be that of a built-in rule ({', '.join(RULES)}), got {name!r}")
    if name in _RULES and not overwrite:
        raise ValueError(f"name must be new, got {name!r}, which is registered: overwrite=True replaces it")
    if not callable(decay_and_gain):
        raise ValueError(f"decay_and_gain must be a function of (y, params), got {decay_and_gain!r}")
    if not isinstance(parameters, tuple | list) or not set(parameters) <= set(_PARAMETERS):
        raise ValueError(f"parameters must be some of {', '.join(_PARAMETERS)}, got {parameters!r}")
    if not isinstance(trace_clip, bool):
        raise ValueError(f"trace_clip must be true or false, got {trace_clip!r}")
    if not isinstance(reads_hidden, bool):
        raise ValueError(f"reads_hidden must be true or false, got {reads_hidden!r}")
    _RULES[name] = RuleDefinition(
        name, decay_and_gain, tuple(parameters), trace_clip, reads_hidden=reads_hidden
    )


def rule_names() -> tuple[str, ...]:
    """The built-in rules and those that are registered."""
    return tuple(_RULES)


def get_rule(rule: Rule, argument: str = "rule") -> RuleDefinition:
    """The definition of a rule.

    Raises:
        UnknownRuleError: no such rule; the message calls it ``argument``.
    """
    definition = find_rule(rule)
    if definition is None:
        raise UnknownRuleError(
            f"{argument} must be one of {', '.join(rule_names())}, got {rule!r} "
            "(a rule of your own has to be registered first, with plastic_rl.register_rule)"
        )
    return definition


def find_rule(rule: Rule) -> RuleDefinition | None:
    """The definition of a rule, or None if there is no such rule."""
    return _RULES.get(rule)


def decay_and_gain(y: Tensor, params: PlasticParams, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Decay d and gain g of the trace, each (B, N).

    y: (B, N), the postsynaptic activities
    hidden: (B, N), what leaves the step

    Raises:
        ValueError: the rule gives something else.
    """
    rule = get_rule(params.rule)
    assert rule.decay_and_gain is not None
    returned = rule.decay_and_gain(y, params, hidden) if rule.reads_hidden else rule.decay_and_gain(y, params)
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise ValueError(
            f"rule {params.rule!r} must return two tensors, decay and gain, got {type(returned).__name__}"
        )
    for name, part in zip(("decay", "gain"), returned, strict=True):
        if not isinstance(part, Tensor):
            raise ValueError(
                f"rule {params.rule!r} must return a tensor as {name}, got {type(part).__name__}"
            )
        if part.shape not in (y.shape, ()) or part.dtype != y.dtype or part.device != y.device:
            raise ValueError(
                f"rule {params.rule!r} must return {name} as {tuple(y.shape)} or () with {y.dtype} on "
                f"{y.device}, got {tuple(part.shape)} with {part.dtype} on {part.device}"
            )
    decay, gain = returned
    return decay.expand_as(y), gain.expand_as(y)


def update_trace(
    trace: Tensor,
    eligibility: Tensor,
    pre: Tensor,
    y: Tensor,
    hidden: Tensor,
    params: PlasticParams,
) -> tuple[Tensor, Tensor]:
    """Trace and eligibility after one step.

    trace: (B, I, N)
    eligibility: (B, I, N), or (B, 0, 0) where the rule has none
    pre: (B, I), the presynaptic activities
    y: (B, N), the postsynaptic activities
    hidden: (B, N), what leaves the step: y again, but in a gated cell
    returns: the same two
    """
    rule = get_rule(params.rule)
    if rule.update is not None:
        trace, eligibility = rule.update(trace, eligibility, pre, y, hidden, params)
    else:
        decay, gain = decay_and_gain(y, params, hidden)
        trace = decay.unsqueeze(1) * trace + pre.unsqueeze(2) * gain.unsqueeze(1)
    if rule.trace_clip:
        trace = trace.clamp(-params.trace_clip, params.trace_clip)
    return trace, eligibility


def try_rule(params: PlasticParams) -> None:
    """Run the rule of a new network once, so that what is wrong with it shows before any work is done.

    Raises:
        ValueError: the rule gives something else than decay and gain.
    """
    if params.plastic and get_rule(params.rule).decay_and_gain is not None:
        with torch.no_grad():
            y = params.w.new_zeros(2, params.w.shape[1])
            decay_and_gain(y, params, y)


def activate(pre: Tensor, activation: Activation) -> Tensor:
    """Apply the nonlinearity sigma of Eq. 1, elementwise."""
    return ACTIVATIONS[activation].function(pre)
