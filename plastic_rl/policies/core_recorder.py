"""The recording of a plastic core's steps, from which its update goes back through time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn import PlasticState, Recording, batch_size, plastic_rnn_replay

if TYPE_CHECKING:
    from plastic_rl.policies.plastic_rnn import PlasticRNN


class PlasticRecorder:
    """The `CoreRecorder` of a `PlasticRNN`; its memory is kept from rollout to rollout."""

    recording: Recording

    def __init__(self, core: PlasticRNN, n_steps: int) -> None:
        self.core = core
        self.n_steps = n_steps
        # Each step is so many of the recording's, of which the last one's activity is the output.
        self.runs = core.runs
        self._batch = 0

    def start(self, state: PlasticState) -> None:
        """See `CoreRecorder.start`."""
        with torch.no_grad():
            self.params = self.core.params()
        batch = batch_size(state)
        if batch == self._batch:
            self.recording.reset(self.params, state)
        else:
            self.recording = Recording(
                self.n_steps * self.runs, self.params, state, backend=self.core.backend
            )
            self._batch = batch

    @property
    def activations(self) -> Tensor:
        """See `CoreRecorder`."""
        return self.recording.y[self.runs - 1 :: self.runs].flatten(0, 1)

    @property
    def state(self) -> PlasticState:
        """See `CoreRecorder`."""
        return self.recording.state

    def step(self, features: Tensor, episode_start: Tensor) -> Tensor:
        """See `CoreRecorder.step`."""
        x = self.core.drive(features)
        y = self.recording.step(x, episode_start, self.params)
        for _ in range(self.runs - 1):
            y = self.recording.step(x, torch.zeros_like(episode_start), self.params)
        return y

    def replay(self, features: Tensor) -> Tensor:
        """See `CoreRecorder.replay`."""
        x = self.core.drive(features).reshape(self.n_steps, self._batch, -1)
        if self.runs > 1:
            x = x.repeat_interleave(self.runs, dim=0)
        y, _ = plastic_rnn_replay(x, self.core.params(), self.recording)
        return y[self.runs - 1 :: self.runs].flatten(0, 1)
