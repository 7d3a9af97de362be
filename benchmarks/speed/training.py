"""Environment steps per second of whole training runs, and where the time goes.

    python -m benchmarks.speed.training [--env-id PlasticMaze-v0] [--n-envs 16 32 64 128] [--repeats 3]
    python -m benchmarks.speed.training --config paper
    python -m benchmarks.speed.training --algo plastic_ppo --hyperparams policy_kwargs.hidden_size:72

Every run has the settings of the command line, on the batched environment with its monitor and a callback, as
`plastic-rl train` runs it. The number of environments takes turns; medians over repeats
are reported, after one update that warms up. The split is measured in the same runs, by clocks around the
parts; what no clock covers is Python.
"""

import argparse
import functools
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback

import plastic_rl
from plastic_rl.ops.plastic_rnn import Recording
from plastic_rl.policies import PlasticPolicy
from plastic_rl.runs.hyperparams import algorithm_class, load_config
from plastic_rl.runs.plain_yaml import parse_pairs
from plastic_rl.runs.statistics import normalized
from plastic_rl.training.on_policy import PlasticOnPolicyAlgorithm
from plastic_rl.training.rollout import RolloutRecorder

PARTS = ("environment", "acting", "backward", "heads", "optimiser", "returns", "Python")


class Nothing(BaseCallback):
    """As cheap as a callback can be."""

    def _on_step(self) -> bool:
        return True


def make(
    algo: str, env_id: str, n_envs: int, config_name: str | None, overrides: dict[str, Any]
) -> PlasticOnPolicyAlgorithm:
    config = load_config(env_id, algo, config_name, overrides)
    env = plastic_rl.make_vec_env(env_id, n_envs=n_envs, seed=0, env_kwargs={"render_mode": None})
    env = normalized(env, config.normalize, config.hyperparams["gamma"])
    model = algorithm_class(algo)(env=env, **config.kwargs(), seed=0)
    assert isinstance(model, PlasticOnPolicyAlgorithm)
    return model


@contextmanager
def clocks(model: PlasticOnPolicyAlgorithm) -> Iterator[dict[str, float]]:
    """Seconds spent in each part while the block runs."""
    seconds: dict[str, float] = defaultdict(float)

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            result = function(*args, **kwargs)
            seconds[part] += time.perf_counter() - begin
            return result

        return call

    with ExitStack() as stack:
        for owner, name, part in (
            (type(model.env), "step_wait", "environment"),
            (Recording, "step", "acting"),
            (torch.Tensor, "backward", "backward"),
            (RolloutRecorder, "fill", "heads"),
            (RolloutRecorder, "evaluate", "heads"),
            (model.policy.optimizer, "step", "optimiser"),
            (torch.nn.utils, "clip_grad_norm_", "optimiser"),
            (RolloutBuffer, "compute_returns_and_advantage", "returns"),
        ):
            stack.enter_context(patch.object(owner, name, timed(part, getattr(owner, name))))
        yield seconds


def measure(model: PlasticOnPolicyAlgorithm, updates: int) -> tuple[float, dict[str, float]]:
    """Steps per second, and the microseconds per environment step of each part."""
    steps = updates * model.n_steps * model.n_envs
    with clocks(model) as seconds:
        begin = time.perf_counter()
        model.learn(steps, callback=Nothing(), log_interval=1000, reset_num_timesteps=False)
        total = time.perf_counter() - begin
    seconds["Python"] = total - sum(seconds.values())
    return steps / total, {part: seconds[part] / steps * 1e6 for part in PARTS}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--algo", default="plastic_a2c", choices=["plastic_a2c", "plastic_ppo"])
    parser.add_argument("--env-id", default="PlasticMaze-v0")
    parser.add_argument("--config", help="other hyper-parameters, as for plastic-rl train")
    parser.add_argument("--n-envs", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--hyperparams", nargs="+", default=[], metavar="KEY:VALUE")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--updates", type=int, default=4)
    arguments = parser.parse_args()

    overrides = parse_pairs(arguments.hyperparams)
    models = {
        n_envs: make(arguments.algo, arguments.env_id, n_envs, arguments.config, overrides)
        for n_envs in arguments.n_envs
    }
    for model in models.values():
        measure(model, updates=1)
    speeds: dict[int, list[float]] = {n_envs: [] for n_envs in models}
    splits: dict[int, list[dict[str, float]]] = {n_envs: [] for n_envs in models}
    for _ in range(arguments.repeats):
        for n_envs, model in models.items():
            speed, split = measure(model, arguments.updates)
            speeds[n_envs].append(speed)
            splits[n_envs].append(split)

    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    policy = model.policy
    assert isinstance(policy, PlasticPolicy)
    table = Table(
        title=f"{arguments.algo}, {arguments.env_id}, {policy.core_options.cell} of {policy.hidden_size}, "
        f"{policy.core_options.rule}, "
        f"rollouts of {model.n_steps} steps: "
        f"training on {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"load {load}; medians of {arguments.repeats} repeats of {arguments.updates} updates"
    )
    for heading in ("environments", "steps/s", "spread", *(f"{part}, µs" for part in PARTS)):
        table.add_column(heading, justify="right")
    for n_envs in models:
        median = {part: statistics.median(split[part] for split in splits[n_envs]) for part in PARTS}
        table.add_row(
            f"{n_envs}",
            f"{statistics.median(speeds[n_envs]):,.0f}",
            f"{min(speeds[n_envs]):,.0f} to {max(speeds[n_envs]):,.0f}",
            *(f"{median[part]:.2f}" for part in PARTS),
        )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
