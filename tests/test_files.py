"""Files that are whole at every moment."""

import os
from pathlib import Path

import pytest

from plastic_rl.files import atomic


def test_the_new_content_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic(path) as partial:
        assert partial.parent == tmp_path
        assert partial.suffix == ".txt"
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_fails_leaves_everything_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    def write() -> None:
        with atomic(path) as partial:
            partial.write_text("ne")
            raise error

    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic(path) as one, atomic(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"


def test_the_content_is_on_the_disk_before_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, order = tmp_path / "a.txt", []
    flush, replace = os.fsync, os.replace

    def noted_flush(descriptor: int) -> None:
        order.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        flush(descriptor)

    def noted_replace(*paths):
        order.append("name")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", noted_flush)
    monkeypatch.setattr(os, "replace", noted_replace)
    with atomic(path) as partial:
        partial.write_text("new")
    assert order == ["file", "name", "folder"]


def test_it_may_be_read_by_whoever_may_read_a_new_file(tmp_path: Path) -> None:
    with atomic(tmp_path / "a.txt") as partial:
        partial.write_text("new")
    (tmp_path / "b.txt").write_text("plain")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"), atomic(tmp_path / "missing" / "a.txt"):
        pass
