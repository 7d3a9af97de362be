"""Action masks: which actions an environment allows now, as sb3-contrib's maskable algorithms have them.

An environment says so with a method ``action_masks()``; see `check_masks` for what that returns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib.common.maskable.distributions import MaskableDistribution, make_masked_proba_distribution
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    Distribution,
    MultiCategoricalDistribution,
)
from torch import Tensor

from plastic_rl.policies.finite import find_bad_number


def choices(space: spaces.Space[Any]) -> list[int]:
    """The number of choices in each dimension of an action space; a mask has one entry for each choice.

    Raises:
        ValueError: the space is none of Discrete, MultiDiscrete and MultiBinary in one dimension.
    """
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return space.nvec.tolist()
    if isinstance(space, spaces.MultiBinary) and isinstance(space.n, int | np.integer):
        return [2] * int(space.n)
    raise ValueError(
        "action_masks are for a Discrete, or a MultiDiscrete or MultiBinary action space of one dimension, "
        f"got {space}: give use_masking=False to leave them unused"
    )


def check_masks(masks: Any, space: spaces.Space[Any], n_envs: int) -> NDArray[np.bool_]:
    """Masks as one array, after a look at whether they allow anything.

    Args:
        masks: true where an action is allowed: one row for each of B environments, or that of the only one.
            A row has an entry for each action of a Discrete space; for each choice of the first dimension of
            a MultiDiscrete one, then of the second, ...; for 0 and for 1 of every bit of a MultiBinary one.
        space: the action space.
        n_envs: B.

    Returns:
        (B, M) bool, M entries a row.

    Raises:
        ValueError: the shape is another, an entry is neither true nor false, or there is a row that allows
            nothing.
    """
    sizes = choices(space)
    width = sum(sizes)
    array = np.asarray(masks)
    if array.size != n_envs * width or (n_envs > 1 and array.shape[:1] != (n_envs,)):
        raise ValueError(f"action_masks must have shape ({n_envs}, {width}), got {array.shape}")
    array = array.reshape(n_envs, width)
    if array.dtype != np.bool_:
        if bad := find_bad_number(array):
            raise ValueError(
                f"action_masks must be true or false, got {bad.words(1)} for environment {bad.where[0]}"
            )
        wrong = np.argwhere((array != 0) & (array != 1))
        if wrong.size:
            i, j = wrong[0]
            raise ValueError(
                f"action_masks must be true or false, got {array[i, j]!r} at [{j}] for environment {i}"
            )
        array = array.astype(np.bool_)
    starts = np.cumsum([0, *sizes[:-1]])
    allowed = np.logical_or.reduceat(array, starts, axis=1)
    if not allowed.all():
        i, dimension = np.argwhere(~allowed)[0]
        where = f" in dimension {dimension} of its actions" if len(sizes) > 1 else ""
        raise ValueError(f"action_masks must allow an action, got none{where} for environment {i}")
    return array


def mask_distribution(
    distribution: Distribution, space: spaces.Space[Any], masks: Tensor
) -> MaskableDistribution:
    """The distribution over K actions without those that are masked.

    Args:
        distribution: SB3's for the space.
        space: the action space.
        masks: (K, M) bool, as from `check_masks`.

    Returns:
        sb3-contrib's maskable distribution with the same logits; its entropy is that of what is allowed.

    Raises:
        ValueError: the distribution is of another kind than SB3's for these spaces.
    """
    masked = make_masked_proba_distribution(space)
    masked.proba_distribution(_logits(distribution))
    masked.apply_masking(masks)
    return masked


def _logits(distribution: Distribution) -> Tensor:
    """(K, M), one for each entry of a mask."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.distribution.logits
    if isinstance(distribution, MultiCategoricalDistribution):
        return torch.cat([one.logits for one in distribution.distribution], dim=1)
    if isinstance(distribution, BernoulliDistribution):
        ones = distribution.distribution.logits
        return torch.stack([torch.zeros_like(ones), ones], dim=-1).flatten(1)
    raise ValueError(
        "action_masks need one of Stable-Baselines3's discrete distributions, "
        f"got {type(distribution).__name__}"
    )
