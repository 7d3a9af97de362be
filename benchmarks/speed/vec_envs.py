"""When processes of their own pay: environments of known cost, one after the other and in processes.

    python -m benchmarks.speed.vec_envs [--costs 0 100 1000] [--n-envs 8] [--env-id CartPole-v1]

Every row is one cost of a step in microseconds of the processor, or an environment: its steps a second in
`DummyVecEnv` and in `SubprocVecEnv`, measured in turn, medians of the repeats.
"""

import argparse
import time
from functools import partial
from statistics import median
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

import plastic_rl
from plastic_rl.analysis.tables import markdown_table


class CostlyEnv(gym.Env):
    """Steps that cost so many microseconds of the processor, and nothing else."""

    observation_space = spaces.Box(-1, 1, (8,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, cost: float) -> None:
        self.cost = cost

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        """Zeros."""
        super().reset(seed=seed)
        return np.zeros(8, np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        """Zeros, once the time is over."""
        end = time.process_time() + self.cost / 1e6
        while time.process_time() < end:
            pass
        return np.zeros(8, np.float32), 0.0, False, False, {}


def steps_per_second(env: VecEnv, seconds: float) -> float:
    """Of all environments together, with the same actions all the time."""
    actions = np.array([env.action_space.sample() for _ in range(env.num_envs)])
    count, begin = 0, time.perf_counter()
    while time.perf_counter() < begin + seconds:
        env.step(actions)
        count += env.num_envs
    return count / (time.perf_counter() - begin)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--costs", type=float, nargs="*", default=[0, 30, 100, 300, 1000], help="microseconds"
    )
    parser.add_argument("--env-id", nargs="*", default=[], metavar="ID", help="others to measure")
    parser.add_argument("--n-envs", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one measurement")
    arguments = parser.parse_args()
    made: dict[str, Any] = {f"{cost:g} us a step": partial(CostlyEnv, cost) for cost in arguments.costs}
    made |= {env_id: env_id for env_id in arguments.env_id}
    rows = []
    for name, env_id in made.items():
        envs = [
            plastic_rl.make_vec_env(env_id, arguments.n_envs, seed=0, vec_env_cls=vec_env_cls)
            for vec_env_cls in (DummyVecEnv, SubprocVecEnv)
        ]
        for env in envs:
            env.reset()
        speeds = [
            [steps_per_second(env, arguments.seconds) for env in envs] for _ in range(arguments.repeats)
        ]
        for env in envs:
            env.close()
        dummy, subproc = (median(column) for column in zip(*speeds, strict=True))
        rows.append((name, f"{dummy:,.0f}", f"{subproc:,.0f}", f"{subproc / dummy:.2f}"))
    print(markdown_table(["environment", "one after the other", "processes", "ratio"], rows))


if __name__ == "__main__":
    main()
