"""What a training says, to a reader who may have gone: a closed terminal, a pipe into ``head``."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm  # type: ignore[import-untyped]


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line, above the progress bar if there is one; nobody need read it."""
    with unread():
        out = sys.stdout if stream is None else stream
        tqdm.write(text, file=out)
        out.flush()


@contextmanager
def unread() -> Iterator[None]:
    """Around output that may fail: from the first failure on there is none, and the training goes on."""
    try:
        yield
    except OSError:
        drop_output()


def drop_output() -> None:
    """Let all further output vanish; Python then finds nothing left to write when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
