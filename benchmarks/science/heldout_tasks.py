"""Tasks of other packages that no setting was chosen on; what is seen is one vector.

Importing it registers `MemoryS7-v0` (Minigrid; `pip install -e ".[envs]"`) and `DelayMatchSample100-v0`
(NeuroGym, installed as docs/memory.md says); those of POPGym are in `popgym_tasks.py`.
"""

from importlib import import_module
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


def make_memory(render_mode: str | None = None) -> gym.Env[Any, Any]:
    """Minigrid's S7: an object is seen, then, at the end of a corridor, the same one has to be chosen.

    The observation is the 7 x 7 view, three numbers (object, colour, state) a square: without the text of the
    mission, which is always the same.
    """
    wrappers = import_module("minigrid.wrappers")
    view = wrappers.ImgObsWrapper(gym.make("MiniGrid-MemoryS7-v0", render_mode=render_mode))
    return gym.wrappers.FlattenObservation(view)


def make_delayed_match(render_mode: str | None = None) -> gym.Env[Any, Any]:
    """NeuroGym's: is the second stimulus the first? An episode is 100 steps of trials."""
    tasks = import_module("neurogym.envs.native.delaymatchsample")
    env: gym.Env[Any, Any] = gym.wrappers.TimeLimit(tasks.DelayMatchSample(), 100)
    # Its own kinds of spaces would have to be given again to load a model.
    seen, done = env.observation_space, env.action_space
    assert isinstance(seen, spaces.Box)
    assert isinstance(done, spaces.Discrete)
    env.observation_space = spaces.Box(seen.low, seen.high, dtype=np.float32)
    env.action_space = spaces.Discrete(int(done.n))
    return env


gym.register("MemoryS7-v0", f"{__name__}:make_memory", disable_env_checker=True)
gym.register(
    "DelayMatchSample100-v0", f"{__name__}:make_delayed_match", disable_env_checker=True, order_enforce=False
)
