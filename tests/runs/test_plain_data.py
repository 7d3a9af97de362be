"""Plain values and arrays in a file."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from safetensors.numpy import save_file

from plastic_rl.runs.plain_data import read_plain, write_plain

VALUE: dict[str, Any] = {
    "numbers": [0, -3, 2**127 + 1, 0.1, -math.inf, True, False, None],
    "text": "é\n",
    "tuples": (1, (2, [3]), ()),
    "empty": {},
    "arrays": [
        np.arange(6, dtype=np.int64).reshape(2, 3).T,
        np.zeros((2, 0, 3), np.float32),
        np.array(3.5),
        np.array([True, False]),
        np.array([2**64 - 1], np.uint64),
        np.array([math.nan, 1e-300]),
        np.frombuffer(b"abc", np.uint8),
    ],
}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    write_plain(path, VALUE)
    value = read_plain(path)
    assert data_equivalence(value["numbers"], VALUE["numbers"], exact=True)
    assert [type(number) for number in value["numbers"]] == [type(number) for number in VALUE["numbers"]]
    for key in ("text", "tuples", "empty"):
        assert value[key] == VALUE[key]
    for array, expected in zip(value["arrays"], VALUE["arrays"], strict=True):
        assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(array, expected)
        assert array.flags.writeable
    write_plain(path, None)
    assert read_plain(path) is None
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "value", [object(), {1: 2}, [lambda: 0], np.array([None]), {"array": "0"}, {"tuple": [1]}, {1, 2}, b"a"]
)
def test_what_is_not_plain_is_refused(value: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="only plain values and arrays of numbers"):
        write_plain(tmp_path / "state", {"value": value})
    assert list(tmp_path.iterdir()) == []


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    write_plain(path, VALUE)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in rng.integers(len(whole), size=50):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="is damaged"):
            read_plain(path)
    damaged = 0
    for place in rng.integers(len(whole), size=200):
        content = bytearray(whole)
        content[place] ^= 0x40
        path.write_bytes(content)
        try:
            value = read_plain(path)
        except ValueError:
            damaged += 1
        else:
            # The header may be written in several ways, say with a blank that is another one.
            assert data_equivalence(value["arrays"][:5], VALUE["arrays"][:5], exact=True)
    assert damaged > 150


@pytest.mark.parametrize("text", ["[" * 100_000, '{"array": "7"}', '{"array": []}', '{"tuple": 3}', "no"])
def test_a_crafted_file_is_named(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.safetensors"
    monkeypatch.setattr("plastic_rl.runs.plain_data._checksum", lambda *_: "right")
    save_file({"0": np.zeros(1)}, path, metadata={"value": text, "sha256": "right"})
    with pytest.raises(ValueError, match="is damaged"):
        read_plain(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        read_plain(tmp_path / "none")
