"""The memory of a training in the maze: what its process grows by, each setting in a process of its own.

    python -m benchmarks.speed.memory [--hidden-size 200] [--updates 3]

Printed is the table of `docs/faq.md`: the peak while model and rollouts are built and trained, less what the
process had before, which has trained a network of two neurons by then: libraries and kernels are loaded.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plastic_rl.analysis.tables import markdown_table

ENV_ID = "PlasticMaze-v0"


@dataclass(frozen=True)
class Setting:
    """What a training is measured with; everything else is the default."""

    n_envs: int = 16
    n_steps: int = 250
    eta: float = 0.01
    rule: str = "hebb"
    backend: str = "auto"

    def __str__(self) -> str:
        changes = [
            f"`{name}={getattr(self, name)}`"
            for name in ("n_steps", "eta", "rule", "backend")
            if getattr(self, name) != getattr(Setting, name)
        ]
        return ", ".join(changes)


SETTINGS = (
    Setting(),
    Setting(n_envs=64),
    Setting(n_envs=256),
    Setting(n_steps=1000),
    Setting(eta=0.3),
    Setting(rule="modulated"),
    Setting(backend="reference"),
)


def added_at_peak(run: Callable[[], Any]) -> int:
    """Peak resident memory during a call, less that before it, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
    before = _resident("VmRSS")
    run()
    return _resident("VmHWM") - before


def _resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])


def train(setting: Setting, hidden_size: int, updates: int) -> None:
    """Train in this process."""
    import plastic_rl

    model = plastic_rl.PlasticA2C(
        "MlpPolicy",
        plastic_rl.make_vec_env(ENV_ID, setting.n_envs, seed=0),
        n_steps=setting.n_steps,
        seed=0,
        device="cpu",
        policy_kwargs={
            "hidden_size": hidden_size,
            "rule": setting.rule,
            "eta": setting.eta,
            "backend": setting.backend,
        },
    )
    model.learn(updates * setting.n_envs * setting.n_steps)


def measure(setting: Setting, hidden_size: int, updates: int) -> tuple[float, float]:
    """The memory of this process before a training, and what that adds, in MB."""
    train(replace(setting, n_envs=2, n_steps=4), 2, 1)
    before = _resident("VmRSS")
    return before / 1e6, added_at_peak(lambda: train(setting, hidden_size, updates)) / 1e6


def in_a_process(setting: Setting, hidden_size: int, updates: int) -> tuple[float, float]:
    """`measure` in a process of its own."""
    code = (
        "from benchmarks.speed.memory import Setting, measure\n"
        f"print(*measure({setting!r}, {hidden_size}, {updates}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, added = map(float, done.stdout.split()[-2:])
    return before, added


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--hidden-size", type=int, default=200)
    parser.add_argument("--updates", type=int, default=3, help="of each training")
    given = parser.parse_args()
    rows = []
    for setting in SETTINGS:
        before, added = in_a_process(setting, given.hidden_size, given.updates)
        rows.append((f"{setting.n_envs} environments", str(setting), f"{before:,.0f}", f"{added:,.0f}"))
    print(markdown_table(["", "", "MB before", "MB added"], rows))


if __name__ == "__main__":
    main()
