"""What one training in several processes costs: pieces, a model of them, and whether it holds.

    python -m benchmarks.speed.scaling [--envs 32] [--updates 60] [--repeats 5]
    torchrun --standalone --nproc-per-node 2 -m benchmarks.speed.scaling

Every process first trains alone, at the same time as the others, with its share of the environments: that is
computing, on a machine that is shared as it will be. Then reductions of vectors are timed, then the training
of all together. The model: an update takes as long as computing and its reductions, one of the gradient and
a few of single numbers, and the gathering of what ended. Medians over the repeats of the first process;
the fastest repeat beside them, which says more on a machine that does other things, too.

`docs/scaling.md` says what follows for machines that are not here: `--predict` prints its table.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import torch
from stable_baselines3.common.callbacks import BaseCallback

import plastic_rl
from plastic_rl.analysis.tables import markdown_table
from plastic_rl.training.distributed import ALONE, Processes, join

ENV_ID, CONFIG = "PlasticMaze-v0", "ungated"
SIZES = (1, 22_000, 100_000, 1_000_000)


class Network(NamedTuple):
    """What messages cost: seconds of one hop, bytes per second of a link."""

    latency: float
    bandwidth: float


class Machine(NamedTuple):
    """Places to train on: workers, seconds of computing of one step of one environment, the network."""

    workers: int
    step: float
    network: Network


# Assumed, not measured: see docs/scaling.md.
INSIDE, BETWEEN, NVLINK = Network(20e-6, 2e9), Network(40e-6, 2.5e9), Network(10e-6, 150e9)
CORE, CARD = 1 / 70_000, 1 / 2_000_000
MACHINES = {
    "1 core": Machine(1, CORE, INSIDE),
    "2 cores": Machine(2, CORE, INSIDE),
    "16 cores": Machine(16, CORE, INSIDE),
    "64 cores": Machine(64, CORE, INSIDE),
    "1,000 cores": Machine(1000, CORE, BETWEEN),
    "8 cards": Machine(8, CARD, NVLINK),
}


def reduction(workers: int, numbers: int, network: Network) -> float:
    """Seconds of a ring: 2 (K - 1) hops, and every number goes almost twice over every link."""
    hops = 2 * (workers - 1)
    return hops * network.latency + hops / workers * 4 * numbers / network.bandwidth


def update(machine: Machine, envs: int, n_steps: int, numbers: int, small: int = 4) -> float:
    """Seconds of an update of all workers, each with so many environments."""
    shared = reduction(machine.workers, numbers, machine.network)
    return envs * n_steps * machine.step + shared + small * reduction(machine.workers, 1, machine.network)


class Clock(BaseCallback):
    """Seconds of every update but the first ones, in which kernels are compiled and memory is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self.ends.append(time.perf_counter())


def train(processes: Processes, envs: int, updates: int) -> tuple[float, int, int]:
    """Seconds of an update, the steps in a rollout, and the number of weights."""
    env = plastic_rl.make_vec_env(ENV_ID, envs, env_kwargs={"render_mode": None})
    model = plastic_rl.PlasticA2C(
        env=env,
        **plastic_rl.hyperparams(ENV_ID, config=CONFIG),
        device="cpu",
        distributed=not processes.alone,
    )
    clock = Clock()
    model.learn((updates + 3) * model.n_steps * model.total_envs, callback=clock, log_interval=10**9)
    seconds = (clock.ends[-1] - clock.ends[2]) / (len(clock.ends) - 3)
    return seconds, model.n_steps, sum(one.numel() for one in model.policy.parameters())


def timed(what: Callable[[], object], times: int = 100) -> float:
    what()
    start = time.perf_counter()
    for _ in range(times):
        what()
    return (time.perf_counter() - start) / times


def prediction() -> str:
    """Speeds of machines that are not here, for few and many environments of each worker."""
    rows = []
    for name, machine in MACHINES.items():
        cells: list[object] = [name]
        for envs in (4, 32, 256):
            if machine.step == CARD:
                envs *= 16
            seconds = update(machine, envs, 50, 22_000)
            steps = machine.workers * envs * 50 / seconds
            cells += [f"{steps / 1e6:.2f} ({envs * 50 * machine.step / seconds:.0%})"]
        rows.append(cells)
    return markdown_table(["workers", "few environments", "32 (cards: 512)", "256 (cards: 4,096)"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--envs", type=int, default=32, help="of all processes")
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--predict", action="store_true", help="print what the model says of other machines")
    arguments = parser.parse_args()
    if arguments.predict:
        print(prediction())
        return
    processes = join()
    torch.set_num_threads(1)
    own = processes.share("--envs", arguments.envs)
    found: dict[str, list[float]] = {}
    for _ in range(arguments.repeats):
        processes.any(False)  # all begin at once
        alone, n_steps, weights = train(ALONE, own, arguments.updates)
        found.setdefault(f"computing, {own} environments", []).append(alone)
        if processes.alone:
            continue
        vectors = {size: torch.ones(size) for size in SIZES}
        for size, vector in vectors.items():
            seconds = timed(lambda vector=vector: processes.sum_(vector))  # type: ignore[misc]
            found.setdefault(f"reduction of {size:,}", []).append(seconds)
        gathering = timed(lambda: processes.gather((True, [])))
        found.setdefault("gathering", []).append(gathering)
        together = train(processes, own, arguments.updates)[0]
        gradient, small = found["reduction of 22,000"][-1], found["reduction of 1"][-1]
        # The means that are logged, the advantages' moments; the gradient; what has ended.
        found.setdefault("update, by the model", []).append(alone + gradient + 2 * small + gathering)
        found.setdefault("update, measured", []).append(together)
    if processes.first:
        rows = [(name, f"{1e3 * median(t):.3f}", f"{1e3 * min(t):.3f}") for name, t in found.items()]
        print(
            f"{processes.size} processes, {arguments.envs} environments, rollouts of {n_steps}, "
            f"{weights:,} weights"
        )
        print(markdown_table(["milliseconds", "median", "fastest"], rows))


if __name__ == "__main__":
    main()
