"""Files that are whole at every moment, and those of strangers. It imports nothing of the package."""

import glob
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Write a file so that `path` holds either what it held before or all of the new, whatever happens.

    Inside, the new content is written to the path that is given: a new, empty file beside `path` with the
    same ending. Once it is on the disk it takes the place of `path`. If anything is raised inside, it is
    removed, and `path` stays as it was.

    Example::

        with atomic(folder / "config.yml") as partial:
            partial.write_text(text, encoding="utf-8")

    Raises:
        OSError: the file cannot be written.
    """
    # A name of its own for every writer: two processes may write the same file at once.
    partial = path.with_name(f"{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")
    partial.open("x").close()
    try:
        yield partial
        _flush(partial)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # elsewhere a folder cannot be opened
        _flush(path.parent)


def remove_partials(path: Path) -> None:
    """Remove what processes that were killed inside `atomic` left of a file. Nobody may be writing it."""
    for partial in path.parent.glob(f"{glob.escape(path.stem)}.????????.partial{glob.escape(path.suffix)}"):
        partial.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until a file, or the names of the files in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_text(path: Path, largest: int) -> str:
    """The text of a file, whoever made it.

    Args:
        path: the file.
        largest: bytes that it may have.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no text, larger, or a device or a pipe, which have no end.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise ValueError(f"{path} is no file")
    if found.st_size > largest:
        raise ValueError(f"{path} has {found.st_size:,} bytes, more than the {largest:,} that are read")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text: {error}") from error
