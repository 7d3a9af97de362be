"""The check of a GPU, in under five minutes: right results, speed, a minute of training.

    python -m benchmarks.gpu

Results of the backend `triton` are held against the reference on the same device, of every cell and rule,
and those of replayed CUDA graphs against the same launches one by one, to the bit. Times are medians of
five runs after five that warm up and capture, printed only where the same network agrees with the reference
in fewer environments; where graphs are taken, with and without them. The share of the bandwidth counts two
matrices for each environment step forward (the trace in and out) and three back (the trace, its gradient in
and out), against what a copy reaches. Exits with 1 if a result is wrong, with 2 without a GPU.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.callbacks import BaseCallback

import plastic_rl
from benchmarks.speed.plastic_rnn import Config, Problem, disagreement
from plastic_rl.ops.plastic_rnn import BACKENDS, CELLS, RULES, Recording
from plastic_rl.ops.plastic_rnn.triton import TritonBackend
from plastic_rl.ops.plastic_rnn.triton.memory import LARGEST_TRACES

SPEEDS = (
    Config(n=200, steps=50, batch=1024),
    Config(n=200, steps=50, batch=1024, rule="modulated"),
    Config(n=100, steps=50, batch=4096, rule="modulated"),
    Config(n=100, steps=50, batch=4096, rule="modulated", cell="gru"),
    Config(n=200, steps=50, batch=64),
    Config(n=100, steps=50, batch=512, rule="modulated"),
    Config(n=400, steps=50, batch=256),
)


# By the fifth call a sequence and the way back through it are replays.
CAPTURED = 5


def clock() -> float:
    """Seconds, when all that was launched is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def wrong_results(device: str, size: Config) -> Iterator[str]:
    """What does not agree with the reference, of every cell, rule and alpha, at about this size."""
    for cell in CELLS:
        for rule in RULES:
            for alpha in ("full", "homogeneous", "none") if rule == "hebb" else ("full",):
                network: dict[str, Any] = {"cell": cell, "rule": rule, "alpha": alpha, "eta": 0.1}
                wrong = compared(replace(size, **network), device)
                if wrong:
                    yield f"{cell}, {rule}, {alpha}: {wrong}"


def compared(config: Config, device: str) -> str | None:
    """The first result of the sequence or the recording that is not the reference's, or None."""
    problem = Problem(config, clock, device)
    expected = problem.run("reference")[2]
    recording = Recording(config.steps, problem.params, problem.state, "triton")

    def wrong() -> str | None:
        return disagreement(problem.run("triton")[2], expected) or disagreement(
            problem.record(recording)[2], expected
        )

    return wrong() or (captured_differs(problem, recording) if device == "cuda" else None)


def captured_differs(problem: Problem, recording: Recording) -> str | None:
    """The first result of a replayed graph that is not that of the launches one by one, or None."""
    with launched_one_by_one():
        plain = Recording(recording.n_steps, problem.params, problem.state, "triton")
        expected = problem.run("triton")[2], problem.record(plain)[2]
    for _ in range(CAPTURED):
        found = problem.run("triton")[2], problem.record(recording)[2]
        for kind, results, wanted in zip(("sequence", "recording"), found, expected, strict=True):
            for name, value in results.items():
                if not torch.equal(value, wanted[name]):
                    return f"{name} of a captured {kind} is not the same"
    return None if len(backend().graphs) else "nothing was captured"


@contextmanager
def launched_one_by_one() -> Iterator[None]:
    """Without CUDA graphs, none of which is left."""
    before, backend().cuda_graphs = backend().cuda_graphs, False
    try:
        yield
    finally:
        backend().cuda_graphs = before


def backend() -> TritonBackend:
    found = BACKENDS["triton"]
    assert isinstance(found, TritonBackend)
    return found


def copy_bandwidth() -> float:
    """Bytes per second that a copy of a gigabyte reads and writes."""
    source = torch.empty(2**28, device="cuda")
    target = torch.empty_like(source)
    times = []
    for _ in range(10):
        begin = clock()
        target.copy_(source)
        times.append(clock() - begin)
    return 2 * 4 * source.numel() / min(times)


def speeds(config: Config, bandwidth: float) -> Iterator[list[str]]:
    """The rows of the table: with graphs where they are taken, and without."""
    name = f"{config.n}, {config.steps}, {config.batch}, {config.cell}, {config.rule}"
    wrong = compared(replace(config, batch=16), "cuda")
    if wrong:
        yield [name, f"wrong: {wrong}"]
        return
    if 4 * config.batch * config.n**2 <= LARGEST_TRACES:
        yield [f"{name}, graphs", *speed(config, bandwidth)]
    with launched_one_by_one():
        yield [name, *speed(config, bandwidth)]


def speed(config: Config, bandwidth: float, repeats: int = 5) -> list[str]:
    """A row of the table."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    problem = Problem(config, clock, "cuda")
    recording = Recording(config.steps, problem.params, problem.state, "triton")
    row = []
    for run in (lambda: problem.run("triton"), lambda: problem.record(recording)):
        times = [run()[:2] for _ in range(CAPTURED + repeats)][CAPTURED:]
        forward, backward = (statistics.median(column) for column in zip(*times, strict=True))
        steps = config.steps * config.batch
        floor = 4 * config.n**2 * steps / bandwidth
        row += [f"{steps / forward:,.0f}", f"{steps / (forward + backward):,.0f}"]
        row.append(f"{2 * floor / forward:.0%}, {3 * floor / backward:.0%}")
    return [*row, f"{torch.cuda.max_memory_allocated() / 2**30:.1f}"]


class For(BaseCallback):
    """Ends the training after so many seconds, of which those of the first update do not count."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.begin, self.first, self.rollouts = seconds, 0.0, 0, 0

    def _on_rollout_start(self) -> None:
        self.rollouts += 1
        if self.rollouts == 2:
            self.begin, self.first = clock(), self.num_timesteps

    def _on_step(self) -> bool:
        return self.rollouts < 2 or time.perf_counter() - self.begin < self.seconds


def train(device: str, n_envs: int, seconds: float) -> str:
    """Steps per second and returns of a training in the maze."""
    env = plastic_rl.make_vec_env("PlasticMaze-v0", n_envs=n_envs, seed=0, env_kwargs={"render_mode": None})
    model = plastic_rl.PlasticA2C(env=env, **plastic_rl.hyperparams("PlasticMaze-v0"), seed=0, device=device)
    callback = For(seconds)
    model.learn(10**9, callback=callback)
    taken, passed = model.num_timesteps - callback.first, clock() - callback.begin
    returns = [episode["r"] for episode in model.ep_info_buffer or ()]
    mean = f"{statistics.mean(returns):.1f}" if returns else "none yet"
    return (
        f"training, {n_envs} environments: {taken / passed:,.0f} steps per second for {passed:.0f} s, "
        f"return of the last {len(returns)} episodes {mean}"
    )


def main() -> int:
    if not torch.cuda.is_available():
        print("no CUDA device here: nothing to check", file=sys.stderr)
        return 2
    console = Console()
    begin = time.perf_counter()
    backend().cuda_graphs = True
    console.print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    wrong = list(wrong_results("cuda", Config(n=67, steps=13, batch=21)))
    console.print(
        "\n".join(["[red]not the reference:", *wrong]) if wrong else "every cell and rule: the reference"
    )
    bandwidth = copy_bandwidth()
    table = Table(title=f"environment steps per second; a copy: {bandwidth / 1e9:,.0f} GB/s")
    for column in ("N, T, B", "forward", "both", "of bandwidth", "recorded", "both", "of bandwidth", "GB"):
        table.add_column(column)
    for config in SPEEDS:
        for row in speeds(config, bandwidth):
            table.add_row(*row)
    console.print(table)
    console.print(train("cuda", 2048, 60))
    console.print(f"{time.perf_counter() - begin:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
