"""Steps per second of batched environments against Gymnasium's SyncVectorEnv of the single ones.

    python -m benchmarks.speed.batched_envs [--repeats 5] [--num-envs 1 16 64 256 1024] [--env-ids ...]

Both take the same random actions, turn and turn about. Reported are the medians over the repeats, in
processor time of the one thread that they use. A step of a batch of B environments counts as B steps.
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

from plastic_rl.envs import register_environments


def seconds_per_batch(envs: VectorEnv, batches: int) -> float:
    assert isinstance(envs.single_action_space, spaces.Discrete)
    actions = np.random.default_rng(0).integers(envs.single_action_space.n, size=(batches, envs.num_envs))
    envs.reset(seed=0)
    begin = time.process_time()
    for action in actions:
        envs.step(action)
    return (time.process_time() - begin) / batches


def compared(env_id: str, num_envs: int, repeats: int) -> tuple[float, float]:
    """Median seconds of a call for the batch of single environments and for the batched one."""
    sync = gym.make_vec(
        env_id,
        num_envs=num_envs,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
    )
    batched = gym.make_vec(env_id, num_envs=num_envs)
    times: dict[str, list[float]] = {"sync": [], "batched": []}
    for _ in range(repeats):
        times["sync"].append(seconds_per_batch(sync, max(20, 6000 // num_envs)))
        times["batched"].append(seconds_per_batch(batched, 2000))
    return statistics.median(times["sync"]), statistics.median(times["batched"])


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
    ):
        table.add_column(heading, justify="right")
    for env_id in arguments.env_ids:
        for num_envs in arguments.num_envs:
            slow, fast = compared(env_id, num_envs, arguments.repeats)
            table.add_row(
                env_id,
                f"{num_envs:,}",
                f"{num_envs / slow:,.0f}",
                f"{num_envs / fast:,.0f}",
                f"{fast * 1e6:.1f}",
                f"{slow / fast:.1f}",
            )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
