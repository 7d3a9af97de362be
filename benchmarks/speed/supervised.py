"""Episodes trained per second on the supervised tasks, against plain automatic differentiation.

    python -m benchmarks.speed.supervised [--tasks pattern image] [--batch 1 2] [--repeats 5] [--threads 2]

One training step is the forward pass over whole episodes, the backward pass from the error of the last
answer, and the optimiser's step, as `SupervisedMetaLearner` takes it. The plain network is the same one on
the backend `reference`: `bmm(y, w + alpha * H)` step by step under autograd, without a closed form for
repeated steps. Both take the same episodes in turn, after a warm-up; times are medians. A speed is printed
only if the answers and all gradients of the same run agree. Images are random: their content changes no cost.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from plastic_rl.envs.tasks.image_completion import ImageCompletionTask
from plastic_rl.envs.tasks.pattern_memory import PatternMemoryTask
from plastic_rl.policies.supervised import AutoassociatorPolicy
from plastic_rl.training.supervised import squared_error

# Largest error over a tensor relative to its largest element, both in float32.
PARITY = 2e-3
LEARNING_RATE = 1e-4

Task = PatternMemoryTask | ImageCompletionTask


def make_task(name: str) -> Task:
    if name == "pattern":
        return PatternMemoryTask()
    images = np.random.default_rng(0).integers(256, size=(50, 3, 32, 32), dtype=np.uint8)
    return ImageCompletionTask(data=images)


class Learner:
    """A network on one backend, and its optimiser."""

    def __init__(self, task: Task, backend: str) -> None:
        torch.manual_seed(0)
        spaces = task.observation_space, task.action_space
        self.policy = AutoassociatorPolicy(*spaces, lambda _: LEARNING_RATE, backend=backend)

    def train(self, observations: Tensor, targets: Tensor) -> tuple[list[float], dict[str, Tensor]]:
        """Seconds of the forward pass, the backward pass and the optimiser, and the results.

        observations: (T, B, E); targets: (B, E)
        """
        self.policy.optimizer.zero_grad()
        clock = [time.perf_counter()]
        outputs = self.policy(observations)
        loss = squared_error(outputs, targets)
        clock.append(time.perf_counter())
        loss.backward()
        clock.append(time.perf_counter())
        results = {"outputs": outputs.detach()}
        results |= {name: p.grad.clone() for name, p in self.policy.named_parameters() if p.grad is not None}
        middle = time.perf_counter()
        self.policy.optimizer.step()
        end = time.perf_counter()
        return [clock[1] - clock[0], clock[2] - clock[1], end - middle], results


def disagreement(results: dict[str, Tensor], expected: dict[str, Tensor]) -> str | None:
    """The first result that is not the plain network's, or None."""
    if results.keys() != expected.keys():
        return f"gradients of {sorted(results)}, not of {sorted(expected)}"
    for name, value in expected.items():
        error = ((results[name] - value).abs().max() / value.abs().max()).item()
        if not error <= PARITY:
            return f"{name} off by {error:.1e}"
    return None


def measure(name: str, batch: int, repeats: int) -> list[str]:
    """One row of the table."""
    task = make_task(name)
    rng = np.random.default_rng(0)
    learners = {"auto": Learner(task, "auto"), "reference": Learner(task, "reference")}
    times: dict[str, list[list[float]]] = {backend: [] for backend in learners}
    size = [name, str(task.n_elements + 1), str(task.episode_length), str(batch)]
    for repeat in range(repeats + 1):
        episodes = task.sample_episodes(batch, rng)
        assert isinstance(episodes.observations, np.ndarray)
        data = torch.from_numpy(episodes.observations), torch.from_numpy(episodes.targets)
        runs = {backend: learner.train(*data) for backend, learner in learners.items()}
        if repeat == 0:  # warm-up, and the check: the parameters are still the same
            wrong = disagreement(runs["auto"][1], runs["reference"][1])
            if wrong:
                return [*size, f"[red]not the plain network: {wrong}"]
            continue
        for backend, (seconds, _) in runs.items():
            times[backend].append([*seconds, sum(seconds)])
    ours, plain = (
        [1e3 * statistics.median(column) / batch for column in zip(*times[backend], strict=True)]
        for backend in learners
    )
    ratios = [theirs[-1] / mine[-1] for mine, theirs in zip(times["auto"], times["reference"], strict=True)]
    return [
        *size,
        *(f"{part:.1f}" for part in ours[:-1]),
        f"{1e3 / ours[-1]:.1f}",
        " + ".join(f"{part:.0f}" for part in plain[:-1]),
        f"{1e3 / plain[-1]:.2f}",
        f"{plain[-1] / ours[-1]:.1f}",
        f"{min(ratios):.1f} to {max(ratios):.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tasks", nargs="+", choices=("pattern", "image"), default=("pattern", "image"))
    parser.add_argument("--batch", nargs="+", type=int, default=(1, 2), help="episodes per training step")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    console = Console(width=160)
    console.print(f"{args.threads} threads, load {load:.1f}; milliseconds are per episode")
    table = Table()
    columns = ["task", "neurons", "steps", "batch", "forward", "backward", "optimiser", "episodes/s"]
    columns += ["plain: forward + backward + optimiser", "episodes/s", "times faster", "over the repeats"]
    for column in columns:
        table.add_column(column, justify="right")
    for name in args.tasks:
        for batch in args.batch:
            table.add_row(*measure(name, batch, args.repeats))
    console.print(table)


if __name__ == "__main__":
    main()
