"""Kill a training again and again, go on with it, and hold it against one that was never stopped.

    python tests/faults/kills.py --kills 20 --terms 20

Two trainings are started: one is ended by SIGKILL, the other by SIGTERM, at random moments, and resumed each
time: up to some seconds after its first episodes, and every fourth time after the start of its process. After
every stop the folder must hold a whole model and logs; a save interval and the rollout after it may be lost,
by SIGTERM nothing; and in the end the weights must be those, to the bit, of a third training that ran in one
go. One line per stop, a summary, exit code 1 if anything is wrong.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from plastic_rl.cli.main import main as command_line
from plastic_rl.runs import folder as runs
from plastic_rl.training.a2c import PlasticA2C

ENV_ID = "PlasticMaze-v0"
ENDLESS = 10**9
# fmt: off
SETTINGS = ["--n-envs", "8", "--seed", "3", "--device", "cpu", "--env-kwargs", "max_episode_steps:50",
            "--hyperparams", "n_steps:25", "learning_rate:0.001", "policy_kwargs.hidden_size:20"]
# fmt: on
SLACK = 0.2
"""Seconds that saving may take."""


@dataclass
class Stop:
    """What came of one: seconds after the process or its training began, exit code, and what was left."""

    of_training: bool
    after: float
    code: int
    steps: int
    lost: float = 0.0
    rollout: float = 0.0


def start(folder: Path, save_every: float, timesteps: int = ENDLESS) -> "subprocess.Popen[bytes]":
    """Start the training of a folder, or go on with it."""
    new = [ENV_ID, "--output", str(folder), *SETTINGS]
    what = ["--resume", str(folder)] if (folder / runs.CONFIG).exists() else new
    command = ["train", *what, "--timesteps", str(timesteps), "--save-every", str(save_every)]
    return subprocess.Popen(
        [sys.executable, "-m", "plastic_rl", *command],
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def stop(folder: Path, signum: int, of_training: bool, after: float, save_every: float) -> Stop:
    """Start, end it by a signal, and look at what it left."""
    process = start(folder, save_every)
    assert process.stdout is not None
    try:
        if of_training:
            _wait_for_episodes(process, folder / runs.MONITOR)
        code = process.wait(after)
        raise AssertionError(f"it ended by itself after {after:.2f} s with exit code {code}")
    except subprocess.TimeoutExpired:
        process.send_signal(signum)
        code = process.wait(60)
    finally:
        process.kill()
        process.stdout.close()
    if not (folder / runs.MODEL).exists():
        return Stop(of_training, after, code, 0)
    model = PlasticA2C.load(folder / runs.MODEL, device="cpu")
    if not (folder / runs.MONITOR).exists():
        return Stop(of_training, after, code, model.num_timesteps)
    # Of episodes, each logged when it ended; one at least is there as soon as something can be lost.
    times = runs.read_monitor(folder / runs.MONITOR)["t"]
    kept = getattr(model, "logged_episodes", 0)
    unsaved, since = times[kept:], times[kept - 1] if kept else 0.0
    if not len(unsaved):
        return Stop(of_training, after, code, model.num_timesteps)
    # All episodes end together, after two rollouts. The first ones take longest: kernels are loaded.
    longest = float(np.diff(unsaved, prepend=since).max())
    return Stop(of_training, after, code, model.num_timesteps, float(unsaved[-1] - since), longest)


def _wait_for_episodes(process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the training has logged episodes, beside those that were there when it began."""
    assert process.stdout is not None
    while not process.stdout.readline().startswith((b"Training", b"Resuming")):
        assert process.poll() is None, "it did not begin to train"
    before = log.stat().st_size if log.exists() else 0
    while not log.exists() or log.stat().st_size <= max(before, 200):
        assert process.poll() is None, "it did not train"
        time.sleep(0.01)


def chain(
    folder: Path, signum: int, count: int, save_every: float, span: float, rng: np.random.Generator
) -> list[Stop]:
    """So many stops of one training; a line for each."""
    stops = []
    for number in range(count):
        of_training = number % 4 != 3
        found = stop(folder, signum, of_training, rng.uniform(0, span), save_every)
        stops.append(found)
        where = "training" if of_training else "start-up"
        print(
            f"{signal.Signals(signum).name} {number + 1:3d}: {found.after:4.2f} s after the {where} began, "
            f"exit code {found.code:4d}, saved step {found.steps:9,}, lost {found.lost:4.2f} s",
            flush=True,
        )
    return stops


def finish(folder: Path, timesteps: int) -> dict[str, torch.Tensor]:
    """Train to the end; the weights."""
    process = start(folder, 180.0, timesteps)
    process.communicate()
    code = process.returncode
    assert code == 0, f"exit code {code} instead of 0"
    assert command_line(["train", "--resume", str(folder)]) == 0
    return PlasticA2C.load(folder / runs.MODEL, device="cpu").policy.state_dict()


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether the weights are the same to the bit."""
    return all(torch.equal(one[name], other[name]) for name in one)


def wrong_codes(stops: list[Stop], signum: int) -> list[int]:
    """Exit codes that such a signal does not explain; before Python has begun, SIGTERM ends it as it is."""
    allowed = {-signal.SIGKILL} if signum == signal.SIGKILL else {128 + signum, -signum}
    return [one.code for one in stops if one.code not in allowed]


def main(argv: list[str] | None = None) -> int:
    """Run it; 1 if something was lost or damaged."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=20, help="default: 20")
    parser.add_argument("--terms", type=int, default=20, help="default: 20")
    parser.add_argument("--save-every", type=float, default=1.0, help="seconds (default: 1)")
    parser.add_argument("--span", type=float, default=4.0, help="latest moment of a stop, s (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    arguments = parser.parse_args(argv)
    rng = np.random.default_rng(arguments.seed)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        how = (arguments.save_every, arguments.span, rng)
        killed = chain(root / "killed", signal.SIGKILL, arguments.kills, *how)
        termed = chain(root / "termed", signal.SIGTERM, arguments.terms, *how)
        total = max([20_000, *(one.steps for one in killed + termed)]) + 20_000
        whole = finish(root / "whole", total)
        same = {name: equal(finish(root / name, total), whole) for name in ("killed", "termed")}
    worst = max([0.0, *(one.lost for one in killed)])
    beyond = max([0.0, *(one.lost - one.rollout for one in killed)])
    lost = max([0.0, *(one.lost for one in termed)])
    wrong = wrong_codes(killed, signal.SIGKILL) + wrong_codes(termed, signal.SIGTERM)
    for name, stops, most in (("SIGKILL", killed, worst), ("SIGTERM", termed, lost)):
        steps = [0, *(one.steps for one in stops)]
        further = sum(after > before for before, after in pairwise(steps))
        print(
            f"{len(stops)} {name}, {further} of them after new saved steps: all resumed, nothing damaged, "
            f"at most {most:.2f} s of training lost"
        )
    print(f"{total:,} steps, the same weights as in one go: {same}; {time.monotonic() - begin:.0f} s in all")
    fine = beyond <= arguments.save_every + SLACK and lost == 0 and not wrong and all(same.values())
    if not fine:
        print(f"WRONG: exit codes {wrong}, lost {beyond:.2f} s and {lost:.2f} s, same weights {same}")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
