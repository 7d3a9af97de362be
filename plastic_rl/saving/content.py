"""What a model file holds: written and read, for models and for policies alone.

The members of the archive: ``settings.json``, described below; ``arrays.safetensors`` and
``tensors.safetensors``, the arrays and tensors that the settings name, where there are some; and one for each
network and optimiser, such as ``policy.safetensors`` and ``policy.optimizer.safetensors``. The whole of it
stands in docs/model_files.md.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import safetensors.numpy
import safetensors.torch
from torch import Tensor

from plastic_rl.saving.archive import (
    MAX_SETTINGS,
    SETTINGS,
    AnyPath,
    Archive,
    open_archive,
    shown,
    write_archive,
)
from plastic_rl.saving.errors import ModelFileError, UntrustedFileError
from plastic_rl.saving.pickled import what_is_pickled
from plastic_rl.saving.reading import Decoder
from plastic_rl.saving.states import with_copies, without_copies
from plastic_rl.saving.values import Encoder
from plastic_rl.saving.versions import versions

FORMAT = "plastic_rl"
FORMAT_VERSION = 1

_HEADER: dict[str, Any] = {
    "class": str | None,
    "versions": dict,
    "settings": dict,
    "left_out": dict,
    "shared": dict,
    "optimizers": dict,
}


@dataclass
class Content:
    """What a file holds.

    Attributes:
        kind: ``"model"`` or ``"policy"``.
        owner: the class that it is of, by its name in the table of classes; None for one of the user's.
        settings: attributes of the model, or constructor arguments of the policy.
        left_out: settings that were no plain values, by name, in words.
        states: state dicts of networks and optimisers, by name.
        versions: of the packages that wrote it.
    """

    kind: str
    owner: str | None
    settings: dict[str, Any]
    left_out: dict[str, str]
    states: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors of the networks."""
        return [
            tensor
            for state in self.states.values()
            for tensor in state.values()
            if isinstance(tensor, Tensor)
        ]


def write(
    path: AnyPath,
    kind: str,
    owner: str | None,
    settings: Mapping[str, Any],
    states: Mapping[str, Any],
    suffix: str | None,
) -> None:
    """Write a file; what it cannot hold is left out, and named in one warning.

    Args:
        path: a file or a stream.
        kind: ``"model"`` or ``"policy"``.
        owner: the class that it is of, by its name in the table of classes.
        settings: attributes of the model, or constructor arguments of the policy.
        states: state dicts by name.
        suffix: for a path without an ending.

    Raises:
        ValueError: a network's state is no tensor, or the settings are too large.
        OSError: the file cannot be written.
    """
    encoder = Encoder()
    content: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "class": owner,
        "versions": versions(),
        "settings": encoder.mapping(settings),
        "left_out": encoder.left_out,
        "shared": {},
        "optimizers": {},
    }
    members = {}
    for name, state in states.items():
        if "param_groups" in state:
            tensors, content["optimizers"][name] = _encoded_optimizer(name, state)
        else:
            tensors, content["shared"][name] = without_copies(state)
        members[f"{name}.safetensors"] = safetensors.torch.save(tensors)
    if encoder.arrays:
        members["arrays.safetensors"] = safetensors.numpy.save(encoder.arrays)
    if encoder.tensors:
        members["tensors.safetensors"] = safetensors.torch.save(encoder.tensors)
    text = json.dumps(content, indent=1, allow_nan=False).encode()
    if len(text) > MAX_SETTINGS:
        sizes = {name: len(json.dumps(value)) for name, value in content["settings"].items()}
        largest = max(sizes, key=lambda name: sizes[name])
        raise ValueError(
            f"the settings of a model file have at most {MAX_SETTINGS} bytes, got {len(text)}; "
            f"{largest} alone has {sizes[largest]}"
        )
    write_archive(path, {SETTINGS: text, **members}, suffix)
    if encoder.left_out:
        what = ", ".join(f"{name} ({words})" for name, words in encoder.left_out.items())
        warnings.warn(
            f"{shown(path)} was saved without {what}: a model file holds no code. Give it again to load(), "
            "in custom_objects, or register your class with plastic_rl.register_for_loading before saving",
            stacklevel=4,
        )


def _encoded_optimizer(name: str, state: Mapping[str, Any]) -> tuple[dict[str, Tensor], Any]:
    encoder = Encoder()
    # JSON has names only: parameters are counted in them.
    counted = {str(index): kept for index, kept in state["state"].items()}
    encoded = encoder.mapping({"state": counted, "param_groups": state["param_groups"]})
    if encoder.left_out:
        where, words = next(iter(encoder.left_out.items()))
        raise ValueError(f"{name} cannot be saved: its {where} is {words}")
    return encoder.tensors, encoded


def _decoded_optimizer(name: str, decoder: Decoder, content: Any) -> dict[str, Any]:
    state = _decoded(decoder, name, content)
    try:
        return {**state, "state": {int(index): kept for index, kept in state["state"].items()}}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{name} is damaged: {type(error).__name__}: {error}") from error


def read(
    path: AnyPath, kind: str, *, given: Mapping[str, Any] | None = None, suffix: str | None = "zip"
) -> Content:
    """Read a file.

    Args:
        path: a file or a stream.
        kind: what it has to be, ``"model"`` or ``"policy"``.
        given: settings that take the place of the file's, which are not even read.
        suffix: tried behind a path that does not exist.

    Raises:
        UntrustedFileError: it is of the kind that Stable-Baselines3 writes, with pickled objects.
        ModelFileError: it is damaged, or something else.
        OSError: it cannot be read.
    """
    given = given or {}
    with open_archive(path, suffix) as archive:
        _refuse_pickled(archive)
        try:
            header = _checked_header(archive.settings(), kind)
            decoder = Decoder(
                archive.arrays("arrays", needed=False), archive.tensors("tensors", needed=False)
            )
            settings = {
                name: given[name] if name in given else _decoded(decoder, name, value)
                for name, value in header["settings"].items()
            }
            settings |= {name: given[name] for name in header["left_out"] if name in given}
            states: dict[str, Any] = {
                name: with_copies(archive.tensors(name), same) for name, same in header["shared"].items()
            }
            for name, state in header["optimizers"].items():
                states[name] = _decoded_optimizer(name, Decoder({}, archive.tensors(name)), state)
        except ModelFileError as error:
            raise ModelFileError(f"{archive.where} is damaged or not a model file: {error}") from error
        except RecursionError as error:
            raise ModelFileError(
                f"{archive.where} is damaged or not a model file: its settings are nested too deeply"
            ) from error
    fields = ("left_out", "versions")
    return Content(kind, header["class"], settings, states=states, **{name: header[name] for name in fields})


def check_not_pickled(path: AnyPath) -> None:
    """Make sure that a file is none of those with pickled objects; what else it is does not matter.

    Raises:
        UntrustedFileError: it is.
        ModelFileError: it is no archive.
        OSError: it cannot be read.
    """
    with open_archive(path) as archive:
        _refuse_pickled(archive)


def _refuse_pickled(archive: Archive) -> None:
    if archive.pickled:
        raise UntrustedFileError(
            f"{archive.where} holds {what_is_pickled(archive)}, which can run any code when they are "
            "read. If you trust whoever made it, give trust=True (--trust on the command line)"
        )


def _checked_header(header: Any, kind: str) -> dict[str, Any]:
    """The outermost level of the settings."""
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ModelFileError(f"{SETTINGS} is not that of a model file")
    version = header.get("format_version")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise ModelFileError(
            f"its format_version is {version!r}, this version of plastic_rl reads up to {FORMAT_VERSION}"
        )
    if header.get("kind") != kind:
        raise ModelFileError(f"it holds a {header.get('kind')!r}, not a {kind}")
    for name, type_ in _HEADER.items():
        if not isinstance(header.get(name), type_):
            raise ModelFileError(f"{name} is missing in {SETTINGS}, or damaged")
    for name in ("left_out", "versions"):
        if not all(isinstance(value, str) for value in header[name].values()):
            raise ModelFileError(f"{name} in {SETTINGS} must hold texts")
    return header


def _decoded(decoder: Decoder, name: str, value: Any) -> Any:
    try:
        return decoder.decode(value)
    except ModelFileError as error:
        raise ModelFileError(f"{name}: {error}") from error
