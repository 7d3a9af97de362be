"""Threads for the compiled kernels.

Threads that sleep while they wait, unlike OpenMP's: on a machine that does anything else besides, a spinning
thread takes the time from the one it waits for.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import torch

Job = tuple[Callable[..., Any], tuple[Any, ...], SimpleQueue]


class _Workers:
    """Daemon threads that take jobs from one queue; started when first needed."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[Job] = SimpleQueue()
        self.count = 0
        self.lock = threading.Lock()

    def ensure(self, count: int) -> None:
        with self.lock:
            while self.count < count:
                threading.Thread(target=_work, args=(self.jobs,), name="plastic_rnn", daemon=True).start()
                self.count += 1


_workers = _Workers()


def _work(jobs: SimpleQueue[Job]) -> None:
    while True:
        function, args, done = jobs.get()
        try:
            function(*args)
            done.put(None)
        except BaseException as error:
            done.put(error)


def _forget() -> None:
    # A forked process has none of its parent's threads.
    global _workers
    _workers = _Workers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


_kept: int | None = None


def thread_count() -> int:
    """How many threads the operator takes: torch's number, or the one that ``torch_in_one_thread`` keeps."""
    return _kept or torch.get_num_threads()


@contextmanager
def torch_in_one_thread() -> Iterator[None]:
    """Run torch's own operations in one thread, while the operator keeps as many as torch had.

    For loops of small operations around the operator. OpenMP gains nothing on those, and its threads spin
    between them, on the cores that the operator's threads and other programs are waiting for.
    """
    global _kept
    threads, outer = torch.get_num_threads(), _kept
    _kept = thread_count()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _kept = outer


def in_chunks(function: Callable[..., Any], chunks: int, batch: int, *args: Any) -> None:
    """Call ``function(chunk, low, high, *args)`` for equal shares of the batch, each in a thread of its own.

    The function must release the interpreter's lock to run beside the others. Shares depend on nothing but
    ``chunks`` and ``batch``.
    """
    if chunks == 1:
        function(0, 0, batch, *args)
        return
    _workers.ensure(chunks - 1)
    done: SimpleQueue[BaseException | None] = SimpleQueue()
    bounds = [chunk * batch // chunks for chunk in range(chunks + 1)]
    for chunk in range(1, chunks):
        _workers.jobs.put((function, (chunk, bounds[chunk], bounds[chunk + 1], *args), done))
    try:
        function(0, bounds[0], bounds[1], *args)
    finally:
        errors = [done.get() for _ in range(1, chunks)]
    for error in errors:
        if error is not None:
            raise error
