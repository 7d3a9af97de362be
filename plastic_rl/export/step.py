"""One step of an agent as a module of tensors in and tensors out, which can be traced."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.utils import is_masking_supported
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor, nn

from plastic_rl.export.kinds import Observation, kind_of
from plastic_rl.export.normalization import Normalization
from plastic_rl.ops.plastic_rnn import map_state, tensors
from plastic_rl.policies.masking import choices
from plastic_rl.runs.statistics import find_normalize


class Inputs(NamedTuple):
    """What a step takes, of B environments.

    observation: (B, ...), or a dictionary of those
    episode_start: (B,) bool, true where the state is zeroed first
    state: the parts of the state that are not empty, by name, (B, ...) each
    action_mask: (B, M) bool, true where an action is allowed; None where the agent takes no masks
    """

    observation: Observation
    episode_start: Tensor
    state: dict[str, Tensor]
    action_mask: Tensor | None = None


class AgentStep(nn.Module):
    """One step of an agent that takes the most probable action.

    It holds a copy of the policy on the CPU, whose plastic operator is the reference, and no state.

    Args:
        model: a trained model whose policy is one of `plastic_rl.export.kinds`. `VecNormalize` around its
            environments becomes part of the step: observations go in as the environment gives them.
        action_masks: whether a mask is one of the inputs; None is where the model's environments have masks
            and it uses them.

    Attributes:
        observation_space: of the observations that go in.
        action_space: of the actions that come out.
        state_shapes: of the state's parts for one environment, by name, without the batch.

    Raises:
        ValueError: the policy is of another kind, or the observations are normalized before something else
            changes their shape.
    """

    def __init__(self, model: BaseAlgorithm, action_masks: bool | None = None) -> None:
        super().__init__()
        kind = kind_of(model.policy)
        self._run = kind.step
        self.policy = copy.deepcopy(model.policy).cpu().requires_grad_(False)
        self.policy.set_training_mode(False)
        for module in self.policy.modules():
            if hasattr(module, "backend"):
                module.__dict__["backend"] = "reference"
        source = find_normalize(model.get_env())
        self.normalization = None
        self.observation_space: spaces.Space[Any] = model.observation_space
        if source is not None and source.norm_obs:
            self.normalization = Normalization(source, model.observation_space)
            self.observation_space = source.venv.observation_space
        self.action_space = model.action_space
        if action_masks is None:
            env = model.get_env()
            uses = kind.masks and getattr(model, "use_masking", False)
            action_masks = uses and env is not None and is_masking_supported(env)
        if action_masks and not kind.masks:
            raise ValueError(
                f"action_masks must be False for {type(model.policy).__name__}, got {action_masks!r}"
            )
        self.mask_size = sum(choices(model.action_space)) if action_masks else 0
        memory = kind.memory(self.policy, 1)
        self._names = _name_tree(memory)
        self._shapes = {name: tuple(part.shape[1:]) for name, part in _named(memory).items()}
        self.state_shapes = {name: shape for name, shape in self._shapes.items() if 0 not in shape}

    def forward(
        self,
        observation: Observation,
        episode_start: Tensor,
        state: dict[str, Tensor],
        action_mask: Tensor | None = None,
    ) -> dict[str, Any]:
        """Take one step; for the inputs see `Inputs`.

        returns: ``action`` (B, *action shape), what it was chosen from (``logits``, or ``mean`` and ``std``
            before any squashing, or the network's ``output``; (B, M) each), ``value`` (B,) where there is a
            critic, and the new ``state`` by names
        """
        if self.normalization is not None:
            observation = self.normalization(observation)
        batch = episode_start.shape[0]
        whole = map_state(
            lambda name: state[name] if name in state else torch.zeros((batch, *self._shapes[name])),
            self._names,
        )
        outputs, after = self._run(self.policy, observation, episode_start, whole, action_mask)
        named = _named(after)
        return {**outputs, "state": {name: named[name] for name in self.state_shapes}}

    def example(self, batch: int = 3) -> Inputs:
        """Inputs of the right shapes and dtypes."""
        rng = np.random.default_rng(0)
        parts = {key: _drawn(space, batch, rng) for key, space in self.observation_parts().items()}
        observation = parts if isinstance(self.observation_space, spaces.Dict) else parts[""]
        state = {name: torch.zeros((batch, *shape)) for name, shape in self.state_shapes.items()}
        mask = torch.ones(batch, self.mask_size, dtype=torch.bool) if self.mask_size else None
        return Inputs(observation, torch.ones(batch, dtype=torch.bool), state, mask)

    def observation_parts(self) -> dict[str, spaces.Space[Any]]:
        """The spaces of the observation's parts by their keys; itself under ``""`` where it is no Dict."""
        space = self.observation_space
        return dict(space.spaces) if isinstance(space, spaces.Dict) else {"": space}


def _drawn(space: spaces.Space[Any], batch: int, rng: np.random.Generator) -> Tensor:
    """Observations of a space, (batch, ...), in its dtype."""
    space.seed(int(rng.integers(2**31)))
    return torch.as_tensor(np.stack([np.asarray(space.sample(), dtype=space.dtype) for _ in range(batch)]))


def _name_tree(state: Any, prefix: str = "") -> Any:
    """The state with the name of each tensor in its place: ``hidden``, ``critic_hidden``, ..."""
    if not isinstance(state, tuple):
        return None if state is None else prefix
    fields = getattr(state, "_fields", [str(i) for i in range(len(state))])
    # What is the actor's, mostly all there is, goes without its name.
    names = ["" if field == "actor" else field for field in fields]
    parts = [
        _name_tree(part, "_".join(filter(None, (prefix, name))))
        for name, part in zip(names, state, strict=True)
    ]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def _named(state: Any) -> dict[str, Tensor]:
    """The tensors of a state by name."""
    return dict(zip(tensors(_name_tree(state)), tensors(state), strict=True))  # type: ignore[arg-type]
