"""Logs that grow by whole rows, and that a training can do without."""

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import Figure, HParam, Image, KVWriter, Video, filter_excluded_keys

from plastic_rl.files import atomic
from plastic_rl.runs.output import say

Note = Callable[[str], object]

_NO_TEXT = (Figure, HParam, Image, Video)


class TextLog:
    """A text file that whole pieces are added to; one that cannot be written ends with a note.

    What stands in the file is whole at every moment: a piece that does not fit on the disk is taken back.

    Args:
        path: the file; what it holds already is kept.
        note: is told, once, why nothing is written any more.
    """

    def __init__(self, path: Path, note: Note = say) -> None:
        self.path = path
        self._note = note
        self._descriptor: int | None = None
        self._size = 0
        self._open()

    def add(self, text: str) -> bool:
        """Write a piece; whether it stands in the file."""
        if self._descriptor is None:
            return False
        content = text.encode()
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            self._give_up(error)
            return False
        self._size += len(content)
        return True

    def replace(self, text: str) -> bool:
        """Write the file anew; whether it was possible, else what stood in it is still there."""
        if self._descriptor is None:
            return False
        try:
            with atomic(self.path) as partial:
                partial.write_text(text, encoding="utf-8")
        except OSError as error:
            self._give_up(error)
            return False
        self.close()
        self._open()
        return True

    def read(self) -> str:
        """What stands in the file; nothing where it is not written any more."""
        if self._descriptor is None:
            return ""
        try:
            return self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self._give_up(error)
            return ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing stands in it."""
        return self._size == 0

    def sync(self) -> None:
        """Wait until all of it is on the disk."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file; nothing is written any more."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> None:
        try:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            self._size = os.fstat(self._descriptor).st_size
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError | UnicodeDecodeError) -> None:
        self.close()
        reason = getattr(error, "strerror", None) or error
        self._note(f"Note: {self.path} cannot be written, the training goes on without it: {reason}")


class ProgressLog(KVWriter):
    """``progress.csv`` as an output of Stable-Baselines3's logger: a row per dump, a column per key.

    Args:
        path: the file; it is written anew.
        rows: of a training that is resumed, which come first.
        note: is told, once, why nothing is written any more.
    """

    def __init__(self, path: Path, rows: Sequence[Mapping[str, str]] = (), note: Note = say) -> None:
        self._log = TextLog(path, note)
        self._keys: list[str] = list(rows[0]) if rows else []
        self._log.replace(self._text(rows))

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """Add a row; pictures and the like have no place in it."""
        plain = {
            key: str(value)
            for key, value in filter_excluded_keys(key_values, key_excluded, "csv").items()
            if value is not None and not isinstance(value, _NO_TEXT)
        }
        new = [key for key in plain if key not in self._keys]
        if not new:
            self._log.add(self._line(plain))
            return
        rows = csv.DictReader(io.StringIO(self._log.read()))
        self._keys += new
        self._log.replace(self._text([*rows, plain]))

    def sync(self) -> None:
        """Wait until all of it is on the disk."""
        self._log.sync()

    def close(self) -> None:
        """Close the file."""
        self._log.close()

    def _text(self, rows: Sequence[Mapping[str, str]]) -> str:
        if not self._keys:
            return ""
        header = self._line(dict(zip(self._keys, self._keys, strict=True)))
        return header + "".join(map(self._line, rows))

    def _line(self, row: Mapping[str, str]) -> str:
        buffer = io.StringIO()
        csv.DictWriter(buffer, self._keys, restval="", lineterminator="\n").writerow(row)
        return buffer.getvalue()
