"""Steps in a row as single steps, for what a backend has no shorter way for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState


def repeats_written_out(
    sequence: Callable[..., tuple[Tensor, PlasticState]],
    x: Tensor,
    params: PlasticParams,
    state: PlasticState,
    episode_starts: Tensor | None,
    clamp: tuple[Tensor, Tensor] | None,
    repeats: Tensor,
) -> tuple[Tensor, PlasticState]:
    """The sequence form with step t taken ``repeats[t]`` times in a row; the output is that of the last.

    sequence: the form without repeats
    repeats: (T,), integers of at least 1
    """
    repeats = repeats.long()
    index = torch.arange(len(x), device=x.device).repeat_interleave(repeats)
    last = repeats.cumsum(0) - 1
    starts = None
    if episode_starts is not None:
        starts = episode_starts.new_zeros(len(index), *episode_starts.shape[1:])
        starts[last + 1 - repeats] = episode_starts
    if clamp is not None:
        clamp = clamp[0][index], clamp[1][index]
    y, state = sequence(x[index], params, state, starts, clamp, None)
    return y[last], state
