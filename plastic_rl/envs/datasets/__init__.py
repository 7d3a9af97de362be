"""Omniglot and CIFAR-10: found, checked, read once and kept as compact arrays."""

from plastic_rl.envs.datasets.loaders import Cifar10Data, OmniglotData, cifar10, download_folder, omniglot
from plastic_rl.envs.datasets.members import BadDataError

__all__ = ["BadDataError", "Cifar10Data", "OmniglotData", "cifar10", "download_folder", "omniglot"]
