"""A task of one's own through every front door, as the docstring of `EpisodicTaskEnv` has it."""

import sys

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

import plastic_rl
from plastic_rl.cli.main import main
from plastic_rl.envs import EpisodicTaskVectorEnv

SUM_TASK = """
from functools import partial

import gymnasium as gym
import numpy as np

from plastic_rl import Episodes, EpisodicTaskEnv
from plastic_rl.envs import EpisodicTaskVectorEnv, register_levels


class SumTask:
    observation_space = gym.spaces.Box(-1, 1, (1,))
    action_space = gym.spaces.Box(-3, 3, (1,))
    episode_length = 3

    def sample_episodes(self, batch, rng):
        numbers = rng.uniform(-1, 1, (3, batch, 1)).astype(np.float32)
        return Episodes(observations=numbers, targets=numbers.sum(axis=0))

    def score(self, episodes, actions):
        return -((actions - episodes.targets) ** 2).sum(axis=-1)


class SumEnv(EpisodicTaskEnv):
    def __init__(self, render_mode=None):
        super().__init__(SumTask(), render_mode)


gym.register("ClassSum-v0", SumEnv)
gym.register("SingleSum-v0", lambda: EpisodicTaskEnv(SumTask()))
gym.register(
    "Sum-v0",
    partial(EpisodicTaskEnv, SumTask()),
    vector_entry_point=partial(EpisodicTaskVectorEnv, SumTask()),
)
register_levels("Sum-v0", {"chance": -1.0, "perfect": 0.0})
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "sumtask.py").write_text(SUM_TASK, encoding="utf-8")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.mark.parametrize(
    ("name", "batched"), [("ClassSum-v0", False), ("SingleSum-v0", False), ("Sum-v0", True)]
)
def test_from_python(folder, name, batched):
    env = plastic_rl.make_vec_env(f"sumtask:{name}", n_envs=4, seed=0)
    assert isinstance(getattr(env.unwrapped, "env", None), EpisodicTaskVectorEnv) == batched
    env.reset()
    if name != "SingleSum-v0":
        assert [image.ndim for image in env.get_images()] == [3] * 4
    dones = [env.step(np.zeros((4, 1)))[2].tolist() for _ in range(3)]
    assert dones == [[False] * 4, [False] * 4, [True] * 4]
    for given in (name, env):
        model = plastic_rl.SupervisedMetaLearner(
            "PlasticRNNPolicy", given, seed=0, policy_kwargs={"hidden_size": 8}
        )
        model.learn(3 * 32 * 2)
    assert plastic_rl.evaluate_episodes(model, gym.make(name), episodes=20)["reward"].mean < 0


def test_from_the_command_line(folder, tmp_path, capsys):
    def run(*words):
        assert main(list(words)) == 0
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return out

    run_folder = str(tmp_path / "run")
    said = run("train", "sumtask:Sum-v0", "--timesteps", "300", "--seed", "0", "--output", run_folder)
    assert "chance -1" in said
    assert "perfect 0" in said
    assert "Note" not in said
    said = run("evaluate", run_folder, "sumtask:Sum-v0", "--episodes", "5")
    assert "mean reward" in said
    run("watch", run_folder, "sumtask:Sum-v0", "--output", str(tmp_path / "episode.gif"))
    with Image.open(tmp_path / "episode.gif") as film:
        assert film.n_frames == 4
