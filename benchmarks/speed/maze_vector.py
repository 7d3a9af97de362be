"""Steps per second of the batched maze environment against Gymnasium's SyncVectorEnv of the single one.

    python -m benchmarks.speed.maze_vector [--repeats 5] [--num-envs 1 16 64 256 1024]

Both take the same random actions, turn and turn about; the medians over the repeats are reported. A step of a
batch of B environments counts as B steps.
"""

import argparse
import statistics
import time

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from rich.console import Console
from rich.table import Table

from plastic_rl.envs import register_environments


def seconds_per_batch(envs: VectorEnv, batches: int) -> float:
    actions = np.random.default_rng(0).integers(4, size=(batches, envs.num_envs))
    envs.reset(seed=0)
    begin = time.perf_counter()
    for action in actions:
        envs.step(action)
    return (time.perf_counter() - begin) / batches


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--num-envs", type=int, nargs="+", default=[1, 16, 64, 256, 1024])
    parser.add_argument("--env-id", default="PlasticMaze-v0")
    arguments = parser.parse_args()
    register_environments()

    table = Table(title=f"{arguments.env_id}, medians of {arguments.repeats} alternating repeats")
    for heading in (
        "environments",
        "SyncVectorEnv, steps/s",
        "batched, steps/s",
        "batched, µs per call",
        "ratio",
    ):
        table.add_column(heading, justify="right")
    for num_envs in arguments.num_envs:
        sync = gym.make_vec(
            arguments.env_id,
            num_envs=num_envs,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        )
        batched = gym.make_vec(arguments.env_id, num_envs=num_envs)
        times: dict[str, list[float]] = {"sync": [], "batched": []}
        for _ in range(arguments.repeats):
            times["sync"].append(seconds_per_batch(sync, max(20, 6000 // num_envs)))
            times["batched"].append(seconds_per_batch(batched, 2000))
        slow, fast = statistics.median(times["sync"]), statistics.median(times["batched"])
        table.add_row(
            f"{num_envs:,}",
            f"{num_envs / slow:,.0f}",
            f"{num_envs / fast:,.0f}",
            f"{fast * 1e6:.1f}",
            f"{slow / fast:.1f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
