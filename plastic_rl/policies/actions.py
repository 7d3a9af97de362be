"""From what a network gives to actions as an environment takes them."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor


def bounded(actions: Tensor, space: spaces.Space[Any], squashed: bool = False) -> Tensor:
    """Actions (K, *action shape), those of a Box within its bounds.

    Args:
        actions: (K, ...), with as many elements as K actions have.
        space: the action space.
        squashed: whether they lie between -1 and 1, which stand for the bounds; otherwise what lies outside
            is clipped.
    """
    actions = actions.reshape((-1, *space.shape))  # type: ignore[misc]
    if not isinstance(space, spaces.Box):
        return actions
    low, high = (torch.as_tensor(bound, device=actions.device) for bound in (space.low, space.high))
    if squashed:
        return low + 0.5 * (actions + 1.0) * (high - low)
    return torch.clamp(actions, low, high)
