"""Images that come with a label: how such observations look, and what is computed of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from plastic_rl.policies.classifier import ImageFeatures


def is_labelled_image(space: spaces.Space) -> bool:
    """Whether observations are those of the Omniglot task: an image and its label."""
    return isinstance(space, spaces.Dict) and set(space.spaces) == {"image", "label"}


def labelled_image_sizes(observation_space: spaces.Space) -> tuple[int, int]:
    """Pixels and labels of a space, or a ValueError that says what it should be."""
    parts = observation_space.spaces if isinstance(observation_space, spaces.Dict) else {}
    shapes = [parts[key].shape for key in ("image", "label") if isinstance(parts.get(key), spaces.Box)]
    if not is_labelled_image(observation_space) or [len(shape or ()) for shape in shapes] != [1, 1]:
        raise ValueError(
            "observation_space must be a Dict of the one-dimensional Boxes image and label, as "
            f"PlasticOmniglot-v0 has it, got {observation_space}"
        )
    (n_pixels,), (n_labels,) = shapes  # type: ignore[misc]
    return n_pixels, n_labels


class LabelledImages(BaseFeaturesExtractor):
    """Features of a flat square image, and the label behind them.

    Args:
        observation_space: a Dict of the Boxes ``image`` (side * side,), with a side of at least 31, and
            ``label`` (N,), as `PlasticOmniglot-v0` has them.
        channels: of each of the four convolutions, at least 2, or a number for each.

    Raises:
        ValueError: the space is another one, or `channels` is outside its range.
    """

    def __init__(self, observation_space: spaces.Space, channels: int | Sequence[int] = 64) -> None:
        n_pixels, n_labels = labelled_image_sizes(observation_space)
        features = ImageFeatures(n_pixels, channels)
        super().__init__(observation_space, features.size + n_labels)
        # SB3's policies initialize layers anew, which needs the usual layout.
        self.features = features.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """image: (B, n_pixels), label: (B, N); returns (B, features + N)."""
        return torch.cat([self.features(observations["image"]), observations["label"]], dim=1)
