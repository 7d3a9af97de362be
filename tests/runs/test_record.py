"""The record of a run: what it takes, and its way to a file and back."""

from dataclasses import replace
from typing import Any

import pytest

from plastic_rl.runs.plain_yaml import load_yaml
from plastic_rl.runs.record import MAX_SEED, RunRecord

VALUES: dict[str, Any] = {
    "env_id": "PlasticMaze-v0",
    "env_kwargs": {"size": 7},
    "algo": "plastic_a2c",
    "seed": 3,
    "n_envs": 4,
    "n_timesteps": 100,
    "hyperparams": {"n_steps": 5, "policy_kwargs": {"eta": 3e-4}},
}


def test_a_record_is_read_back_as_it_was_written() -> None:
    record = RunRecord(
        **VALUES,
        device="cpu",
        condition="full",
        hyperparams_file="a.yml",
        versions={"torch": "2"},
        others={"wandb": {"id": "826e2278", "entity": None}, "weights": 7},
    )
    assert RunRecord.from_yaml(record.to_yaml()) == record
    assert load_yaml(record.to_yaml())["wandb"] == {"id": "826e2278", "entity": None}
    assert RunRecord.from_yaml(RunRecord(**VALUES).to_yaml()) == RunRecord(**VALUES)


def test_what_is_not_there_is_not_written() -> None:
    assert load_yaml(RunRecord(**VALUES).to_yaml()) == {**VALUES, "device": "auto", "versions": {}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"seed": MAX_SEED}, f"seed is {MAX_SEED}"),
        ({"n_envs": 0}, "n_envs is 0"),
        ({"n_envs": True}, "n_envs is missing or wrong"),
        ({"vec_env": "threads"}, "vec_env is 'threads'"),
        ({"n_timesteps": 0}, "n_timesteps is 0"),
        ({"n_timesteps": 1.5}, "n_timesteps is missing or wrong"),
        ({"algo": "foo"}, "unknown algorithm 'foo', not one of plastic_a2c"),
        ({"env_kwargs": {1: 2}}, "the keys of env_kwargs must be names, not 1"),
        ({"hyperparams": None}, "hyperparams is missing or wrong"),
        ({"device": [1]}, r"device is \[1\]"),
        ({"versions": "2"}, "versions is '2'"),
        ({"condition": 2}, "condition is 2"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RunRecord.from_mapping({**VALUES, **change})
    with pytest.raises(ValueError, match=message):
        replace(RunRecord(**VALUES), **change)


@pytest.mark.parametrize("name", VALUES)
def test_what_is_missing_is_named(name: str) -> None:
    left = {key: value for key, value in VALUES.items() if key != name}
    with pytest.raises(ValueError, match=f"{name} is missing or wrong"):
        RunRecord.from_mapping(left)


@pytest.mark.parametrize(("text", "message"), [("a: [", "not YAML"), ("3", "no mapping"), ("", "no mapping")])
def test_what_is_no_record_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RunRecord.from_yaml(text)
