"""POPGym's tasks as its authors train on them: the action before and a flag at the first step, as one vector.

Importing it registers `Popgym<task><difficulty>-v0` for every task of the installed POPGym, from
`PopgymAutoencodeEasy-v0` to `PopgymVelocityOnlyCartpoleHard-v0`:

    python -m plastic_rl train benchmarks.science.popgym_tasks:PopgymRepeatFirstEasy-v0 --algo plastic_ppo
"""

from typing import Any

import gymnasium as gym
from popgym.wrappers import Antialias, Flatten, PreviousAction  # popgym itself registers its tasks


def make(task: str, render_mode: str | None = None) -> gym.Env[Any, Any]:
    """Make a task of POPGym by its id there; nothing of it is rendered."""
    # Its wrappers take nothing but its own environments; a horizon is theirs, too.
    env: gym.Env[Any, Any] = Flatten(Antialias(PreviousAction(gym.make(task).unwrapped)))
    return env


def tasks() -> list[str]:
    """The ids of what the installed POPGym has."""
    return sorted(name for name in gym.registry if name.startswith("popgym-"))


for _task in tasks():
    # The checks would be made at every step.
    gym.register(
        f"Popgym{_task.removeprefix('popgym-')}",
        f"{__name__}:make",
        kwargs={"task": _task},
        order_enforce=False,
        disable_env_checker=True,
    )
