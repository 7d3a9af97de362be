from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of arrays, and no other place to look for data."""
    monkeypatch.setenv("PLASTIC_RL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PLASTIC_RL_DATA", raising=False)
    return tmp_path / "cache" / "arrays"


@pytest.fixture(scope="session")
def write_folder() -> Callable[[Path, dict[str, bytes]], None]:
    """Writes an archive's files, by name, into a folder."""

    def write(folder: Path, files: dict[str, bytes]) -> None:
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)

    return write
