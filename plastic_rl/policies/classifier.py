"""A network that tells characters apart which it was shown once: convolutions and a plastic output layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from plastic_rl.arguments import check_count, check_scale
from plastic_rl.ops.plastic_rnn import Rule
from plastic_rl.policies.connections import Alpha
from plastic_rl.policies.episodic import EpisodicNetwork, NetworkState, Observations
from plastic_rl.policies.readout import PlasticReadout

_LAYERS = 4
_SMALLEST_SIDE = 2 ** (_LAYERS + 1) - 1


class ImageFeatures(nn.Module):
    """Four convolutions, 3 x 3 with stride 2 and no padding, each followed by a rectifier.

    Images of 31 x 31 become one value per channel. An image's features are shifted and scaled to mean 0 and
    variance 1, so that every image leaves a trace of the same size, and what is common to all images leaves
    little. An image that comes up many times is looked at once.

    Args:
        n_pixels: of a square grey image with sides of at least 31.
        channels: of every layer, or one number for each of them; at least 2.

    Raises:
        ValueError: an argument outside its range, named.
    """

    def __init__(self, n_pixels: int, channels: int | Sequence[int] = 64) -> None:
        super().__init__()
        self.side = math.isqrt(n_pixels)
        if self.side**2 != n_pixels or self.side < _SMALLEST_SIDE:
            raise ValueError(
                f"n_pixels must be the square of a side of at least {_SMALLEST_SIDE}, got {n_pixels!r}"
            )
        widths = _widths(channels)
        self.layers = nn.ModuleList(
            nn.Conv2d(n_in, n_out, 3, stride=2) for n_in, n_out in pairwise((1, *widths))
        )
        for layer in self.layers:
            assert isinstance(layer, nn.Conv2d)
            # Keeps the size of the signal, which torch's default shrinks at every layer.
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        # The layout in which the CPU convolves twice as fast, backwards above all.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        side = self.side
        for _ in range(_LAYERS):
            side = (side - 1) // 2
        self.size = widths[-1] * side**2

    def forward(self, images: Tensor) -> Tensor:
        """images: (..., n_pixels); returns (..., features)."""
        distinct, which = _distinct(images.reshape(-1, images.shape[-1]))
        features = distinct.reshape(-1, 1, self.side, self.side).contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            features = layer(features).relu_()
        features = nn.functional.layer_norm(features.reshape(-1, self.size), (self.size,))
        features = features.index_select(0, which)
        return features.reshape(*images.shape[:-1], self.size)


def _widths(channels: int | Sequence[int]) -> list[int]:
    """The channels of every layer."""
    each = channels if isinstance(channels, Sequence) else [channels] * _LAYERS
    if len(each) != _LAYERS:
        raise ValueError(
            f"channels must be one number, or one for each of {_LAYERS} layers, got {channels!r}"
        )
    widths = [check_count("channels", width) for width in each]
    if min(widths) < 2:
        raise ValueError(f"channels must be at least 2, got {channels!r}")
    return widths


def _distinct(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The rows without repetitions (D, F), and which of them each row is (R,). rows: (R, F)."""
    # One number tells rows apart, much faster than sorting them; that it did is checked. The last digits
    # depend on where a row stands.
    weights = torch.linspace(1, 2, rows.shape[1], dtype=torch.float64, device=rows.device).sin()
    numbers = torch.mv(rows.double(), weights).round(decimals=9)
    numbers, which = torch.unique(numbers, return_inverse=True)
    first = which.new_empty(len(numbers)).scatter_(0, which, torch.arange(len(rows), device=rows.device))
    if len(first) < len(rows) and torch.equal(rows[first[which]], rows):
        return rows[first], which
    return rows, torch.arange(len(rows), device=rows.device)


class PlasticClassifier(EpisodicNetwork):
    """The Omniglot network (Miconi, Stanley & Clune, ICML 2018, section 4.3).

    Convolutions make features of every image; plastic connections lead from these to one softmax neuron per
    class. Where a label comes with the image the output is clamped to it, and the trace of Oja's rule (Eq. 3)
    binds the features to the label. Nothing else is remembered.

    Args:
        n_way: number of classes N, at least 2.
        n_pixels: of a square grey image with sides of at least 31.
        channels: of every convolution, or one number for each of the four; at least 2.
        rule: how the trace changes: ``oja``, ``hebb``, or a registered one that has no modulating neuron.
        alpha: ``full``, one trained plasticity per connection; ``homogeneous``, one for all;
            ``none``, no plasticity: nothing can be learned within an episode.
        eta: where the trained learning rate of the trace starts, in (0, 1).
        w_init: w starts normal, with mean 0 and this standard deviation of at least 0.
        alpha_init: where alpha starts, at least 0. With starts near 0, such as the published .01 for eta and
            alpha, the trace carries almost no signal and training stays at chance for tens of thousands of
            episodes.

    Raises:
        ValueError: an argument outside its range, named.
    """

    def __init__(
        self,
        n_way: int = 5,
        n_pixels: int = 961,
        *,
        channels: int | Sequence[int] = 64,
        rule: Rule = "oja",
        alpha: Alpha = "full",
        eta: float = 0.3,
        w_init: float = 0.01,
        alpha_init: float = 0.5,
    ) -> None:
        super().__init__()
        if check_count("n_way", n_way) < 2:
            raise ValueError(f"n_way must be at least 2, got {n_way!r}")
        self.features = ImageFeatures(n_pixels, channels)
        self.connections = PlasticReadout(
            self.features.size,
            int(n_way),
            rule=rule,
            alpha=alpha,
            eta=eta,
            w_std=check_scale("w_init", w_init),
            alpha_mean=check_scale("alpha_init", alpha_init),
            alpha_std=0.0,
        )

    @property
    def eta(self) -> Tensor | None:
        """The learning rate of the trace, (), in (0, 1); None without plasticity."""
        return self.connections.eta

    def initial_state(self, batch_size: int) -> NetworkState:
        """Zeros: the trace (B, features, N), or (B, 0, 0) without plasticity."""
        return (self.connections.initial_state(batch_size).trace,)

    def forward(self, observations: Observations) -> Tensor:
        """The class of the last image, with gradients.

        observations: ``image`` (T, B, n_pixels); ``label`` (T, B, N), one-hot, or zeros where it is not told
        returns: logits (B, N)
        """
        assert isinstance(observations, dict)
        labels = observations["label"]
        features = self.features(observations["image"])
        readout = self.connections
        (trace,) = self.initial_state(labels.shape[1])
        for t in range(labels.shape[0] - 1):
            # Where a label is told nobody asks for the answer.
            if labels[t].any(dim=-1).all():
                trace = readout.update(trace, features[t], labels[t])
            else:
                _, trace = readout.respond(features[t], labels[t], trace)
        return readout.logits(features[-1], trace)

    def step(self, observations: Observations, state: NetworkState) -> tuple[Tensor, NetworkState]:
        """The class of one image, without gradients.

        observations: ``image`` (B, n_pixels), ``label`` (B, N)
        state: the trace (B, features, N)
        returns: logits (B, N), new state
        """
        assert isinstance(observations, dict)
        (trace,) = state
        with torch.no_grad():
            features = self.features(observations["image"])
            logits, trace = self.connections.respond(features, observations["label"], trace)
            return logits, (trace,)
