"""The files inside an archive or a folder, read into memory and never unpacked to disk.

Archives come from anywhere: the size of everything is checked before it is read, and a member that is no
plain file below the archive's root is refused.
"""

import gzip
import io
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

# What the readers of the standard library raise on damaged bytes.
_DAMAGE = (
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)

Limit = Callable[[PurePosixPath], int]


class BadDataError(ValueError):
    """A file that is not what its name promises: damaged, unsafe, or of another kind."""


def read_members(path: Path, limit: Limit, total: int) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield the wanted files of a zip archive, of a gzipped tar archive or of a folder.

    Args:
        path: a name in `.zip`, a name in `.tar.gz`, or a folder.
        limit: the largest size, in bytes, that a file of this name may have; 0 for files that are not wanted.
        total: the largest size of an archive, packed and unpacked, in bytes.

    Yields:
        Each file's name below the root and its content, in no particular order.

    Raises:
        BadDataError: if the archive is damaged, larger than allowed, or has a member that is a link, a device
            or lies outside.
        OSError: if the file or folder cannot be opened.
    """
    if path.is_dir():
        yield from _folder_members(path, limit)
        return
    _check_size(path, path.stat().st_size, total)
    with path.open("rb") as file:
        members = _zip_members if path.suffix == ".zip" else _tar_members
        try:
            yield from members(path, file, limit, total)
        except BadDataError:
            raise
        except _DAMAGE as error:
            reason = str(error) or type(error).__name__
            raise BadDataError(f"{path} is truncated or damaged: {reason}") from error


def files_below(folder: str | Path, depth: int = 3) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the plain files in a folder and its sub-folders, with their size and time, sorted by name.

    Args:
        folder: where to start.
        depth: levels of folders, `folder` included; a link back to a parent folder ends there.

    Yields:
        The path below `folder`, with slashes, and its status.
    """
    with os.scandir(folder) as scanned:
        entries = sorted(scanned, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_file():
            yield entry.name, entry.stat()
        elif depth > 1 and entry.is_dir():
            for name, status in files_below(entry.path, depth - 1):
                yield f"{entry.name}/{name}", status


def _folder_members(folder: Path, limit: Limit) -> Iterator[tuple[PurePosixPath, bytes]]:
    for below, status in files_below(folder):
        name = PurePosixPath(below)
        if allowed := limit(name):
            _check_size(folder / name, status.st_size, allowed)
            yield name, (folder / name).read_bytes()


def _zip_members(
    path: Path, file: io.BufferedReader, limit: Limit, total: int
) -> Iterator[tuple[PurePosixPath, bytes]]:
    with zipfile.ZipFile(file) as archive:
        wanted = []
        for member in archive.infolist():
            name = _safe_name(path, member.filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise BadDataError(f"{path}: member {member.filename!r} is a link or device")
            if allowed := 0 if member.is_dir() else limit(name):
                _check_size(f"{path}: member {member.filename!r}", member.file_size, allowed)
                # The other methods of compression cannot be told to stop at a size.
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise BadDataError(f"{path}: member {member.filename!r} is compressed in an unusual way")
                wanted.append((name, member))
        _check_size(f"{path}: its content", sum(member.file_size for _, member in wanted), total)
        for name, member in wanted:
            with archive.open(member) as content:
                # One byte more than announced, so that the archive's checksum is compared.
                data = content.read(member.file_size + 1)
            if len(data) != member.file_size:
                raise BadDataError(f"{path} is truncated or damaged: member {member.filename!r} is too short")
            yield name, data


def _tar_members(
    path: Path, file: io.BufferedReader, limit: Limit, total: int
) -> Iterator[tuple[PurePosixPath, bytes]]:
    with gzip.GzipFile(fileobj=file) as stream:
        bounded: Any = _Bounded(path, stream, total)
        with tarfile.open(fileobj=bounded, mode="r|") as archive:
            for member in archive:
                name = _safe_name(path, member.name)
                if not (member.isreg() or member.isdir()):
                    raise BadDataError(f"{path}: member {member.name!r} is a link or device")
                if allowed := 0 if member.isdir() else limit(name):
                    _check_size(f"{path}: member {member.name!r}", member.size, allowed)
                    content = archive.extractfile(member)
                    data = b"" if content is None else content.read()
                    if len(data) != member.size:
                        raise BadDataError(f"{path} is truncated or damaged: {member.name!r} is too short")
                    yield name, data
        # gzip compares its checksum at the very end, which tarfile does not read.
        while bounded.read(1 << 20):
            pass


class _Bounded:
    """A stream that refuses to grow beyond a size."""

    def __init__(self, path: Path, stream: gzip.GzipFile, size: int):
        self._path, self._stream, self._left = path, stream, size

    def read(self, size: int) -> bytes:
        data = self._stream.read(min(size, self._left + 1))
        if len(data) > self._left:
            raise BadDataError(f"{self._path}: its content is larger than the dataset can be")
        self._left -= len(data)
        return data


def _safe_name(path: Path, name: str) -> PurePosixPath:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or re.search(r"\\|\0|^[A-Za-z]:", name):
        raise BadDataError(f"{path}: member {name!r} would lie outside the archive's folder")
    return parts


def _check_size(what: object, size: int, allowed: int) -> None:
    if size > allowed:
        raise BadDataError(f"{what} has {size:,} bytes; at most {allowed:,} are possible")
