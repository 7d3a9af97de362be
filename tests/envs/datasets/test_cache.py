"""Where datasets are looked for, and the decoded arrays that are kept."""

import os
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import plastic_rl  # noqa: F401 - registers the environments
from plastic_rl.envs.datasets import cifar10, omniglot
from plastic_rl.envs.datasets import loaders as datasets
from plastic_rl.envs.datasets.cache import cache_folder


def write(folder: Path, value: int = 0) -> Path:
    """A CIFAR-10 of one training and one test image, all of whose pixels have one value."""
    folder = folder / "cifar-10-batches-bin"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("data_batch_1.bin", "test_batch.bin"):
        (folder / name).write_bytes(bytes([0]) + bytes([value]) * 3072)
    return folder


def load(folder: Path | None = None) -> int:
    """The value of the pixels, loaded as a new process would."""
    datasets._load_cifar10.cache_clear()
    return int(cifar10(folder).train.max())


@pytest.fixture
def decodings(monkeypatch):
    """Collects the paths that are decoded rather than taken from the cache."""
    read, paths = datasets.read_cifar10, []

    def noted(path):
        paths.append(path)
        return read(path)

    monkeypatch.setattr(datasets, "read_cifar10", noted)
    return paths


def test_decoded_once(tmp_path, cache, decodings):
    write(tmp_path, 7)
    assert [load(tmp_path) for _ in range(3)] == [7, 7, 7]
    assert len(decodings) == 1
    assert len(list(cache.iterdir())) == 1


def test_one_process_shares_read_only_arrays(tmp_path):
    write(tmp_path)
    data = cifar10(tmp_path)
    assert cifar10(str(tmp_path)).train is data.train
    with pytest.raises(ValueError, match="read-only"):
        data.train[0] = 1
    datasets._load_cifar10.cache_clear()
    assert not cifar10(tmp_path).train.flags.writeable


@pytest.mark.parametrize("change", ["content", "time", "one more file"])
def test_changed_sources_are_decoded_again(tmp_path, cache, decodings, change):
    folder = write(tmp_path, 7)
    load(tmp_path)
    if change == "content":
        (folder / "data_batch_1.bin").write_bytes(bytes(2 * 3073))
    elif change == "time":
        status = (folder / "data_batch_1.bin").stat()
        os.utime(folder / "data_batch_1.bin", ns=(status.st_atime_ns, status.st_mtime_ns + 1_000))
    else:
        (folder / "data_batch_2.bin").write_bytes(bytes(3073))
    assert load(tmp_path) == (0 if change == "content" else 7)
    assert len(decodings) == 2
    assert len(list(cache.iterdir())) == 1, "the old arrays are gone"


def test_a_cache_of_another_format_is_built_again(tmp_path, decodings, monkeypatch):
    write(tmp_path)
    load(tmp_path)
    monkeypatch.setattr("plastic_rl.envs.datasets.cache._FORMAT", -1)
    load(tmp_path)
    assert len(decodings) == 2


def test_places_do_not_share_a_cache_file(tmp_path, decodings):
    write(tmp_path / "a", 1)
    write(tmp_path / "b", 2)
    assert [load(tmp_path / name) for name in "abab"] == [1, 2, 1, 2]
    assert len(decodings) == 2


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "nonsense", "pickled", "an array"])
def test_damaged_cache_files_are_built_again(tmp_path, cache, decodings, caplog, damage):
    write(tmp_path, 7)
    load(tmp_path)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    middle = len(whole) // 2
    if damage == "pickled":
        with np.load(file) as stored:
            arrays = dict(stored) | {"train": np.array([{}], object)}
        np.savez(file, allow_pickle=True, **arrays)
    elif damage == "an array":
        with file.open("wb") as stream:
            np.save(stream, np.zeros(3))
    else:
        contents = {
            "empty": b"",
            "truncated": whole[:middle],
            "flipped": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
            "nonsense": b"nonsense",
        }
        file.write_bytes(contents[damage])
    assert load(tmp_path) == 7
    assert len(decodings) == 2
    assert f"building {file} again" in caplog.text
    assert file.read_bytes() == whole
    assert load(tmp_path) == 7
    assert len(decodings) == 2


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, decodings, caplog):
    write(tmp_path / "data", 7)
    (tmp_path / "cache").write_text("in the way")
    assert load(tmp_path / "data") == 7
    assert "cannot keep the decoded images in" in caplog.text


def test_an_interrupted_write_leaves_nothing(tmp_path, cache, monkeypatch):
    def interrupt(stream, **_arrays):
        stream.write(b"half of it")
        raise KeyboardInterrupt

    write(tmp_path)
    monkeypatch.setattr(np, "savez", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path)
    assert list(cache.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path, cache, monkeypatch, caplog):
    def fail(_stream, **_arrays):
        raise OSError(28, "No space left on device")

    write(tmp_path, 7)
    monkeypatch.setattr(np, "savez", fail)
    assert load(tmp_path) == 7
    assert "No space left on device" in caplog.text
    assert list(cache.iterdir()) == []


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="other platforms have other folders")
def test_the_platforms_folder_for_caches(monkeypatch):
    monkeypatch.delenv("PLASTIC_RL_CACHE")
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder() == Path("/elsewhere/plastic_rl")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path("/home/somebody/.cache/plastic_rl")
    monkeypatch.setenv("PLASTIC_RL_CACHE", "~/mine")
    assert cache_folder() == Path("/home/somebody/mine")


def test_looks_in_the_named_folder_then_among_the_downloads(tmp_path, monkeypatch):
    monkeypatch.setenv("PLASTIC_RL_DATA", str(tmp_path / "mine"))
    write(datasets.download_folder(), 1)
    assert load() == 1
    write(tmp_path / "mine", 2)
    assert load() == 2
    write(tmp_path / "argument", 3)
    assert load(tmp_path / "argument") == 3
    with pytest.raises(FileNotFoundError):
        load(tmp_path)


LOADERS = [(omniglot, "omniglot", "images_background.zip"), (cifar10, "cifar10", "cifar-10-binary.tar.gz")]


@pytest.mark.parametrize(("loader", "name", "file"), LOADERS)
def test_missing_data_names_files_places_and_command(tmp_path, monkeypatch, loader, name, file):
    with pytest.raises(FileNotFoundError, match="PLASTIC_RL_DATA can name another folder"):
        loader()
    monkeypatch.setenv("PLASTIC_RL_DATA", str(tmp_path / "mine"))
    with pytest.raises(FileNotFoundError) as caught:
        loader()
    places = [tmp_path / "mine", tmp_path / "mine" / name, tmp_path / "cache" / "data"]
    for part in (file, f"plastic-rl data fetch {name}", *map(str, places)):
        assert part in str(caught.value)
    with pytest.raises(FileNotFoundError) as caught:
        loader(tmp_path / "argument")
    assert str(tmp_path / "argument") in str(caught.value)
    assert str(tmp_path / "mine") not in str(caught.value)


@pytest.mark.parametrize("env_id", ["PlasticOmniglot-v0", "PlasticImageCompletion-v0"])
def test_making_an_environment_never_downloads(env_id, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it went to the network"))
    with pytest.raises(FileNotFoundError, match="plastic-rl data fetch"):
        gym.make(env_id)
