"""State dicts of networks and optimisers in a model file, and whether they fit the model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from plastic_rl.saving.classes import in_table
from plastic_rl.saving.errors import ModelFileError


def without_copies(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a network's state dict, and the names that mean one that is already there.

    Features extractors that actor and critic share stand in the state dict of a policy three times.

    Raises:
        ValueError: it holds something else.
    """
    tensors: dict[str, Tensor] = {}
    same: dict[str, str] = {}
    seen: dict[Any, str] = {}
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f"the state {name!r} of a network must be a tensor, got {type(tensor).__name__}")
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and place in seen:
            same[name] = seen[place]
        else:
            seen[place] = name
            tensors[name] = tensor.detach().cpu().contiguous()
    return tensors, same


def with_copies(tensors: Mapping[str, Tensor], same: Any) -> dict[str, Tensor]:
    """The state dict that `without_copies` was given.

    Raises:
        ModelFileError: a name means one that is not there.
    """
    if not isinstance(same, dict) or not all(isinstance(other, str) for other in same.values()):
        raise ModelFileError("its names of shared tensors are damaged")
    for name, other in same.items():
        if other not in tensors or name in tensors:
            raise ModelFileError(f"there is no tensor {other[:100]!r}, as which {name[:100]!r} is given")
    return {**tensors, **{name: tensors[other] for name, other in same.items()}}


def with_shared(what: str, given: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """A state dict with the tensors that it has under another name, as files of older policies do.

    There is a warning where something had to be put in.
    """
    own, found = module.state_dict(), dict(given)
    places = {own[name].data_ptr(): name for name in own.keys() & given.keys() if own[name].numel()}
    missing = [name for name in own if name not in given and own[name].data_ptr() in places]
    found |= {name: given[places[own[name].data_ptr()]] for name in missing}
    if missing:
        warnings.warn(
            f"{what} lacks {missing[0]}{' and others' if len(missing) > 1 else ''}, which the model shares "
            f"with {places[own[missing[0]].data_ptr()]}: that is taken for it",
            stacklevel=5,
        )
    return found


def check_network(what: str, given: Mapping[str, Tensor], module: nn.Module, exact: bool = True) -> None:
    """Make sure that a state dict is one of this network's, in the same form, and of numbers.

    Args:
        what: what it is called in messages.
        given: the state dict. Numbers of 16 bits may stand for such of 32.
        module: the network.
        exact: whether all of the network's tensors must be there, and no others.

    Raises:
        ModelFileError: it is not.
    """
    own = module.state_dict()
    if exact and given.keys() != own.keys():
        missing, others = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
        lists = [
            f"{word} {', '.join(names[:3])}" for word, names in (("lacks", missing), ("has", others)) if names
        ]
        raise ModelFileError(f"{what} does not fit the model: it {' and '.join(lists)}")
    parameters = dict(module.named_parameters())
    for name in sorted(given.keys() & own.keys()):
        tensor, mine = given[name], own[name]
        if tensor.shape != mine.shape:
            raise ModelFileError(
                f"{what} does not fit the model: {name} has the shape "
                f"{tuple(tensor.shape)}, not {tuple(mine.shape)}"
            )
        if tensor.dtype != mine.dtype and (tensor.dtype, mine.dtype) != (torch.float16, torch.float32):
            raise ModelFileError(f"{what}: {name} must be {mine.dtype}, got {tensor.dtype}")
        if tensor.is_floating_point():
            bad = ~tensor.isfinite() if name in parameters else tensor.isnan()
            if bad.any():
                raise ModelFileError(f"{what}: {name} holds {tensor[bad][0].item()}, which is no number")


def fitted_optimizer(what: str, given: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimiser's state dict as this version of torch takes it.

    Settings that the file lacks, as an older version did not have them, are the optimiser's own; those that
    only a newer version has are dropped.

    Raises:
        ModelFileError: it is of another optimiser, or other parameters.
    """
    own = optimizer.state_dict()
    try:
        groups, states = given["param_groups"], given["state"]
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if [group["params"] for group in groups] != [group["params"] for group in own["param_groups"]]:
            raise ModelFileError(f"{what} is of other parameters than the model")
        fitted = [
            _fitted_group(what, group, mine) for group, mine in zip(groups, own["param_groups"], strict=True)
        ]
        if not set(states) <= set(range(len(parameters))):
            raise ModelFileError(f"{what} has the state of parameters that the model does not have")
        if in_table(type(optimizer)):
            for index, state in states.items():
                _check_state(f"{what}: the state of parameter {index}", state, parameters[index])
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{what} is damaged: {type(error).__name__}: {error}") from error
    return {"state": states, "param_groups": fitted}


def _fitted_group(what: str, given: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    group = dict(own)
    for name in given.keys() & own.keys():
        value, mine = given[name], own[name]
        numbers = isinstance(value, int | float) and isinstance(mine, int | float)
        if value is not None and mine is not None and not numbers and type(value) is not type(mine):
            raise ModelFileError(f"{what}: {name} must be like {mine!r}, got {value!r}")
        group[name] = value
    return group


def _check_state(what: str, state: Mapping[str, Any], parameter: Tensor) -> None:
    """All that the optimisers of the table keep is a number, or has the form of the parameter."""
    for name, value in state.items():
        if isinstance(value, Tensor):
            if value.numel() != 1 and value.shape != parameter.shape:
                raise ModelFileError(
                    f"{what}: {name} has the shape {tuple(value.shape)}, not {tuple(parameter.shape)}"
                )
            if value.isnan().any():
                raise ModelFileError(f"{what}: {name} holds nan")
        elif value is not None and not isinstance(value, int | float):
            raise ModelFileError(f"{what}: {name} is {value!r}")
