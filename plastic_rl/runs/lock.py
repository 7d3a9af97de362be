"""One process at a time trains in a run's folder."""

import errno
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = "training.lock"

_TAKEN = (errno.EWOULDBLOCK, errno.EACCES)


@contextmanager
def locked(folder: Path, note: Callable[[str], object] = print) -> Iterator[None]:
    """Hold the lock of a run's folder; whoever else wants it meanwhile is refused.

    The operating system holds it for the process, not the file: a process that has died, in whatever way,
    holds nothing. The file says who holds it, and is removed with the lock.

    Args:
        folder: of the run; it exists.
        note: is told where platform or file system have no locks, which then is no error.

    Raises:
        BlockingIOError: another process holds it.
        OSError: the file cannot be written.
    """
    descriptor = _take(folder, note)
    try:
        yield
    finally:
        if descriptor is not None:
            # Before it is given back: the next one makes a file of its own.
            with suppress(OSError):
                (folder / LOCK).unlink()
            os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Whether a process holds the lock of a run's folder, as far as platform and file system tell."""
    if fcntl is None:
        return (folder / LOCK).is_file()
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _TAKEN
    finally:
        os.close(descriptor)
    return False


def _take(folder: Path, note: Callable[[str], object]) -> int | None:
    """The open file that holds the lock; None where there are none."""
    if fcntl is None:
        note(f"Note: {platform.system()} has no file locks: see to it that nothing else trains in {folder}")
        return None
    while True:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            os.close(descriptor)
            if error.errno in _TAKEN:
                who = f" ({holder})" if holder else ""
                raise BlockingIOError(f"another process trains in {folder}{who}: wait for its end") from error
            note(f"Note: no locks in {folder} ({error.strerror}): see to it that nothing else trains there")
            return None
        # Its last holder may have removed the file between the two calls.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(folder / LOCK)):
                break
        os.close(descriptor)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode(), 0)
    return descriptor
