"""Files with pickled objects, as Stable-Baselines3 writes them: what they hold; reading trusted ones."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import torch
from stable_baselines3.common.save_util import load_from_zip_file

from plastic_rl.saving.errors import ModelFileError

if TYPE_CHECKING:
    from plastic_rl.saving.archive import AnyPath, Archive

_SHOWN = 4
_MAX_DATA = 2**24
# What a damaged pickle, or one of another program, can raise.
_UNREADABLE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ImportError,
    RuntimeError,
    EOFError,
    OverflowError,
    MemoryError,
    NotImplementedError,
    AssertionError,
    pickle.UnpicklingError,
)


def what_is_pickled(archive: Archive) -> str:
    """The pickled objects of a file in words, found without reading one of them."""
    names: list[str] = []
    try:
        data = json.loads(archive.read("data", _MAX_DATA))
        names = [name for name, value in data.items() if isinstance(value, dict) and ":serialized:" in value]
    except (ValueError, AttributeError, RecursionError):
        pass
    if not names:
        names = [name for name in archive.names if name == "data" or name.endswith((".pth", ".pkl"))]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    shown = ", ".join(repr(name[:40]) for name in names[:_SHOWN])
    return f"pickled objects ({shown}{more})"


def read_trusted_model(
    path: AnyPath, custom_objects: dict[str, Any] | None, only_states: bool
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Settings, state dicts and other variables of a model that Stable-Baselines3 pickled. It runs its code.

    Raises:
        ModelFileError: the file is damaged, or something else.
        OSError: it cannot be read.
    """
    try:
        data, states, variables = load_from_zip_file(
            path, load_data=not only_states, device="cpu", custom_objects=custom_objects
        )
    except _UNREADABLE as error:
        raise ModelFileError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    if not states or (data is None and not only_states):
        raise ModelFileError(f"{path} holds no model")
    return data or {}, dict(states), variables or {}


def read_trusted_policy(path: AnyPath) -> tuple[dict[str, Any], dict[str, Any]]:
    """Constructor arguments and state dict of a policy that Stable-Baselines3 pickled. It runs its code.

    Raises:
        ModelFileError: the file is damaged, or something else.
        OSError: it cannot be read.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=False)  # type: ignore[arg-type]
        return saved["data"], saved["state_dict"]
    except _UNREADABLE as error:
        raise ModelFileError(f"{path} is damaged: {type(error).__name__}: {error}") from error
