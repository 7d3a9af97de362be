"""Policies alone, saved and loaded without pickled objects."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from stable_baselines3.common.policies import BaseModel
from stable_baselines3.common.utils import ConstantSchedule, get_device

from plastic_rl.saving.archive import AnyPath, shown
from plastic_rl.saving.budget import Budget
from plastic_rl.saving.classes import name_of
from plastic_rl.saving.content import Content, read, write
from plastic_rl.saving.errors import UntrustedFileError
from plastic_rl.saving.model import complete, described
from plastic_rl.saving.pickled import read_trusted_policy
from plastic_rl.saving.states import check_network

Policy = TypeVar("Policy", bound=BaseModel)


def save_policy(policy: BaseModel, path: AnyPath) -> None:
    """Write a policy to a file that holds no code.

    Args:
        policy: with what its constructor takes as ``_get_constructor_parameters``.
        path: a file, as it is, or a stream.

    Raises:
        OSError: the file cannot be written.
    """
    arguments = dict(policy._get_constructor_parameters())
    if "lr_schedule" in arguments:
        # Whoever loads a policy alone does not train it.
        arguments["lr_schedule"] = ConstantSchedule(0.0)
    write(path, "policy", name_of(type(policy)), arguments, {"policy": policy.state_dict()}, None)


def load_policy(
    kind: type[Policy],
    path: AnyPath,
    device: torch.device | str = "auto",
    custom_objects: dict[str, Any] | None = None,
    trust: bool = False,
) -> Policy:
    """Read a policy. Nothing in the file is run, unless it is an older one with pickled objects and trusted.

    Args:
        kind: the class that was saved.
        path: a file or a stream.
        device: ``auto``, ``cpu``, ``cuda``, ...
        custom_objects: constructor arguments that take the place of the file's, by name; also those that it
            lacks because they were no plain values.
        trust: whether a file with pickled objects, which run code, is read.

    Raises:
        UntrustedFileError: the file has pickled objects, and ``trust`` is false.
        ModelFileError: the file is damaged, or describes another policy than it holds.
        OSError: it cannot be read.
    """
    given = custom_objects or {}
    try:
        content = read(path, "policy", given=given, suffix=None)
    except UntrustedFileError:
        if not trust:
            raise
        arguments, state = read_trusted_policy(path)
        content = Content("policy", None, {**arguments, **given}, {}, {"policy": state})
    where, state = shown(path), content.states.get("policy", {})
    complete(where, content, given)
    with described(where):
        with Budget(sum(tensor.nbytes for tensor in state.values()), len(state)):
            policy = kind(**content.settings)
        check_network("policy", state, policy)
    policy.load_state_dict(state)
    return policy.to(get_device(device))
