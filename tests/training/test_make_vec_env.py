from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import TimeAwareObservation
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor

from plastic_rl.envs import PlasticMazeEnv, PlasticMazeVectorEnv, register_environments
from plastic_rl.training.vec_env import GymnasiumVecEnv, make_vec_env


@pytest.fixture(autouse=True)
def ids():
    register_environments()
    wrappers = (TimeAwareObservation.wrapper_spec(),)
    batched = {"vector_entry_point": PlasticMazeVectorEnv, "max_episode_steps": 9}
    gym.register("TimedMaze-v0", PlasticMazeEnv, additional_wrappers=wrappers, **batched)
    yield
    del gym.registry["TimedMaze-v0"]


def test_batched_environment_is_taken(tmp_path):
    folder = tmp_path / "new" / "folder"
    venv = make_vec_env("PlasticMaze-v0", 3, seed=5, start_index=2, monitor_dir=str(folder))
    assert isinstance(venv, VecMonitor)
    assert isinstance(venv.unwrapped, GymnasiumVecEnv)
    assert isinstance(venv.unwrapped.env, PlasticMazeVectorEnv)
    assert venv.num_envs == 3
    assert venv.render_mode == "rgb_array"
    assert venv.unwrapped.env.max_episode_steps == 250
    venv.close()
    assert "PlasticMaze-v0" in (folder / "2.monitor.csv").read_text()


@pytest.mark.parametrize("env_id", ["PlasticMaze-v0", "plastic_rl:PlasticMazePrevAction-v0"])
def test_same_seed_same_trajectories(env_id):
    def play(seed):
        venv = make_vec_env(env_id, 6, seed=seed, env_kwargs={"max_episode_steps": 20})
        assert isinstance(venv.unwrapped, GymnasiumVecEnv)
        rng = np.random.default_rng(1)
        observations = [venv.reset()]
        goals = [info["goal"] for info in venv.reset_infos]
        for _ in range(45):
            observation, _, _, infos = venv.step(rng.integers(4, size=6))
            observations.append(observation)
            goals += [info["goal"] for info in infos]
        return np.array(observations), goals

    (one, one_goals), (same, same_goals), (_, other_goals) = play(3), play(3), play(4)
    np.testing.assert_array_equal(one, same)
    assert one_goals == same_goals
    assert one_goals != other_goals


def test_maze_episodes_end_by_truncation():
    venv = make_vec_env("PlasticMaze-v0", 3, seed=0, env_kwargs={"max_episode_steps": 4})
    venv.reset()
    old_goals = [info["goal"] for info in venv.reset_infos]
    for _ in range(4):
        observations, _, dones, infos = venv.step(np.array([0, 1, 2]))
    assert dones.all()
    assert [info["goal"] for info in infos] == old_goals
    assert [info["goal"] for info in venv.reset_infos] != old_goals
    for observation, info in zip(observations, infos, strict=True):
        assert info["TimeLimit.truncated"]
        assert info["episode"]["l"] == 4
        assert info["terminal_observation"].shape == observation.shape
        assert type(info["hits"]) is int
        # A new episode starts with no reward behind it.
        assert observation[9] == 0


def test_action_space_is_seeded_as_by_stable_baselines3():
    ours = make_vec_env("PlasticMaze-v0", 2, seed=5, start_index=1)
    theirs = make_vec_env("PlasticMaze-v0", 2, seed=5, start_index=1, vec_env_cls=DummyVecEnv)
    assert [ours.action_space.sample() for _ in range(20)] == [
        theirs.action_space.sample() for _ in range(20)
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        {"env_id": PlasticMazeEnv},
        {"env_id": "CartPole-v1"},
        {"env_id": "TimedMaze-v0"},
        {"env_id": "PlasticMaze-v0", "wrapper_class": TimeAwareObservation},
        {"env_id": "PlasticMaze-v0", "vec_env_cls": DummyVecEnv},
        {"env_id": "PlasticMaze-v0", "monitor_kwargs": {"allow_early_resets": False}},
    ],
    ids=["callable", "next-step resets", "registered wrapper", "wrapper", "class", "monitor"],
)
def test_the_rest_is_left_to_stable_baselines3(arguments):
    venv = make_vec_env(n_envs=2, seed=0, **arguments)
    assert isinstance(venv, DummyVecEnv)
    assert venv.env_is_wrapped(Monitor) == [True, True]
    venv.reset()
    venv.step(np.zeros(2, int))
    venv.close()


def test_other_processes_make_what_is_registered_here_alone():
    def play(vec_env_cls):
        venv = make_vec_env("TimedMaze-v0", 2, seed=3, vec_env_cls=vec_env_cls)
        assert isinstance(venv, vec_env_cls)
        assert venv.render_mode == "rgb_array"
        observations = [venv.reset()]
        observations += [venv.step(np.array([t % 4, 1]))[0] for t in range(12)]
        venv.close()
        return np.array(observations)

    np.testing.assert_array_equal(play(SubprocVecEnv), play(DummyVecEnv))


def _no_display() -> gym.Env:
    raise RuntimeError("no display here")


def test_a_process_that_cannot_make_its_environment_is_an_error_in_words(capfd):
    with pytest.raises(RuntimeError, match="ended while it made its environment: above stands why"):
        make_vec_env(_no_display, 2, vec_env_cls=SubprocVecEnv, vec_env_kwargs={"start_method": "fork"})
    assert "no display here" in capfd.readouterr().err


def test_whatever_makes_processes_is_taken():
    venv = make_vec_env("CartPole", 1, seed=0, vec_env_cls=partial(SubprocVecEnv, start_method="spawn"))
    assert isinstance(venv, SubprocVecEnv)
    assert venv.reset().shape == (1, 4)
    venv.close()


@pytest.mark.parametrize("vec_env_cls", [None, DummyVecEnv])
@pytest.mark.parametrize("render_mode", [None, "ansi"])
def test_env_kwargs_are_passed_on(vec_env_cls, render_mode):
    kwargs = {"max_episode_steps": 2, "render_mode": render_mode, "size": 5}
    given = kwargs.copy()
    venv = make_vec_env("PlasticMaze-v0", 2, env_kwargs=kwargs, vec_env_cls=vec_env_cls)
    assert venv.render_mode == render_mode
    venv.reset()
    dones = [venv.step(np.zeros(2, int))[2].tolist() for _ in range(4)]
    assert dones == [[False, False], [True, True]] * 2
    assert kwargs == given


def test_render_mode_of_the_single_environment_only(monkeypatch):
    monkeypatch.setitem(PlasticMazeVectorEnv.metadata, "render_modes", ["rgb_array"])
    venv = make_vec_env("PlasticMaze-v0", 2, env_kwargs={"render_mode": "ansi"})
    assert isinstance(venv, DummyVecEnv)
    assert venv.render_mode == "ansi"


def test_module_of_an_id_is_imported(tmp_path, monkeypatch):
    (tmp_path / "some_mazes.py").write_text(
        "import gymnasium as gym\n"
        "from plastic_rl.envs import PlasticMazeEnv, PlasticMazeVectorEnv\n"
        "gym.register('FarMaze-v0', PlasticMazeEnv, vector_entry_point=PlasticMazeVectorEnv)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert "FarMaze-v0" not in gym.registry
    venv = make_vec_env("some_mazes:FarMaze-v0")
    del gym.registry["FarMaze-v0"]
    assert isinstance(venv.unwrapped, GymnasiumVecEnv)


def test_unknown_ids():
    with pytest.raises(gym.error.Error, match="NoSuchMaze"):
        make_vec_env("NoSuchMaze-v0")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        make_vec_env("no_such_module:PlasticMaze-v0")


@pytest.mark.parametrize("env_id", ["PlasticMaze-v0", "CartPole-v1"])
@pytest.mark.parametrize("n_envs", [0, -1, 1.5, True, "3"])
def test_bad_number_of_environments(env_id, n_envs):
    with pytest.raises(ValueError, match="n_envs must be an integer of at least 1, got"):
        make_vec_env(env_id, n_envs)


def test_monitor_files_are_read_by_load_results(tmp_path):
    pytest.importorskip("pandas")
    from stable_baselines3.common.results_plotter import load_results

    arguments = {"env_kwargs": {"max_episode_steps": 5}, "monitor_kwargs": {"info_keywords": ("hits",)}}
    venv = make_vec_env("PlasticMaze-v0", 2, seed=0, monitor_dir=str(tmp_path), **arguments)
    venv.reset()
    returns = np.zeros(2)
    ended: list[float] = []
    for _ in range(10):
        _, rewards, dones, _ = venv.step(np.array([0, 1]))
        returns += rewards
        ended += returns[dones].tolist()
        returns[dones] = 0
    venv.close()
    table = load_results(str(tmp_path))
    assert table["l"].tolist() == [5] * 4
    assert table["r"].tolist() == pytest.approx(ended)
    assert table["hits"].tolist() == [0] * 4
