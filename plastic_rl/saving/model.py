"""Models of any algorithm of Stable-Baselines3's family, saved and loaded without pickled objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import recursive_getattr, recursive_setattr
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.utils import FloatSchedule, check_for_correct_spaces, get_system_info
from torch import nn, optim

from plastic_rl.saving.archive import AnyPath, shown
from plastic_rl.saving.budget import Budget
from plastic_rl.saving.classes import known_algorithm
from plastic_rl.saving.content import Content, read, write
from plastic_rl.saving.errors import ModelFileError, UntrustedFileError
from plastic_rl.saving.kinds import check_settings
from plastic_rl.saving.pickled import read_trusted_model
from plastic_rl.saving.states import check_network, fitted_optimizer, with_shared

Algorithm = TypeVar("Algorithm", bound=BaseAlgorithm)

# Made anew from `learning_rate` whenever a model is set up.
_DERIVED = ("lr_schedule",)
# What learn() makes anew where it is None.
_MAY_BE_MISSING = ("ep_info_buffer", "ep_success_buffer", "_last_obs", "_last_original_obs")
# What settings that do not fit raise while a model is built from them.
_MISFITS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    RuntimeError,
    TypeError,
)


def save_model(
    model: BaseAlgorithm,
    path: AnyPath,
    exclude: Iterable[str] | None = None,
    include: Iterable[str] | None = None,
    *,
    half: bool = False,
) -> None:
    """Write a model to a file that holds no code.

    Args:
        model: of any algorithm.
        path: a file (``.zip`` is appended where it has no ending), or a stream.
        exclude: attributes to leave out beside the usual ones.
        include: attributes to keep that would be left out.
        half: store networks in 16-bit numbers, half as large.

    Raises:
        ValueError: a state of a network or an optimiser that is no plain value.
        OSError: the file cannot be written.
    """
    names, variables = model._get_torch_save_params()
    out = {*(exclude or ()), *model._excluded_save_params()} - set(include or ())
    out |= {name.split(".")[0] for name in [*names, *variables]} | set(_DERIVED)
    settings = {name: value for name, value in vars(model).items() if name not in out}
    states: dict[str, Any] = dict(model.get_parameters())
    if half:
        networks = {name: state for name, state in states.items() if "param_groups" not in state}
        for name, state in networks.items():
            states[name] = {key: tensor.half() for key, tensor in state.items()}
    if variables:
        states["variables"] = {name: recursive_getattr(model, name) for name in variables}
    write(path, "model", known_algorithm(type(model)), settings, states, "zip")


def load_model(
    algorithm: type[Algorithm],
    path: AnyPath,
    env: GymEnv | None = None,
    device: torch.device | str = "auto",
    custom_objects: dict[str, Any] | None = None,
    print_system_info: bool = False,
    force_reset: bool = True,
    trust: bool = False,
    **kwargs: Any,
) -> Algorithm:
    """Read a model. Nothing in the file is run, unless it is an older one with pickled objects and trusted.

    Args:
        algorithm: the class that was saved, or one of the same family.
        path: a file (``.zip`` may be left out), or a stream.
        env: the environment to attach.
        device: ``auto``, ``cpu``, ``cuda``, ...
        custom_objects: settings that take the place of the file's, by name; also those that the file lacks
            because they were no plain values.
        print_system_info: whether to print the machines of saving and of loading.
        force_reset: whether new episodes begin; otherwise the environment stands where the model was saved.
        trust: whether a file with pickled objects, which run code, is read.
        **kwargs: attributes of the model that are set; ``policy_kwargs`` must equal the saved ones and
            completes them.

    Raises:
        UntrustedFileError: the file has pickled objects, and ``trust`` is false.
        ModelFileError: the file is damaged, of another algorithm, or describes another model than it holds.
        ValueError: a setting outside its range, or an environment with other spaces.
        OSError: the file cannot be read.
    """
    if custom_objects is not None and not isinstance(custom_objects, dict):
        raise ValueError(f"custom_objects must be a dictionary or None, got {custom_objects!r}")
    given = custom_objects or {}
    if print_system_info:
        print("== CURRENT SYSTEM INFO ==")
        get_system_info()
    content = _read(path, algorithm, given, trust)
    if print_system_info:
        print("== SAVED MODEL SYSTEM INFO ==")
        print("\n".join(f"- {name}: {version}" for name, version in content.versions.items()))
    where, settings = shown(path), content.settings
    complete(where, content, {**kwargs, **given})
    if "policy_kwargs" in kwargs:
        kwargs["policy_kwargs"] = _same_policy_kwargs(algorithm, settings, kwargs["policy_kwargs"])
    check_settings(where, settings, algorithm, given)
    if env is not None:
        env = algorithm._wrap_env(env, settings.get("verbose", 0))
        check_for_correct_spaces(env, settings["observation_space"], settings["action_space"])
        settings["n_envs"] = env.num_envs
        if force_reset:
            settings["_last_obs"] = None
    n_tensors = sum(len(state) for state in content.states.values())
    n_bytes = sum(tensor.nbytes for tensor in content.tensors)
    with described(where), Budget(n_bytes, n_tensors, env.num_envs if env is not None else 1):
        model = algorithm(policy=settings["policy_class"], env=env, device=device, _init_setup_model=False)  # type: ignore[call-arg]
        settings["lr_schedule"] = FloatSchedule(settings.get("learning_rate", model.learning_rate))
        vars(model).update(settings)
        vars(model).update(kwargs)
        model._setup_model()
    variables = content.states.pop("variables", {})
    model.set_parameters(_fitted(where, model, content.states), exact_match=True, device=device)
    for name, tensor in variables.items():
        recursive_setattr(model, f"{name}.data", tensor.data.to(model.device))
    if model.use_sde:
        # The exploration matrix of the right device.
        model.policy.reset_noise()  # type: ignore[operator]
    return model


def _same_policy_kwargs(algorithm: type[Algorithm], settings: Mapping[str, Any], given: Any) -> Any:
    """The saved arguments of the policy, which the given ones have to be.

    Raises:
        ValueError: they differ.
    """
    saved, accepted = settings.get("policy_kwargs"), [given]
    complete_kwargs = getattr(algorithm, "completed_policy_kwargs", None)
    if complete_kwargs and isinstance(given, Mapping):
        accepted.append(complete_kwargs(settings.get("policy_class"), given))
    if saved not in accepted:
        raise ValueError(f"policy_kwargs must equal those of the saved model, {saved}, got {given}")
    return saved


def read_parameters(
    path: AnyPath, model: BaseAlgorithm, exact: bool = True, trust: bool = False
) -> dict[str, Any]:
    """The state dicts in a file of a model, once they were found to fit this model.

    Args:
        path: a file or a stream.
        model: takes them.
        exact: whether none may be missing, nor a part of one.
        trust: whether a file with pickled objects is read.

    Raises:
        UntrustedFileError: the file has pickled objects, and ``trust`` is false.
        ModelFileError: the file is damaged, or of another model.
        OSError: it cannot be read.
    """
    content = _read(path, type(model), {}, trust, only_states=True)
    content.states.pop("variables", None)
    return _fitted(shown(path), model, content.states, exact)


def read_content(path: AnyPath, given: Mapping[str, Any], trust: bool, only_states: bool = False) -> Content:
    """What a file of a model of any algorithm holds; arguments and errors as for `load_model`.

    With `only_states` the settings of a pickled file are not read: they are what runs code.
    """
    try:
        return read(path, "model", given=given)
    except UntrustedFileError:
        if not trust:
            raise
    settings, states, variables = read_trusted_model(path, dict(given), only_states)
    if variables:
        states["variables"] = variables
    settings.get("policy_kwargs", {}).pop("device", None)
    return Content("model", None, settings, {}, states)


def _read(
    path: AnyPath, algorithm: type, given: Mapping[str, Any], trust: bool, only_states: bool = False
) -> Content:
    """What a file of a model of this algorithm holds."""
    content = read_content(path, given, trust, only_states)
    wanted = known_algorithm(algorithm)
    if None not in (wanted, content.owner) and wanted != content.owner:
        raise ModelFileError(f"{shown(path)} is a model of {content.owner}, not of {wanted}")
    return content


def complete(where: str, content: Content, given: Mapping[str, Any]) -> None:
    """Put in what the file lacks because it was no plain value.

    Raises:
        ModelFileError: it was not given.
    """
    missing = {}
    for place, words in content.left_out.items():
        name, *inner = place.split(".")
        if name in given:
            content.settings.setdefault(name, given[name])
            _fill(content.settings[name], given[name], inner)
        elif name in _MAY_BE_MISSING:
            content.settings[name] = None
        else:
            missing[place] = words
    if missing:
        what = ", ".join(f"{place} ({words})" for place, words in missing.items())
        names = ", ".join(dict.fromkeys(place.split(".")[0] for place in missing))
        raise ModelFileError(
            f"{where} was saved without {what}: a model file holds no code. Give {names} in custom_objects"
        )


def _fill(settings: Any, given: Any, names: list[str]) -> None:
    """Take over what lies under these names in a mapping of mappings, where it is missing."""
    if not names or not isinstance(settings, dict) or not isinstance(given, Mapping) or names[0] not in given:
        return
    settings.setdefault(names[0], given[names[0]])
    _fill(settings[names[0]], given[names[0]], names[1:])


def _fitted(
    where: str, model: BaseAlgorithm, states: Mapping[str, Any], exact: bool = True
) -> dict[str, Any]:
    """State dicts as a model takes them.

    Raises:
        ModelFileError: they are of another model.
    """
    names = model._get_torch_save_params()[0]
    if exact and set(states) != set(names):
        raise ModelFileError(f"{where} holds the states of {', '.join(states)}, not of {', '.join(names)}")
    fitting = {}
    try:
        for name in (name for name in states if name in names):
            target = recursive_getattr(model, name)
            if isinstance(target, optim.Optimizer):
                fitting[name] = fitted_optimizer(name, states[name], target)
            else:
                module: nn.Module = getattr(target, "_orig_mod", target)
                fitting[name] = with_shared(name, states[name], module)
                check_network(name, fitting[name], module, exact)
    except ModelFileError as error:
        raise ModelFileError(f"{where}: {error}") from error
    return fitting


@contextmanager
def described(where: str) -> Iterator[None]:
    """Around what is built from a file's settings: what does not fit there is the file's fault.

    Raises:
        ModelFileError: something did not fit.
    """
    try:
        yield
    except ModelFileError as error:
        raise ModelFileError(f"{where}: {error}") from error
    except _MISFITS as error:
        raise ModelFileError(f"{where} does not describe a model: {type(error).__name__}: {error}") from error
