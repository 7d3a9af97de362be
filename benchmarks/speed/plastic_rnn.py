"""How fast the plastic operator is, against its reference and against the memory bandwidth of the machine.

    python -m benchmarks.speed.plastic_rnn               the headline configuration
    python -m benchmarks.speed.plastic_rnn --sweep n     cost over N (also: steps, batch, rule, cell, ...)
    python -m benchmarks.speed.plastic_rnn --processor-time     on a machine that others use as well

Both backends run the same inputs in the same process, turn about, after a warm-up; times are medians. A speed
is printed only if every output and gradient of the same run agrees with the reference.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from plastic_rl.ops.plastic_rnn import (
    CELLS,
    RULES,
    PlasticParams,
    Recording,
    initial_state,
    plastic_rnn,
    plastic_rnn_replay,
)
from plastic_rl.ops.plastic_rnn.types import Backend, Cell

# Largest error over a tensor relative to its largest element, both in float32.
PARITY = 2e-3
# Before a run of the kernels: the threads that OpenMP keeps spinning after torch's operations go to sleep.
# The reference runs without, as it is slower after a pause.
PAUSE = 0.02
# The reference keeps about four copies of the trace per step: above this it runs on fewer steps and
# environments.
REFERENCE_BYTES = 4e9


@dataclass(frozen=True)
class Config:
    """One configuration of the operator."""

    n: int = 200
    steps: int = 250
    batch: int = 16
    rule: str = "hebb"
    alpha: str = "full"
    eta: float = 0.01
    core_steps: int = 1
    cell: Cell = "rnn"

    def small_enough(self) -> Config:
        """The same network on as many steps and environments as the reference has memory for."""
        steps, batch = self.steps, self.batch
        while 4 * 4 * self.n**2 * batch * steps > REFERENCE_BYTES and max(steps // 2, batch) > 4:
            steps, batch = (steps // 2, batch) if steps > 4 * batch else (steps, max(1, batch // 2))
        return replace(self, steps=steps, batch=batch)

    def streams(self) -> tuple[int, int]:
        """Matrix elements read or written per connection and step, forward and backward.

        Forward: w, alpha, H in, H out. Backward: w, alpha, and H, dL/dH and dalpha in and out. Either way
        each further inner step reads w, alpha and H, each gate has weights that are read in each of them, and
        a second trace is read and written, and on the way back read, with its gradient in and out.
        """
        forward, backward, more = {"full": (4, 8, 3), "homogeneous": (3, 5, 2), "none": (1, 1, 1)}[self.alpha]
        gates = CELLS[self.cell].gates
        more = (more + gates) * (self.core_steps - 1)
        if self.alpha != "none" and RULES[self.rule].eligibility:
            forward, backward = forward + 2, backward + 3
        return forward + more + gates, backward + more + gates


class Problem:
    """Leaf tensors and random output gradients for one configuration."""

    def __init__(
        self, config: Config, clock: Callable[[], float] = time.perf_counter, device: str = "cpu"
    ) -> None:
        self.config, self.clock = config, clock
        generator = torch.Generator().manual_seed(0)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator)

        n, scale = config.n, 0.5 / config.n**0.5
        cell = CELLS[config.cell]
        drive = len(cell.parts) * n
        self.leaves = {"x": 0.5 * normal(config.steps, config.batch, drive), "w": scale * normal(n, n)}
        if cell.gates:
            self.leaves["w_gates"] = scale * normal(n, cell.gates * n)
        if cell.reset_bias:
            self.leaves["b_u"] = 0.1 * normal(n)
        if config.alpha != "none":
            self.leaves["alpha"] = scale * (normal(n, n) if config.alpha == "full" else torch.tensor(1.0))
            make = {
                "eta": lambda: torch.tensor(config.eta),
                "w_m": lambda: normal(n) / n**0.5,
                "b_m": lambda: torch.tensor(0.1),
                "fan_out": lambda: 0.1 * normal(n),
            }
            self.leaves |= {name: make[name]() for name in RULES[config.rule].parameters}
        self.leaves = {name: leaf.to(device).requires_grad_() for name, leaf in self.leaves.items()}
        self.upstream = normal(config.steps, config.batch, n).to(device)
        self.params = PlasticParams(
            rule=config.rule,
            core_steps=config.core_steps,
            cell=config.cell,
            **{name: leaf for name, leaf in self.leaves.items() if name != "x"},
        )
        self.state = initial_state(self.params, config.batch)

    def run(self, backend: Backend) -> tuple[float, float, dict[str, torch.Tensor]]:
        """Seconds forward, seconds backward, and the results."""
        for leaf in self.leaves.values():
            leaf.grad = None
        if backend != "reference":
            time.sleep(PAUSE)
        start = self.clock()
        y, _ = plastic_rnn(self.leaves["x"], self.params, self.state, backend=backend)
        middle = self.clock()
        y.backward(self.upstream)
        end = self.clock()
        return middle - start, end - middle, self.results(y)

    def record(self, recording: Recording) -> tuple[float, float, dict[str, torch.Tensor]]:
        """The same, one step at a time as in a rollout, without a second forward pass."""
        for leaf in self.leaves.values():
            leaf.grad = None
        starts = torch.zeros(self.config.batch, dtype=torch.bool, device=self.upstream.device)
        recording.reset(self.params, self.state)
        time.sleep(PAUSE)
        start = self.clock()
        for x in self.leaves["x"].detach():
            recording.step(x, starts, self.params)
        middle = self.clock()
        y, _ = plastic_rnn_replay(self.leaves["x"], self.params, recording)
        y.backward(self.upstream)
        return middle - start, self.clock() - middle, self.results(y)

    def results(self, y: torch.Tensor) -> dict[str, torch.Tensor]:
        """The output and every gradient."""
        gradients = {name: leaf.grad for name, leaf in self.leaves.items() if leaf.grad is not None}
        return {"y": y.detach().clone(), **gradients}


def disagreement(results: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> str | None:
    """The first result that is not the reference's, or None."""
    for name, value in expected.items():
        error = ((results[name] - value).abs().max() / value.abs().max()).item()
        if not error <= PARITY:
            return f"{name} off by {error:.1e}"
    return None


def measure(
    config: Config, repeats: int, bandwidth: float, with_memory: bool, clock: Callable[[], float]
) -> list[str]:
    """One row of the table."""
    problem = Problem(config, clock)
    small = config.small_enough()
    reference = problem if small == config else Problem(small, clock)
    recording = Recording(config.steps, problem.params, problem.state, "numba")
    times: dict[str, list[tuple[float, float]]] = {"numba": [], "reference": [], "recorded": []}
    for repeat in range(repeats + 1):
        runs = {
            "numba": problem.run("numba"),
            "reference": reference.run("reference"),
            "recorded": problem.record(recording),
        }
        if repeat == 0:  # warm-up, and the check
            same_size = runs["numba"][2] if small == config else reference.run("numba")[2]
            wrong = disagreement(same_size, runs["reference"][2])
            wrong = wrong or disagreement(runs["recorded"][2], runs["numba"][2])
            if wrong:
                return [*describe(config), f"[red]not the reference: {wrong}"]
            continue
        for name, (forward, backward, _) in runs.items():
            times[name].append((forward, backward))

    def per_step(name: str, of: Config) -> list[float]:
        """Median microseconds per environment step: forward, backward, both."""
        scale = 1e6 / (of.steps * of.batch)
        both = [(forward, backward, forward + backward) for forward, backward in times[name]]
        return [scale * statistics.median(column) for column in zip(*both, strict=True)]

    ours, replayed, theirs = (
        per_step("numba", config),
        per_step("recorded", config),
        per_step("reference", small),
    )
    floor = [4e6 * streams * config.n**2 / bandwidth for streams in config.streams()]
    memory = ["", ""]
    if with_memory:
        memory = [f"{peak_memory(small, backend) / 1e6:.0f}" for backend in ("numba", "reference")]
    return [
        *describe(config),
        f"{ours[0]:.2f}",
        f"{ours[1]:.2f}",
        f"{replayed[0]:.2f}",
        f"{theirs[0]:.0f} + {theirs[1]:.0f}",
        f"{theirs[2] / ours[2]:.1f}",
        f"{floor[0] / ours[0]:.0%}",
        f"{floor[1] / ours[1]:.0%}",
        f"{sum(floor) / ours[2]:.0%}",
        *memory,
    ]


def describe(config: Config) -> list[str]:
    used = config.alpha != "none" and "eta" in RULES[config.rule].parameters
    eta = f"{config.eta:g}" if used else ""
    return [
        str(config.n),
        str(config.steps),
        str(config.batch),
        config.cell,
        config.rule,
        config.alpha,
        eta,
        str(config.core_steps),
    ]


def stream_bandwidth(n: int, threads: int, repeats: int = 15) -> float:
    """Bytes per second of c <- a + b + c over N x N float32: all threads, the best of several runs."""
    from numba import njit

    from plastic_rl.ops.plastic_rnn.numba.simd import LANES, load, store
    from plastic_rl.ops.plastic_rnn.threads import in_chunks

    @njit(nogil=True)
    def stream(chunk, low, high, a, b, c, rounds):  # type: ignore[no-untyped-def]
        for _ in range(rounds):
            for offset in range(0, c.shape[1], LANES):
                total: Any = load(a[chunk], offset) + load(b[chunk], offset) + load(c[chunk], offset)  # type: ignore[call-arg]
                store(c[chunk], offset, total)

    # Rows a little more than whole pages apart, for the same reason as in the operator.
    length = -(-n * n // 1024) * 1024 + 208
    a, b, c = np.zeros((3, threads, length), np.float32)
    rounds = max(1, int(2e7 / length))
    best = float("inf")
    for _ in range(repeats + 1):
        start = time.perf_counter()
        in_chunks(stream, threads, threads, a, b, c, rounds)
        best = min(best, time.perf_counter() - start) if _ else best
    return 16 * length * rounds * threads / best


def peak_memory(config: Config, backend: str) -> float:
    """Bytes that forward and backward add to the memory of a fresh process, at their peak (Linux)."""
    code = (
        "import sys; from benchmarks.speed.plastic_rnn import *\n"
        "config = Config(*(type(f)(v) for f, v in zip((0, 0, 0, '', '', 0.0, 0, ''), sys.argv[2:])))\n"
        "Problem(replace(config, steps=2, batch=1)).run(sys.argv[1]); problem = Problem(config)\n"
        "print(added_at_peak(lambda: problem.run(sys.argv[1])))\n"
    )
    arguments = [backend, *map(str, astuple(config))]
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(result.stdout)


SWEEPS: dict[str, list[dict[str, Any]]] = {
    "n": [{"n": n} for n in (50, 100, 200, 400, 1000)],
    "steps": [{"steps": steps} for steps in (25, 50, 125, 250, 500)],
    "batch": [{"batch": batch} for batch in (1, 2, 4, 16, 64)],
    "rule": [
        {"rule": rule, "alpha": alpha, "eta": eta}
        for rule, eta in (*((rule, 0.01) for rule in RULES), ("hebb", 0.3))
        for alpha in ("full", "homogeneous")
    ]
    + [{"alpha": "none"}],
    "cell": [{"cell": cell, "rule": rule} for cell in CELLS for rule in ("hebb", "modulated", "retroactive")]
    + [{"cell": cell, "alpha": "none"} for cell in CELLS],
    "core-steps": [{"core_steps": core_steps} for core_steps in (1, 2, 3)],
}


def configurations(base: Config, sweep: str | None) -> Iterator[Config]:
    for change in SWEEPS[sweep] if sweep else [{}]:
        yield replace(base, **change)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--n", type=int, default=200, help="neurons")
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--batch", type=int, default=16, help="environments")
    parser.add_argument("--cell", choices=tuple(CELLS), default="rnn")
    parser.add_argument("--rule", choices=tuple(RULES), default="hebb")
    parser.add_argument("--alpha", choices=("full", "homogeneous", "none"), default="full")
    parser.add_argument("--eta", type=float, default=0.01)
    parser.add_argument("--core-steps", type=int, default=1, help="inner steps of each step")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sweep", choices=tuple(SWEEPS), help="several configurations")
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="time of this thread's processor, with one thread: for a machine that others use as well",
    )
    parser.add_argument("--no-memory", action="store_true", help="leave out the peak memory")
    args = parser.parse_args()

    if args.processor_time and args.threads != 1:
        parser.error(f"--processor-time counts one thread: --threads must be 1, got {args.threads}")
    clock = time.thread_time if args.processor_time else time.perf_counter
    torch.set_num_threads(args.threads)
    console = Console(width=170)
    base = Config(args.n, args.steps, args.batch, args.rule, args.alpha, args.eta, args.core_steps, args.cell)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    console.print(f"{args.threads} threads, load {load:.1f}; all times in microseconds per environment step")
    table = Table()
    columns = [
        "N",
        "T",
        "B",
        "cell",
        "rule",
        "alpha",
        "eta",
        "inner",
        "forward",
        "backward",
        "forward, step by step",
    ]
    columns += [
        "reference",
        "times faster",
        "roofline forward",
        "backward",
        "both",
        "peak MB",
        "reference MB",
    ]
    for column in columns:
        table.add_column(column, justify="right")
    bandwidths: dict[int, float] = {}
    for config in configurations(base, args.sweep):
        if config.n not in bandwidths:
            bandwidths[config.n] = stream_bandwidth(config.n, args.threads)
        table.add_row(*measure(config, args.repeats, bandwidths[config.n], not args.no_memory, clock))
    console.print(table)
    for n, bandwidth in bandwidths.items():
        console.print(f"measured bandwidth at N = {n}: {bandwidth / 1e9:.0f} GB/s (three loads, one store)")


if __name__ == "__main__":
    main()
