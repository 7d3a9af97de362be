"""Recording a rollout step by step, so that its update needs no second forward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from plastic_rl.arguments import check_count
from plastic_rl.ops.plastic_rnn import backends, checks
from plastic_rl.ops.plastic_rnn.cells import drive_size
from plastic_rl.ops.plastic_rnn.types import Backend, PlasticParams, PlasticState


class Recording:
    """A sequence that is run one step at a time and differentiated afterwards.

    Acting and training on the same steps needs the forward pass once only: ``step`` runs it without gradients
    and keeps what the backward pass needs (the activations, and the trace now and then), and
    ``plastic_rnn_replay`` gives its outputs a gradient. The buffers serve one rollout after the other: call
    ``reset`` when the backward pass of the last one is done. Until then the parameters must not change.

    Args:
        n_steps: length T of the sequence, at least 1.
        params: of the network.
        state: before the first step; copied.
        backend: as in ``plastic_rnn``.

    Attributes:
        y: (T, B, N), the activations of the steps taken so far; NaN from there on.
        episode_starts: (T, B) bool.
        length: the number of steps taken.

    Raises:
        ValueError: n_steps below 1, or parameters and state that do not fit together.
        RuntimeError: an explicit backend that cannot run here.
    """

    def __init__(
        self, n_steps: int, params: PlasticParams, state: PlasticState, backend: Backend = "auto"
    ) -> None:
        self.n_steps = check_count("n_steps", n_steps)
        self.backend = backend
        chosen = backends.choose_backend(backend, state.hidden, params)
        self._check(params, state)
        batch, n = state.hidden.shape
        self.drive_shape = n_steps, batch, drive_size(params)
        self.y = state.hidden.new_full((n_steps, batch, n), float("nan")).detach()
        self.episode_starts = torch.zeros(n_steps, batch, dtype=torch.bool, device=state.hidden.device)
        # Indexing a list costs less than indexing a tensor.
        self._rows, self._start_rows = list(self.y), list(self.episode_starts)
        self._tape = chosen.tape(params, self.episode_starts, self.y)
        self.reset(params, state)

    def reset(self, params: PlasticParams, state: PlasticState | None = None) -> None:
        """Begin again with these parameters, from ``state`` (copied) or from where the last rollout ended."""
        state = self.state if state is None else state
        self._check(params, state)
        if state.hidden.shape != self.y.shape[1:]:
            raise ValueError(
                f"state.hidden must be {tuple(self.y.shape[1:])}, got {tuple(state.hidden.shape)}"
            )
        self._tape.reset(params, state)
        self.length = 0

    def _check(self, params: PlasticParams, state: PlasticState) -> None:
        checks.check_params(params)
        # What a drive would look like, without memory.
        x = state.hidden.new_empty(1).expand(len(state.hidden), drive_size(params))
        checks.check_step(x, params, state, None, None)

    def step(self, x: Tensor, episode_start: Tensor, params: PlasticParams) -> Tensor:
        """Take one step, without gradients.

        Args:
            x: (B, N), input drive, or (B, G N) of a gated cell.
            episode_start: (B,), true where an episode starts: that row is zeroed before the step.
            params: those given at the start of the recording.

        Returns:
            y: (B, N), a view of the recording.

        Raises:
            ValueError: a wrong shape or dtype.
            RuntimeError: n_steps have been taken already.
        """
        t = self.length
        if t == self.n_steps:
            raise RuntimeError(f"the recording is full: {t} of {t} steps taken; call reset")
        y = self._rows[t]
        if x.shape != self.drive_shape[1:] or x.dtype != y.dtype or x.device != y.device:
            raise ValueError(
                f"x must be {self.drive_shape[1:]} {y.dtype} on {y.device}, got {tuple(x.shape)} {x.dtype}"
            )
        if episode_start.shape != y.shape[:1]:
            raise ValueError(f"episode_start must be ({y.shape[0]},), got {tuple(episode_start.shape)}")
        self._start_rows[t].copy_(episode_start)
        self._tape.step(t, x)
        self.length = t + 1
        return y

    @property
    def initial_state(self) -> PlasticState:
        """The state before the first step; a copy."""
        return self._tape.state(0)

    @property
    def state(self) -> PlasticState:
        """The state after the last step taken; a copy."""
        return self._tape.state(self.length)


def plastic_rnn_replay(x: Tensor, params: PlasticParams, recording: Recording) -> tuple[Tensor, PlasticState]:
    """``plastic_rnn`` of a complete recording, without running it again where the backend allows.

    Gradients flow to ``x`` and to ``params``, and back from ``y`` and the final state; the initial state is a
    constant. ``x`` and ``params`` must hold the numbers that the steps were taken with. ``y`` lies in the
    recording's memory: the recording may be reset only after the backward pass, and one that was is an error.

    Args:
        x: (T, B, N) or (T, B, G N), the input drives of all steps.
        params: of the network.
        recording: of T steps.

    Returns:
        y: (T, B, N), and the state after the last step.

    Raises:
        ValueError: x does not fit the recording, or the recording is not complete.
    """
    if recording.length != recording.n_steps:
        raise ValueError(f"recording must be complete, got {recording.length} of {recording.n_steps} steps")
    if x.shape != recording.drive_shape:
        raise ValueError(f"x must be {recording.drive_shape}, as recorded, got {tuple(x.shape)}")
    checks.check_layout(x, params, None, None, None)
    return recording._tape.replay(x, params)
