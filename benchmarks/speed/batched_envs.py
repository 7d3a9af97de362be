"""Steps per second of batched environments against Gymnasium's SyncVectorEnv of the single ones.

    python -m benchmarks.speed.batched_envs [--repeats 5] [--num-envs 1 16 64 256 1024] [--env-ids ...]

Both take the same random actions, turn and turn about. Reported are the medians over the repeats, in
processor time of the one thread that they use. A step of a batch of B environments counts as B steps. The
last column is what a training pays for the step of one environment: the batch with the adaptor to
Stable-Baselines3 and its monitor.
"""

import argparse
import statistics
import time

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.vec_env import VecEnv

from plastic_rl.envs import register_environments
from plastic_rl.training.vec_env import make_vec_env


def seconds_per_batch(envs: VectorEnv | VecEnv, batches: int) -> float:
    if isinstance(envs, VectorEnv):
        space = envs.single_action_space
        envs.reset(seed=0)
    else:
        space = envs.action_space
        envs.seed(0)
        envs.reset()
    assert isinstance(space, spaces.Discrete)
    actions = np.random.default_rng(0).integers(space.n, size=(batches, envs.num_envs))
    begin = time.process_time()
    for action in actions:
        envs.step(action)
    return (time.process_time() - begin) / batches


def compared(env_id: str, num_envs: int, repeats: int) -> list[float]:
    """Median seconds of a call: of single environments, of batched ones, of these as they are trained on."""
    sync = gym.make_vec(
        env_id,
        num_envs=num_envs,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
    )
    batched = gym.make_vec(env_id, num_envs=num_envs)
    trained_on = make_vec_env(env_id, n_envs=num_envs, env_kwargs={"render_mode": None})
    times: list[list[float]] = [[], [], []]
    for _ in range(repeats):
        times[0].append(seconds_per_batch(sync, max(20, 6000 // num_envs)))
        times[1].append(seconds_per_batch(batched, 2000))
        times[2].append(seconds_per_batch(trained_on, 1000))
    return [statistics.median(column) for column in times]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--num-envs", type=int, nargs="+", default=[1, 16, 64, 256, 1024])
    parser.add_argument(
        "--env-ids", nargs="+", default=["PlasticMaze-v0", "PlasticPairs-v0", "PlasticBandit-v0"]
    )
    arguments = parser.parse_args()
    register_environments()

    table = Table(title=f"Medians of {arguments.repeats} alternating repeats")
    table.add_column("id")
    for heading in (
        "environments",
        "SyncVectorEnv, steps/s",
        "batched, steps/s",
        "batched, µs per call",
        "ratio",
        "trained on, µs per step",
    ):
        table.add_column(heading, justify="right")
    for env_id in arguments.env_ids:
        for num_envs in arguments.num_envs:
            slow, fast, whole = compared(env_id, num_envs, arguments.repeats)
            table.add_row(
                env_id,
                f"{num_envs:,}",
                f"{num_envs / slow:,.0f}",
                f"{num_envs / fast:,.0f}",
                f"{fast * 1e6:.1f}",
                f"{slow / fast:.1f}",
                f"{whole / num_envs * 1e6:.3f}",
            )
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
