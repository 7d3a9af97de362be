"""Networks without a trace, whose inner steps are steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState


def inner_steps_written_out(
    sequence: Callable[..., tuple[Tensor, PlasticState]],
    x: Tensor,
    params: PlasticParams,
    state: PlasticState,
    episode_starts: Tensor | None,
    clamp: tuple[Tensor, Tensor] | None,
) -> tuple[Tensor, PlasticState]:
    """The sequence form ``sequence`` on T core_steps steps, of which every core_steps-th output is kept."""
    k = params.core_steps
    if episode_starts is not None:
        first = torch.arange(len(x) * k) % k == 0
        episode_starts = episode_starts.repeat_interleave(k, 0) & first[:, None]
    if clamp is not None:
        clamp = clamp[0].repeat_interleave(k, 0), clamp[1].repeat_interleave(k, 0)
    once = replace(params, core_steps=1)
    y, state = sequence(x.repeat_interleave(k, 0), once, state, episode_starts, clamp, None)
    return y[k - 1 :: k], state
