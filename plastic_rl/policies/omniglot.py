"""An actor-critic policy for drawings that come with a label: Omniglot played for reward."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import nn

from plastic_rl.arguments import check_scale
from plastic_rl.ops.plastic_rnn import Rule
from plastic_rl.policies.actor_critic import PlasticPolicy
from plastic_rl.policies.labelled_images import LabelledImages, labelled_image_sizes
from plastic_rl.policies.readout import PlasticReadout

# Of a recurrent core, and of no use here.
_RECURRENT = ("cell", "hidden_size", "activation", "backend", "trace_clip")


class OmniglotPolicy(PlasticPolicy):
    """The Omniglot network as actor and critic, learning from reward (ICML 2018, section 4.3).

    Convolutions make features of the image; plastic connections lead from these to one neuron per class,
    clamped to the label where the observation tells it. The actions' logits are those of the classes.

    Args:
        observation_space: as `LabelledImages` takes it.
        action_space: Discrete(N): one action for each class of the label.
        lr_schedule: learning rate as a function of the remaining progress.
        rule: how the trace changes: ``oja``, ``hebb``, or a registered one that has no modulating neuron.
        eta: where the trained learning rate of the trace starts, in (0, 1).
        w_init: w starts normal, with mean 0 and this standard deviation of at least 0.
        alpha_init: alpha starts here, at least 0.
        **kwargs: everything else that `PlasticPolicy` takes, but for what is a recurrent core's:
            ``cell``, ``hidden_size``, ``activation``, ``backend`` and ``trace_clip``.

    Raises:
        ValueError: the spaces are others, or an argument is outside its range or of a recurrent core.
    """

    default_features_extractor: ClassVar[type[BaseFeaturesExtractor]] = LabelledImages

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        *,
        rule: Rule = "oja",
        eta: float = 0.3,
        w_init: float = 0.01,
        alpha_init: float = 0.1,
        **kwargs: Any,
    ) -> None:
        _, n_labels = labelled_image_sizes(observation_space)
        if not isinstance(action_space, spaces.Discrete) or action_space.n != n_labels:
            raise ValueError(f"action_space must be Discrete({n_labels}) for such labels, got {action_space}")
        for name in _RECURRENT:
            if name in kwargs:
                raise ValueError(f"OmniglotPolicy has no {name}: its core is not recurrent")
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            hidden_size=n_labels,
            rule=rule,
            eta=eta,
            w_init=check_scale("w_init", w_init),
            alpha_init=alpha_init,
            **kwargs,
        )

    def _make_core(self) -> PlasticReadout:
        given = self.core_options
        assert given.w_init is not None
        return PlasticReadout(
            self.features_dim - self.hidden_size,
            self.hidden_size,
            rule=given.rule,
            alpha=given.alpha,
            eta=given.eta,
            w_std=given.w_init,
            alpha_mean=given.alpha_init,
            alpha_std=0.0,
        )

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        # SB3 starts the last layer near zero, which would leave next to nothing of the classes' logits.
        nn.init.eye_(self.action_net.weight)  # type: ignore[arg-type]
        # Initialized now, convolutions can have the layout in which they are quick.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        return {name: value for name, value in data.items() if name not in _RECURRENT}
