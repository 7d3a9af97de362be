"""How far something long has come: a bar where it can be seen, plain lines elsewhere."""

import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

from tqdm import tqdm  # type: ignore[import-untyped]

from plastic_rl.runs.output import say, unread


class Progress:
    """A progress bar with the time left on a terminal; a plain line now and then elsewhere.

    A terminal without width, as some containers have it, would show no bar and gets lines, too.

    Args:
        total: when it is done.
        unit: what is counted, in the singular.
        done: how many are done already.
        stream: where it is shown.
        every: seconds between two plain lines.
        keep: whether the bar stays when all is done.
    """

    def __init__(
        self,
        total: int,
        unit: str,
        *,
        done: int = 0,
        stream: TextIO | None = None,
        every: float = 30.0,
        keep: bool = True,
    ) -> None:
        self.total, self.unit, self.every = total, unit, every
        self._first = self._done = done
        self._stream = sys.stdout if stream is None else stream
        self._start = self._last_line = time.monotonic()
        self._bar: tqdm | None = None
        with unread():
            if self._stream.isatty() and _columns(self._stream) > 0:
                self._bar = tqdm(
                    total=total,
                    initial=done,
                    unit=unit,
                    unit_scale=True,
                    dynamic_ncols=True,
                    file=self._stream,
                    leave=keep,
                )

    def advance(self, done: int, note: Callable[[], str] | None = None) -> None:
        """So many are done. note: says how it goes, where a line may be due."""
        self._done = done
        if self._bar is not None:
            with unread():
                if note is not None:
                    self._bar.set_postfix_str(note(), refresh=False)
                self._bar.update(min(done, self.total) - self._bar.n)
        elif note is not None and time.monotonic() - self._last_line >= self.every:
            self._last_line = time.monotonic()
            say(self._line(note()), self._stream)

    def close(self, note: str = "") -> None:
        """Leave the bar standing, or take it away if it was not to be kept."""
        if self._bar is not None:
            with unread():
                if note:
                    self._bar.set_postfix_str(note, refresh=False)
                self._bar.close()
            self._bar = None

    def _line(self, note: str) -> str:
        speed = (self._done - self._first) / max(time.monotonic() - self._start, 1e-9)
        left = time_left((self.total - self._done) / speed) if speed > 0 else "unknown time"
        shown = f"{speed:,.0f}" if speed >= 100 else f"{speed:.3g}"
        units = f"{self.unit}s"
        return f"{self._done:,} of {self.total:,} {units}, {shown} {units}/s, {left} left, {note}"


def time_left(seconds: float) -> str:
    """A duration as one reads it: ``45 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 100:
        return f"{max(seconds, 0):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _columns(stream: TextIO) -> int:
    """The width of the terminal; in some containers it is 0."""
    return os.get_terminal_size(stream.fileno()).columns
