"""Runs whose rewards alone were normalized: their agents play without any statistics."""

from pathlib import Path

from plastic_rl.cli.main import main
from plastic_rl.runs import folder as runs
from plastic_rl.runs.statistics import find_normalize, normalized_as_trained
from plastic_rl.training.vec_env import make_vec_env


def test_an_agent_without_normalized_observations_needs_no_statistics(tmp_path: Path) -> None:
    command = [
        "train",
        "CartPole-v1",
        "--timesteps",
        "64",
        "--n-envs",
        "2",
        "--output",
        str(tmp_path / "run"),
    ]
    small = ["n_steps:16", "policy_kwargs.hidden_size:4"]
    assert main([*command, "--hyperparams", *small]) == 0
    record = runs.read_config(tmp_path / "run")
    assert record.normalize == {"norm_obs": False}
    (tmp_path / "run" / "normalize.json").unlink()
    assert main(["evaluate", str(tmp_path / "run"), "--episodes", "2"]) == 0
    env = normalized_as_trained(make_vec_env("CartPole-v1", 2), record.normalize, tmp_path / "run")
    assert find_normalize(env) is None
