"""The archive of a model file: a zip of stored members, checked before anything in it is read."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
from safetensors import SafetensorError
from stable_baselines3.common.save_util import open_path

from plastic_rl.saving.errors import ModelFileError

AnyPath: TypeAlias = str | Path | io.BufferedIOBase

SETTINGS = "settings.json"
MAX_SETTINGS = 2**24
"""Bytes of the settings: Python's objects are up to some thirty times as large as their JSON."""

_MEMBER = re.compile(r"settings\.json|[A-Za-z_][A-Za-z0-9_.]{0,99}\.safetensors")
# Everything that reading a damaged zip can raise.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    MemoryError,
    KeyError,
    ValueError,
)


def write_archive(path: AnyPath, members: Mapping[str, bytes], suffix: str | None) -> None:
    """Write a zip of stored members; the same members make the same bytes.

    Args:
        path: a file, or a stream that is open for writing, which stays open.
        members: contents by name.
        suffix: appended to a path without an ending, as Stable-Baselines3 does.
    """
    file = open_path(path, "w", suffix=suffix)
    try:
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in members.items():
                archive.writestr(zipfile.ZipInfo(name), content)
    finally:
        if file is not path:
            file.close()


class Archive:
    """The members of a model file. Members are stored, so that none is larger than the file itself.

    Args:
        file: a zip, open for reading.
        where: what the file is called in messages.

    Raises:
        ModelFileError: it is no zip, or has members that no model file has.
    """

    def __init__(self, file: Any, where: str) -> None:
        self.where = where
        with self._reading():
            size = file.seek(0, io.SEEK_END)
            if not zipfile.is_zipfile(file):
                raise ValueError("it wasn't a zip-file, or is only a part of one")
            self._zip = zipfile.ZipFile(file)
        infos = self._zip.infolist()
        self.names = tuple(info.filename for info in infos)
        self.pickled = "data" in self.names or any(name.endswith((".pth", ".pkl")) for name in self.names)
        if self.pickled:
            return
        if twice := sorted(
            {name for name in self.names if self.names.count(name) > 1} if len(infos) < 100 else ()
        ):
            raise ModelFileError(
                f"{where} is damaged or not a model file: it has {twice[0]!r} more than once"
            )
        for info in infos:
            if not _MEMBER.fullmatch(info.filename):
                raise ModelFileError(
                    f"{where} is damaged or not a model file: it has a member {info.filename[:100]!r}"
                )
            if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
                raise ModelFileError(
                    f"{where} is damaged or not a model file: its member {info.filename!r} is compressed"
                )
        if len(infos) > 99 or sum(info.file_size for info in infos) > size:
            raise ModelFileError(
                f"{where} is damaged or not a model file: its members claim more than there is"
            )
        if SETTINGS not in self.names:
            raise ModelFileError(f"{where} is damaged or not a model file: there is no {SETTINGS} in it")
        if self._zip.getinfo(SETTINGS).file_size > MAX_SETTINGS:
            raise ModelFileError(
                f"{where} is damaged or not a model file: its {SETTINGS} has more than {MAX_SETTINGS} bytes"
            )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except _DAMAGED as error:
            raise ModelFileError(f"{self.where} is damaged or not a model file: {error}") from error

    def read(self, name: str, limit: int | None = None) -> bytes:
        """A member's content, its checksum compared.

        Raises:
            ModelFileError: it is damaged, or claims more than `limit` bytes.
        """
        with self._reading():
            if limit is not None and self._zip.getinfo(name).file_size > limit:
                raise ValueError(f"{name} has more than {limit} bytes")
            return self._zip.read(name)

    def settings(self) -> Any:
        """The JSON of the settings."""
        return read_json(self.read(SETTINGS), SETTINGS)

    def tensors(self, name: str, needed: bool = True) -> dict[str, torch.Tensor]:
        """The tensors of a member by name; none where there is no such member and none is needed."""
        return self._tensors(name, needed, safetensors.torch.load)

    def arrays(self, name: str, needed: bool = True) -> dict[str, np.ndarray]:
        """The same as arrays."""
        return self._tensors(name, needed, safetensors.numpy.load)

    def _tensors(self, name: str, needed: bool, load: Callable[[bytes], dict[str, Any]]) -> dict[str, Any]:
        member = f"{name}.safetensors"
        if member not in self.names:
            if needed:
                raise ModelFileError(f"{member[:100]} is missing")
            return {}
        try:
            return load(self.read(member))
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ModelFileError(f"{member} is damaged: {error}") from error


@contextmanager
def open_archive(path: AnyPath, suffix: str | None = "zip") -> Iterator[Archive]:
    """An `Archive` of a file or of a stream that is open for reading, which stays open.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read.
        ModelFileError: it is none.
    """
    if isinstance(path, str | Path):
        for candidate in (Path(path), Path(f"{path}.{suffix}")):
            # A pipe would be waited for, and a device has no end.
            if candidate.exists() and not candidate.is_dir() and not stat.S_ISREG(os.stat(candidate).st_mode):
                raise ModelFileError(f"{candidate} is not a model file: it is no regular file")
    file = open_path(path, "r", suffix=suffix)
    try:
        yield Archive(file, shown(path))
    finally:
        if file is not path:
            file.close()


def shown(path: AnyPath) -> str:
    """What a file is called in messages."""
    return str(path) if isinstance(path, str | Path) else str(getattr(path, "name", "the stream"))


def read_json(content: bytes, where: str) -> Any:
    """Strict JSON: no name twice in an object, no NaN or infinity.

    Raises:
        ModelFileError: it is something else.
    """
    try:
        return json.loads(content.decode(), object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{where} is not JSON: {error}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a name twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")
