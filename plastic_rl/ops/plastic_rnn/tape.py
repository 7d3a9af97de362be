"""What the steps of a recording leave behind, in the form that every backend can have."""

from __future__ import annotations

from torch import Tensor

from plastic_rl.ops.plastic_rnn import checks
from plastic_rl.ops.plastic_rnn.protocols import OperatorBackend
from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState


class RerunTape:
    """The tape that needs nothing but a backend's step and sequence: the replay runs the sequence again.

    Args:
        backend: whose forms are run.
        starts: (T, B) bool, of the recording, which fills it before each step.
        y: (T, B, N), of the recording; ``step`` writes into it.
    """

    def __init__(self, backend: OperatorBackend, starts: Tensor, y: Tensor) -> None:
        self.backend = backend
        self.starts, self.y = starts, y

    def reset(self, params: PlasticParams, state: PlasticState) -> None:
        """Begin again with these parameters from this state, which is copied."""
        self.params = params
        self.initial = state.detach().clone()
        self.current = self.initial.clone()

    def step(self, t: int, x: Tensor) -> None:
        """Take step t."""
        self.y[t] = self.backend.step(x, self.params, self.current, self.starts[t], None)

    def state(self, t: int) -> PlasticState:
        """A copy of the state before the first step, or of the current one."""
        return (self.initial if t == 0 else self.current).clone()

    def replay(self, x: Tensor, params: PlasticParams) -> tuple[Tensor, PlasticState]:
        """Run the sequence."""
        checks.check_sequence(x, params, self.initial, self.starts, None, None)
        return self.backend.sequence(x, params, self.state(0), self.starts, None, None)
