"""The options of a plastic recurrent core, in one place for layers, networks and policies."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypedDict, get_args

from plastic_rl.arguments import check_choice, check_count, check_open_fraction, check_positive, check_scale
from plastic_rl.ops.plastic_rnn import (
    ACTIVATIONS,
    CELLS,
    Activation,
    Backend,
    Cell,
    Rule,
    backend_names,
    get_rule,
)
from plastic_rl.policies.connections import Alpha, InnerUpdates


class CoreArguments(TypedDict, total=False):
    """The fields of `CoreOptions` as keyword arguments, as type checkers and editors want them."""

    cell: Cell
    rule: Rule
    alpha: Alpha
    eta: float
    activation: Activation
    backend: Backend
    w_init: float | None
    alpha_init: float
    trace_clip: float
    core_steps: int
    inner_updates: InnerUpdates


@dataclass(frozen=True)
class CoreOptions:
    """How a `PlasticRNN` works and where its training starts; every option is also one in ``policy_kwargs``.

    Args:
        cell: ``rnn``, the paper's network; ``gru`` or ``lstm``, with gates, and the recurrent weights of the
            candidate plastic.
        rule: how the trace changes: ``hebb``, ``oja``, ``modulated``, ``retroactive``, or one that you have
            registered with ``plastic_rl.register_rule``.
        alpha: ``full``, one trained plasticity per connection; ``homogeneous``, one for all;
            ``none``, no plasticity: a plain recurrent network, GRU or LSTM.
        eta: where the trained learning rate of the trace starts, in (0, 1); not for ``modulated``.
        activation: ``tanh``, ``sigmoid``, ``relu`` or ``linear``; in a gated cell that of the candidate.
        backend: of the operator: ``auto``, ``numba``, ``triton`` or ``reference``.
        w_init: w starts uniform in [0, w_init], at least 0. None is 0.01 for the cell ``rnn``; in gated cells
            w then starts as the gates' weights do, uniform between minus and plus 1 / sqrt(N).
        alpha_init: alpha starts uniform in [0, alpha_init] (``homogeneous``: at half of it), at least 0.
        trace_clip: bound on the trace, above 0; ``modulated``, ``retroactive`` and registered rules that
            ask for it.
        core_steps: how often in a row the core runs for each observation, at least 1. With 2 or more, what is
            seen now addresses the trace before the action is due.
        inner_updates: with more than one of these runs, whether the trace changes in ``every`` one of them or
            in the ``last`` alone; the others then only recall, which costs less and binds less surely.

    Raises:
        ValueError: an option outside its range, named.
    """

    cell: Cell = "rnn"
    rule: Rule = "hebb"
    alpha: Alpha = "full"
    eta: float = 0.01
    activation: Activation = "tanh"
    backend: Backend = "auto"
    w_init: float | None = None
    alpha_init: float = 0.01
    trace_clip: float = 2.0
    core_steps: int = 1
    inner_updates: InnerUpdates = "every"

    def __post_init__(self) -> None:
        check_choice("cell", self.cell, CELLS)
        get_rule(self.rule)
        check_choice("alpha", self.alpha, get_args(Alpha))
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("backend", self.backend, backend_names())
        check_open_fraction("eta", self.eta)
        if self.w_init is not None:
            check_scale("w_init", self.w_init)
        check_scale("alpha_init", self.alpha_init)
        check_positive("trace_clip", self.trace_clip)
        check_count("core_steps", self.core_steps)
        check_choice("inner_updates", self.inner_updates, get_args(InnerUpdates))


def split_options(arguments: dict[str, Any]) -> tuple[CoreOptions, dict[str, Any]]:
    """The core's options among keyword arguments, and the other arguments."""
    names = {field.name for field in fields(CoreOptions)}
    options = {name: value for name, value in arguments.items() if name in names}
    return CoreOptions(**options), {name: v for name, v in arguments.items() if name not in names}
