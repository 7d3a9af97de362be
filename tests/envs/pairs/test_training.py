"""The pairs as the rest of the package meets them: its vector environment and its command line."""

import numpy as np

from plastic_rl import make_vec_env
from plastic_rl.cli.main import main
from plastic_rl.envs import PlasticPairsVectorEnv


def test_make_vec_env_takes_the_batch():
    env = make_vec_env("PlasticPairs-v0", n_envs=3, seed=0, env_kwargs={"n_pairs": 2})
    assert type(env.unwrapped.env.unwrapped) is PlasticPairsVectorEnv
    env.reset()
    for _ in range(8):
        observations, rewards, dones, infos = env.step(np.zeros(3, int))
    assert dones.all()
    assert [info["episode"]["l"] for info in infos] == [8, 8, 8]
    assert all(
        info["terminal_observation"][-1] == reward for info, reward in zip(infos, rewards, strict=True)
    )
    assert not any(info["TimeLimit.truncated"] for info in infos)
    assert isinstance(observations, np.ndarray)
    assert observations[:, :16].all()


def test_the_command_line_trains_and_shows_the_levels(tmp_path, capsys):
    folder = str(tmp_path / "run")
    assert main(["train", "PlasticPairs-v0", "--timesteps", "20000", "--seed", "0", "--output", folder]) == 0
    printed = capsys.readouterr().out
    assert "For comparison: chance 2, counts only 3.538, all 8" in printed
    assert "21,504 steps" in printed
    assert main(["evaluate", folder, "--episodes", "8"]) == 0
    assert "chance 2, counts only 3.538, all 8" in capsys.readouterr().out
