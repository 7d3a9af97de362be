"""Wrappers that turn any Gymnasium environment into a meta-learning one, and their forms for batches."""

from plastic_rl.envs.wrappers.lifetime import Lifetime
from plastic_rl.envs.wrappers.lifetime_batch import BatchedLifetime
from plastic_rl.envs.wrappers.previous import BatchedPreviousActionReward, PreviousActionReward

__all__ = ["BatchedLifetime", "BatchedPreviousActionReward", "Lifetime", "PreviousActionReward"]
