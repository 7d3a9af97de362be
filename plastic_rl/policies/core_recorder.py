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
        self._batch = 0

    def start(self, state: PlasticState) -> None:
        """See `CoreRecorder.start`."""
        with torch.no_grad():
            self.params = self.core.params()
        batch = batch_size(state)
        if batch == self._batch:
            self.recording.reset(self.params, state)
        else:
            self.recording = Recording(self.n_steps, self.params, state, backend=self.core.backend)
            self._batch = batch

    @property
    def activations(self) -> Tensor:
        """See `CoreRecorder`."""
        return self.recording.y.flatten(0, 1)

    @property
    def state(self) -> PlasticState:
        """See `CoreRecorder`."""
        return self.recording.state

    def step(self, features: Tensor, episode_start: Tensor) -> Tensor:
        """See `CoreRecorder.step`."""
        return self.recording.step(self.core.drive(features), episode_start, self.params)

    def replay(self, features: Tensor) -> Tensor:
        """See `CoreRecorder.replay`."""
        x = self.core.drive(features).reshape(self.n_steps, self._batch, -1)
        y, _ = plastic_rnn_replay(x, self.core.params(), self.recording)
        return y.flatten(0, 1)
