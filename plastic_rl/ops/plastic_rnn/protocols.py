"""What a backend has to have: the operator's forms, and what a recording needs."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from torch import Tensor

from plastic_rl.ops.plastic_rnn.cells import CELLS
from plastic_rl.ops.plastic_rnn.rules import ACTIVATIONS, RULES, find_rule
from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState


class Refusal(NamedTuple):
    """Why a backend cannot run.

    reason: continues "backend 'name' ..."
    error, remedy: what is raised where that backend is asked for, and the end of its message
    avoidable: whether the user is told where another backend is taken instead: it could be faster
    """

    reason: str
    error: type[Exception] = ValueError
    remedy: str = ": use 'reference' or 'auto'"
    avoidable: bool = False


def without_code(params: PlasticParams, made: str) -> Refusal | None:
    """The refusal of the first of rule, cell and activation that fused kernels have no code for, or None.

    made: what stands before "for the rules ...": "is compiled" or "has kernels"
    """
    chosen: tuple[tuple[str, str, Any, dict[str, Any]], ...] = (
        ("rules", params.rule, find_rule(params.rule), RULES),
        ("cells", params.cell, CELLS.get(params.cell), CELLS),
        ("activations", params.activation, ACTIVATIONS.get(params.activation), ACTIVATIONS),
    )
    for kind, name, definition, table in chosen:
        # Names that nobody knows are refused when the arguments are checked.
        if definition is not None and definition.code is None:
            fused = ", ".join(other for other, known in table.items() if known.code is not None)
            return Refusal(f"{made} for the {kind} {fused}, got {name!r}", avoidable=True)
    return None


class Tape(Protocol):
    """A sequence of T steps, taken one at a time without gradients and differentiated afterwards."""

    def reset(self, params: PlasticParams, state: PlasticState) -> None:
        """Begin again with these parameters from this state, which is copied."""

    def step(self, t: int, x: Tensor) -> None:
        """Take step t, for t = 0, 1, ..., T - 1; x: (B, N). Its activations go into the recording's y[t]."""

    def state(self, t: int) -> PlasticState:
        """A copy of the state before step t, for t = 0 and for the number of steps taken."""
        ...

    def replay(self, x: Tensor, params: PlasticParams) -> tuple[Tensor, PlasticState]:
        """The activations (T, B, N) and the final state as functions of x (T, B, N) and the parameters."""
        ...


class OperatorBackend(Protocol):
    """One way to run the operator, with the results of the reference to within rounding.

    The arguments of ``sequence``, ``step`` and ``tape`` have been checked; starts are bool, a state is given.
    """

    def can_run(self, x: Tensor, params: PlasticParams) -> Refusal | None:
        """Why not for tensors like x and for this rule, or None. The arguments are not checked yet."""

    def sequence(
        self,
        x: Tensor,
        params: PlasticParams,
        state: PlasticState,
        episode_starts: Tensor | None,
        clamp: tuple[Tensor, Tensor] | None,
        repeats: Tensor | None,
    ) -> tuple[Tensor, PlasticState]:
        """The sequence form, see the public ``plastic_rnn``; with gradients where they are asked for."""
        ...

    def step(
        self,
        x: Tensor,
        params: PlasticParams,
        state: PlasticState,
        episode_start: Tensor | None,
        clamp: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """The step form, see the public ``plastic_rnn_step_``: ``state`` is overwritten."""
        ...

    def tape(self, params: PlasticParams, episode_starts: Tensor, y: Tensor) -> Tape:
        """What a recording needs; it belongs to the recording's episode_starts (T, B) and y (T, B, N).

        A backend that has nothing of its own here returns a ``RerunTape``.
        """
        ...
