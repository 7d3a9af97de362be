"""One step of an agent as a program of ``torch.export``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils._pytree as pytree
from stable_baselines3.common.base_class import BaseAlgorithm
from torch.distributions import Distribution
from torch.export import ExportedProgram

from plastic_rl.export.step import AgentStep


def export_program(model: BaseAlgorithm, *, action_masks: bool | None = None) -> ExportedProgram:
    """One step of a trained agent, for any number of environments, as ``torch.export`` makes it.

    The program is called with ``observation``, ``episode_start``, the ``state`` by names and, where the agent
    takes one, ``action_mask``; it returns ``action``, what that was chosen from, ``value`` and the new
    ``state``. See `plastic_rl.export.step.AgentStep`. ``torch.export.save`` writes it to a file.

    Args:
        model: a model of `PlasticA2C`, `PlasticPPO`, `SupervisedMetaLearner`, RecurrentPPO, A2C or PPO.
        action_masks: whether a mask is one of the inputs; None is where the model's environments have masks
            and it uses them.

    Raises:
        ValueError: the model has another kind of policy.
    """
    return traced(AgentStep(model, action_masks))


def traced(step: AgentStep) -> ExportedProgram:
    """The program of a step, the number of environments left open."""
    inputs = given(step)
    batch = torch.export.Dim("batch", min=1)
    shapes = pytree.tree_map(lambda _: {0: batch}, inputs)
    with _without_checks(), torch.no_grad():
        return torch.export.export(step, (), kwargs=inputs, dynamic_shapes=shapes, strict=False)


def given(step: AgentStep) -> dict[str, Any]:
    """An example of the arguments of a step."""
    return {name: part for name, part in step.example()._asdict().items() if part is not None}


def names(tree: Any) -> list[str]:
    """The names of the tensors in arguments or outputs, in their order: ``state.hidden`` and the like."""
    found, _ = pytree.tree_flatten_with_path(tree)
    return [".".join(str(key.key) for key in path) for path, _ in found]  # type: ignore[attr-defined]


@contextmanager
def _without_checks() -> Iterator[None]:
    """Distributions do not look at their parameters, which have no values yet."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        with warnings.catch_warnings():
            # torch's, of its own code and of its own LSTMs.
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", "The tensor attribute", UserWarning)
            yield
    finally:
        Distribution.set_default_validate_args(before)
