"""RL-Zoo with the plastic agent in it; importing it imports neither RL-Zoo nor torch."""

from plastic_rl.zoo.registration import register

__all__ = ["register"]
