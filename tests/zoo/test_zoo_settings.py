"""What RL-Zoo gets from here: settings, environments, what Optuna draws, and how mistakes are answered."""

import argparse
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import yaml
from stable_baselines3.common import env_util
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecMonitor, VecNormalize

from plastic_rl.envs import Lifetime
from plastic_rl.runs.hyperparams import default_config_path, load_config
from plastic_rl.runs.plain_yaml import load_yaml
from plastic_rl.training.a2c import PlasticA2C
from plastic_rl.training.ppo import PlasticPPO
from plastic_rl.training.vec_env import GymnasiumVecEnv, make_vec_env
from plastic_rl.zoo import __main__ as plain_zoo
from plastic_rl.zoo.manager import default_config
from plastic_rl.zoo.sampler import convert_plastic, sample_plastic

FILES = [default_config_path(name) for name in ("plastic_a2c", "plastic_ppo", "a2c", "recurrent_ppo")]
Experiment = Callable[..., tuple[Any, Any]]
SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf")
RL_ZOO_NAMES = {"recurrent_ppo": "ppo_lstm"}


def entries() -> list[tuple[str, str]]:
    """Algorithm and id of every entry; CartPole stands for the environments without one."""
    pairs = [(file.stem, env_id) for file in FILES for env_id in load_yaml(file.read_text())]
    others = [("plastic_a2c", "CartPole-v1"), ("plastic_ppo", "CartPole-v1")]
    return [pair for pair in pairs if pair[1] != "default"] + others


@pytest.fixture
def experiment(zoo: ModuleType) -> Iterator[Experiment]:
    """Makes RL-Zoo's experiment, ready to learn, and its model; closes their files in the end."""
    from rl_zoo3 import train

    made: list[tuple[Any, Any]] = []

    def make(env_id: str, algo: str = "plastic_a2c", **options: Any) -> tuple[Any, Any]:
        zoo.register()
        arguments = argparse.Namespace(algo=algo, env=env_id)
        options = {"eval_freq": -1, "log_interval": -1, "device": "cpu", "verbose": 0, **options}
        manager = train.ExperimentManager(arguments, algo, env_id, "logs", **options)
        ready = manager.setup_experiment()
        assert ready is not None
        made.append((manager, ready[0]))
        return made[-1]

    yield make
    for manager, model in made:
        model.env.close()
        for callback in manager.callbacks:
            callback.eval_env.close()


def assert_same_settings(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    assert one.policy_class is other.policy_class
    assert one.n_envs == other.n_envs
    compared = set()
    for name in inspect.signature(type(one).__init__).parameters:
        if name in ("env", "policy", "seed") or not hasattr(one, name):
            continue
        values = [getattr(model, name) for model in (one, other)]
        if name in SCHEDULES:
            # RL-Zoo also makes schedules of numbers.
            values = [[f(p) if callable(f) else f for p in (1, 0.4, 0)] for f in values]
        assert values[0] == (pytest.approx(values[1]) if name in SCHEDULES else values[1]), name
        compared.add(name)
    assert {"learning_rate", "n_steps", "gamma", "gae_lambda", "ent_coef", "vf_coef"} <= compared
    assert {"max_grad_norm", "policy_kwargs"} <= compared
    optimizers = [model.policy.optimizer for model in (one, other)]
    assert type(optimizers[0]) is type(optimizers[1])
    assert optimizers[0].defaults == optimizers[1].defaults
    shapes = [[tuple(p.shape) for p in model.policy.parameters()] for model in (one, other)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(("algo", "env_id"), entries())
def test_the_command_line_and_rl_zoo_agree(experiment: Experiment, algo: str, env_id: str) -> None:
    if env_id not in gym.registry:
        pytest.importorskip(env_id.partition("-")[0])
    if env_id == "PlasticOmniglot-v0" and not os.environ.get("PLASTIC_RL_DATA"):
        pytest.skip("PLASTIC_RL_DATA is not set")
    config = load_config(env_id, algo)
    ours = {"plastic_a2c": PlasticA2C, "plastic_ppo": PlasticPPO}.get(algo)
    manager, model = experiment(env_id, RL_ZOO_NAMES.get(algo, algo))
    env = DummyVecEnv([lambda: gym.make(env_id)] * config.n_envs)
    other = (ours or type(model))(env=env, device="cpu", **config.kwargs())
    assert manager.n_timesteps == config.n_timesteps
    assert_same_settings(model, other)


@pytest.mark.parametrize("env_id", ["PlasticMaze-v0", "CartPole-v1"])
def test_they_agree_on_a_given_file(experiment: Experiment, settings_file: Path, env_id: str) -> None:
    config = load_config(env_id, config=settings_file)
    _, model = experiment(env_id, config=str(settings_file))
    assert model.n_steps == (40 if env_id == "PlasticMaze-v0" else 20)
    assert model.lr_schedule(0.5) == pytest.approx(0.0005)
    other = PlasticA2C(env=make_vec_env(env_id, config.n_envs), device="cpu", **config.kwargs())
    assert_same_settings(model, other)


@pytest.mark.parametrize("algo", ["plastic_a2c", "plastic_ppo"])
def test_our_algorithms_have_our_file_everywhere(algo: str) -> None:
    for env_id in ("PlasticMaze-v0", "CartPole-v1"):
        assert default_config(algo, env_id) == str(default_config_path(algo))


def test_other_algorithms_have_our_file_where_it_is_about_us() -> None:
    assert default_config("ppo_lstm", "PlasticMaze-v0") == str(default_config_path("recurrent_ppo"))
    assert default_config("a2c", "CartPole-v1") is None
    assert default_config("ppo", "PlasticMaze-v0") is None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_files_mean_the_same_to_rl_zoos_yaml(path: Path) -> None:
    # Standard YAML 1.1 takes 3e-4 for a string; ours for a number.
    assert yaml.safe_load(path.read_text()) == load_yaml(path.read_text())


def test_normalization_and_stacked_frames_go_round_the_batch(
    experiment: Experiment, settings_file: Path
) -> None:
    changed = {"normalize": True, "frame_stack": 3}
    manager, model = experiment("PlasticMaze-v0", config=str(settings_file), hyperparams=changed)
    stack = model.get_env()
    assert isinstance(stack, VecFrameStack)
    assert isinstance(stack.venv, VecNormalize)
    assert stack.venv.gamma == 0.9
    assert isinstance(stack.venv.venv, VecMonitor)
    assert stack.venv.venv.venv.env.unwrapped.spec.id == "PlasticMaze-v0"
    manager.n_timesteps = 80
    manager.learn(model)
    assert stack.venv.obs_rms.count > 80
    # plastic-rl train stacks no frames, and says so instead of leaving that out.
    with pytest.raises(ValueError, match="unknown key 'frame_stack'"):
        load_config("PlasticMaze-v0", config=settings_file, overrides=changed)


def test_wrappers_of_a_file_are_applied(experiment: Experiment, settings_file: Path) -> None:
    wrappers = [{"plastic_rl.envs.Lifetime": {"episodes": 3}}, "plastic_rl.envs.PreviousActionReward"]
    manager, model = experiment(
        "PlasticMaze-v0",
        config=str(settings_file),
        hyperparams={"env_wrapper": wrappers},
        env_kwargs={"max_episode_steps": 10},
        eval_freq=60,
        n_timesteps=120,
        n_eval_episodes=2,
    )
    env = model.get_env()
    assert isinstance(env, DummyVecEnv)
    assert env.env_is_wrapped(Lifetime) == [True, True]
    manager.learn(model)
    lengths = np.load(Path(manager.save_path) / "evaluations.npz")["ep_lengths"]
    assert (lengths == 30).all()
    assert [info["l"] for info in model.ep_info_buffer] == [30, 30, 30, 30]


def test_evaluation_is_on_a_batch_with_sampled_actions(experiment: Experiment, settings_file: Path) -> None:
    manager, _ = experiment("PlasticMaze-v0", config=str(settings_file), eval_freq=40)
    (callback,) = manager.callbacks
    assert isinstance(callback.eval_env, VecMonitor)
    assert not callback.deterministic
    manager, _ = experiment("CartPole-v1", config=str(settings_file), eval_freq=40)
    assert isinstance(manager.callbacks[0].eval_env, DummyVecEnv)
    assert manager.callbacks[0].deterministic


@pytest.mark.parametrize(
    "given", [{"rule": "oja", "hidden_size": 7, "eta": 0.5}, {"rule": "modulated"}, {"alpha": "none"}]
)
def test_the_sampler_keeps_policy_kwargs(given: dict[str, Any]) -> None:
    optuna = pytest.importorskip("optuna")
    trial = optuna.create_study().ask()
    settings = sample_plastic(trial, 4, 16, {}, policy_kwargs=given)
    assert settings["gamma"] == 1 - trial.params["one_minus_gamma"]
    expected = {**given, "hidden_size": trial.params["hidden_size"]}
    if given.get("rule") == "oja":
        expected["eta"] = trial.params["eta"]
    assert settings["policy_kwargs"] == expected
    assert given.get("hidden_size", 7) == 7
    converted = convert_plastic(trial.params)
    assert converted == {**settings, "policy_kwargs": converted["policy_kwargs"]}
    for algorithm in (PlasticA2C, PlasticPPO):
        model = algorithm("MlpPolicy", "CartPole-v1", device="cpu", **{**settings, "n_steps": 4})
        assert model.policy.hidden_size == expected["hidden_size"]


@pytest.mark.parametrize("argv", [[], ["trian"], ["--algo", "plastic_a2c"]])
def test_without_a_command_the_usage_is_shown(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        plain_zoo.main(argv)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("usage: python -m plastic_rl.zoo {train,enjoy,record_video,plot_train,")


def test_without_rl_zoo_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rl_zoo3", None)
    assert plain_zoo.main(["train", "--env", "PlasticMaze-v0"]) == 2
    error = capsys.readouterr().err
    assert 'pip install "plastic-rl[zoo]"' in error
    assert error.count("\n") == 1


def test_the_module_of_an_id_must_exist(zoo: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert zoo.main(["train", "--algo", "plastic_a2c", "--env", "no_such_module:PlasticMaze-v0"]) == 2
    assert "--env no_such_module:PlasticMaze-v0: No module named" in capsys.readouterr().err


def test_rl_zoo_answers_for_its_own_options(zoo: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        zoo.main(["train", "--algo", "plastic_a2c", "--env"])
    assert "argument --env: expected one argument" in capsys.readouterr().err


@pytest.mark.parametrize("wanted", [True, False])
def test_what_is_played_and_filmed_is_batched_if_wanted(zoo: ModuleType, wanted: bool) -> None:
    import rl_zoo3
    from rl_zoo3 import enjoy, utils

    zoo.register(not wanted)
    zoo.register(wanted)
    for module in (rl_zoo3, utils, enjoy):
        env = module.create_test_env("PlasticMaze-v0", 1, should_render=False, hyperparams={})
        assert isinstance(env.unwrapped, GymnasiumVecEnv) == wanted
        assert isinstance(env.unwrapped, DummyVecEnv) != wanted
        env.close()
    # What RL-Zoo calls is its own again.
    assert utils.make_vec_env is env_util.make_vec_env
