"""Writes models and runs of the present version, for later ones to load.

    python tests/archive/make_archive.py

They land in tests/archive/<version>, a few hundred kilobytes, with what they answered in expected.json. What
is there is never written again.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm

import plastic_rl
from plastic_rl.cli.main import main

HERE = Path(__file__).parent
OBSERVATIONS = 3

# Runs of the command line: what their folders are called, and how they are trained.
RUNS = {
    "plastic_a2c": ["PlasticMaze-v0", "--hyperparams", "n_steps:10", "policy_kwargs.hidden_size:6"],
    "plastic_ppo": ["PlasticPairs-v0", "--hyperparams", "n_steps:8", "policy_kwargs.hidden_size:6"],
    "supervised": ["PlasticPatternMemory-v0", "--env-kwargs", "n_bits:8", "n_patterns:1"],
    "a2c": ["CartPole-v1", "--hyperparams", "policy_kwargs.net_arch:[4]"],
    "recurrent_ppo": [
        *("CartPole-v1", "--hyperparams", "policy_kwargs.lstm_hidden_size:4", "policy_kwargs.net_arch:[4]"),
        *("n_steps:8", "batch_size:8"),
    ],
}
STEPS = {"supervised": 2_000}


def answers(model: BaseAlgorithm) -> dict[str, Any]:
    """What a model does with fixed observations, and what its weights add up to."""
    space = model.observation_space
    space.seed(3)
    observations = [np.asarray(space.sample()) for _ in range(OBSERVATIONS)]
    observations = [np.clip(seen, -1, 1).astype(seen.dtype) for seen in observations]
    actions, state = [], None
    for seen in observations:
        action, state = model.predict(seen, state, deterministic=True)
        actions.append(np.asarray(action).round(4).tolist())
    sums = {name: float(part.double().sum()) for name, part in model.policy.state_dict().items()}
    return {
        "observations": [seen.tolist() for seen in observations],
        "actions": actions,
        "sums": sums,
        "num_timesteps": model.num_timesteps,
    }


def make(folder: Path) -> None:
    """Train and store everything."""
    from plastic_rl.runs import folder as runs
    from plastic_rl.runs.hyperparams import algorithm_class
    from plastic_rl.saving import load_model

    expected: dict[str, Any] = {}
    for algo, (env_id, *arguments) in RUNS.items():
        steps = str(STEPS.get(algo, 64))
        command = ["train", env_id, "--algo", algo, "--timesteps", steps, "--seed", "1", "--device", "cpu"]
        number = [] if algo == "supervised" else ["--n-envs", "2"]
        assert main([*command, *number, *arguments, "--output", str(folder / algo)]) == 0
        # Where the hyper-parameters lay is of no account.
        record = replace(runs.read_config(folder / algo), hyperparams_file=None)
        runs.update_config(folder / algo, record)
        for picture in (runs.CURVE, runs.EPISODE):
            (folder / algo / picture).unlink(missing_ok=True)
        expected[algo] = answers(load_model(algorithm_class(algo), folder / algo / runs.MODEL, device="cpu"))
    env = gym.make("PlasticMaze-v0")
    model = plastic_rl.PlasticA2C("MlpPolicy", env, policy_kwargs={"hidden_size": 6}, device="cpu", seed=2)
    model.policy.save(folder / "policy")
    expected["policy"] = {"sums": answers(model)["sums"]}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    target = HERE / plastic_rl.__version__
    if target.exists():
        sys.exit(f"{target} is there already: what a version has written stays as it is")
    make(target)
