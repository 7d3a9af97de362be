"""Signals that ask a training to end: obeyed where nothing is lost."""

import signal
import threading
import time
from types import FrameType
from typing import Any

GRACE = 5.0
"""Seconds that a training which was asked to stop may take to come to the end of its rollout."""

_TWICE = 0.5  # seconds within which two signals are one: a terminal and a shell may both send theirs
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(KeyboardInterrupt):
    """A signal has ended what was being done.

    Attributes:
        signum: which.
        at_once: whether it may have come in the middle of an update.
        between_rollouts: whether it came where nothing is lost.
    """

    def __init__(self, signum: int, at_once: bool = True, between_rollouts: bool = False) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum, self.at_once, self.between_rollouts = signum, at_once, between_rollouts

    @property
    def exit_code(self) -> int:
        """As shells have it: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self.signum


class Stops:
    """Takes SIGINT (Ctrl-C), SIGTERM (schedulers, containers), SIGHUP (a closed terminal) inside a ``with``.

    They raise `Stopped` wherever the program is, except where they are deferred: there they are only noted,
    for `check`. A second Ctrl-C is obeyed at once even there. A signal that the process was told to ignore,
    as by ``nohup``, stays ignored.

    Attributes:
        deferred: whether signals are only noted.
        asked: the first signal that was noted or obeyed, if any.
    """

    def __init__(self) -> None:
        self.deferred = False
        self.asked: int | None = None
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def defer(self) -> None:
        """From here on signals are only noted."""
        self.deferred = True

    @property
    def exit_code(self) -> int:
        """That of a process which was asked to stop."""
        assert self.asked is not None
        return 128 + self.asked

    @property
    def hurried(self) -> bool:
        """Whether whoever asked will not wait for anything but the model."""
        return self.asked not in (None, signal.SIGINT)

    def __enter__(self) -> "Stops":
        if threading.current_thread() is not threading.main_thread():
            return self  # only there can signals be taken
        for name in _NAMES:
            signum = getattr(signal, name, None)  # Windows has no SIGHUP
            if signum is not None and signal.getsignal(signum) is not signal.SIG_IGN:
                self._before[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def note(self, signum: int) -> None:
        """Do as if this signal had come: it has reached another process of the training."""
        if self.asked is None:
            self.asked, self._since = signum, time.monotonic()

    def check(self, between_rollouts: bool) -> None:
        """Stop here if that was asked for.

        Args:
            between_rollouts: nothing is lost here; elsewhere only after `GRACE` seconds.

        Raises:
            Stopped: it was.
        """
        if self.asked is not None and (between_rollouts or time.monotonic() - self._since >= GRACE):
            raise Stopped(self.asked, at_once=False, between_rollouts=between_rollouts)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        again = self.asked is not None
        if not again:
            self.asked, self._since = signum, time.monotonic()
        if not self.deferred:
            raise Stopped(signum)
        # Other senders than a person have other means, or send more than one kind.
        if again and signum == signal.SIGINT and time.monotonic() - self._since >= _TWICE:
            raise Stopped(signum)
