"""A plastic layer from features to classes, whose output is clamped to the label where one is told."""

from __future__ import annotations

import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn import PlasticState, update_trace
from plastic_rl.policies.connections import PlasticConnections


class PlasticReadout(PlasticConnections):
    """Plastic connections from F features to one softmax neuron per class (ICML 2018, section 4.3).

    The trace binds the features to the outputs. Where a label comes with the features, the outputs are
    clamped to it. Nothing else is remembered. For the arguments see `PlasticConnections`.
    """

    def initial_state(self, batch_size: int) -> PlasticState:
        """Zeros: no hidden activations, (B, 0), and the trace (B, F, N), or (B, 0, 0) without plasticity."""
        shape = (0, 0) if self.alpha is None else self.w.shape
        return PlasticState(self.w.new_zeros(batch_size, 0), self.w.new_zeros(batch_size, *shape))

    def forward(
        self, labelled: Tensor, state: PlasticState | None = None, episode_starts: Tensor | None = None
    ) -> tuple[Tensor, PlasticState]:
        """Run over a sequence, with gradients.

        labelled: (T, B, F + N), features and behind them the one-hot label, zeros where it is not told
        state: before the first step, None for zeros
        episode_starts: (T, B), true where the trace is zeroed before the step
        returns: logits (T, B, N), state after the last step
        """
        n_steps, batch, _ = labelled.shape
        if state is None:
            state = self.initial_state(batch)
        logits = []
        for t in range(n_steps):
            starts = None if episode_starts is None else episode_starts[t]
            step_logits, state = self.step(labelled[t], state, starts)
            logits.append(step_logits)
        return torch.stack(logits), state

    def step(
        self, labelled: Tensor, state: PlasticState, episode_starts: Tensor | None = None
    ) -> tuple[Tensor, PlasticState]:
        """One step of `forward`.

        labelled: (B, F + N)
        episode_starts: (B,)
        returns: logits (B, N), new state
        """
        features, labels = labelled.split(list(self.w.shape), dim=-1)
        trace = state.trace
        if episode_starts is not None:
            trace = torch.where(episode_starts.bool()[:, None, None], torch.zeros_like(trace), trace)
        logits, trace = self.respond(features, labels, trace)
        return logits, state._replace(trace=trace)

    def respond(self, features: Tensor, labels: Tensor, trace: Tensor) -> tuple[Tensor, Tensor]:
        """The logits (B, N) for features (B, F) with labels (B, N), and the trace (B, F, N) afterwards."""
        logits = self.logits(features, trace)
        return logits, self.update(trace, features, self.output(logits, labels))

    def logits(self, features: Tensor, trace: Tensor) -> Tensor:
        """Eq. 1 without the softmax, (B, N). features: (B, F), trace: (B, F, N)."""
        if self.alpha is None:
            return features @ self.w
        return torch.bmm(features.unsqueeze(1), self.w + self.alpha * trace).squeeze(1)

    def output(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The activations of the output neurons, (B, N): the label where it is told, else the softmax."""
        return torch.where(labels.any(dim=-1, keepdim=True), labels, torch.softmax(logits, dim=-1))

    def update(self, trace: Tensor, features: Tensor, y: Tensor) -> Tensor:
        """The trace (B, F, N) after the features (B, F) met the outputs y (B, N)."""
        if self.alpha is None:
            return trace
        trace, _ = update_trace(trace, trace[:, :0, :0], features, y, y, self.params())
        return trace
