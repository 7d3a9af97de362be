"""Settings: where they come from, what is refused, and that Python and the command line get the same ones."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml

from plastic_rl.cli.main import main
from plastic_rl.runs.hyperparams import (
    ALGORITHMS,
    algorithm_class,
    default_config_path,
    hyperparams,
    load_config,
)
from plastic_rl.runs.plain_yaml import load_yaml, merge, parse_pairs
from plastic_rl.training.a2c import PlasticA2C
from plastic_rl.training.vec_env import make_vec_env

MINIMAL = {"n_envs": 3, "n_timesteps": 100, "policy": "MlpPolicy", "n_steps": 7}


def write(path: Path, **entries: object) -> Path:
    path.write_text(yaml.safe_dump(entries))
    return path


def plain(settings: Mapping[str, object]) -> dict[str, object]:
    """Settings that can be compared: a schedule is equal to nothing but itself, its text says all of it."""
    return {key: repr(value) if callable(value) else value for key, value in settings.items()}


def test_maze_settings() -> None:
    kwargs = hyperparams("PlasticMaze-v0")
    assert kwargs["n_steps"] == 50
    assert kwargs["policy_kwargs"].items() >= {"cell": "gru", "rule": "hebb"}.items()
    assert not {"n_envs", "n_timesteps", "env", "seed"} & set(kwargs)
    assert plain(hyperparams("plastic_rl:PlasticMaze-v0")) == plain(kwargs)


@pytest.mark.parametrize("algo", [algo for algo in ALGORITHMS if algo != "supervised"])
@pytest.mark.parametrize("env_id", ["PlasticMaze-v0", "PlasticMazePrevAction-v0", "CartPole-v1"])
def test_every_entry_builds_its_algorithm(algo: str, env_id: str) -> None:
    config = load_config(env_id, algo, overrides={"n_envs": 2})
    env = make_vec_env(env_id, 2)
    model = algorithm_class(algo)(env=env, device="cpu", **config.kwargs())
    assert model.n_steps == config.hyperparams["n_steps"]
    env.close()


def test_an_environment_without_an_entry_takes_the_default(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yml", default=MINIMAL, Other={**MINIMAL, "n_steps": 9})
    assert hyperparams("CartPole-v1", config=path)["n_steps"] == 7
    assert hyperparams("Other", config=path)["n_steps"] == 9
    with pytest.raises(ValueError, match="neither an entry 'CartPole-v1' nor an entry 'default'"):
        hyperparams("CartPole-v1", config=write(tmp_path / "b.yml", Other=MINIMAL))


def test_given_file_beats_checkout_beats_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "plastic_rl"
    (package / "training").mkdir(parents=True)
    monkeypatch.setitem(default_config_path.__globals__, "__file__", str(package / "training" / "module.py"))
    for folder, n_steps in ((package, 1), (tmp_path, 2)):
        (folder / "zoo_configs").mkdir()
        write(folder / "zoo_configs" / "plastic_a2c.yml", default={**MINIMAL, "n_steps": n_steps})
    assert hyperparams("X", "plastic_a2c")["n_steps"] == 1
    (tmp_path / "pyproject.toml").touch()
    assert hyperparams("X", "plastic_a2c")["n_steps"] == 2
    # Another project that holds a copy of the package.
    (tmp_path / "zoo_configs").rename(tmp_path / "elsewhere")
    assert hyperparams("X", "plastic_a2c")["n_steps"] == 1
    given = write(tmp_path / "given.yml", default={**MINIMAL, "n_steps": 3})
    assert hyperparams("X", "plastic_a2c", config=given)["n_steps"] == 3
    assert hyperparams("X", "plastic_a2c", config=given, overrides={"n_steps": 4})["n_steps"] == 4


def test_the_papers_network_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper").mkdir()
    given = load_config("PlasticMaze-v0", "plastic_a2c", config="paper")
    assert given.source.name == "paper.yml"
    assert given.hyperparams["n_steps"] == 250
    assert (
        given.hyperparams["policy_kwargs"].items()
        >= {"cell": "rnn", "rule": "hebb", "hidden_size": 200}.items()
    )
    # A file of that name is meant before it, a folder is not, and a path never means the package's.
    (tmp_path / "paper").rmdir()
    write(tmp_path / "paper", **{"PlasticMaze-v0": MINIMAL})
    assert hyperparams("PlasticMaze-v0", config="paper")["n_steps"] == 7
    with pytest.raises(FileNotFoundError, match="no hyper-parameter file other/paper"):
        hyperparams("PlasticMaze-v0", config="other/paper")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_stepz": 5}, "unknown key 'n_stepz' in entry 'default' of .*settings.yml: choose from n_envs"),
        ({"seed": 5}, "unknown key 'seed'"),
        ({"n_steps": 0}, "n_steps must be an integer of at least 1, got 0"),
        ({"n_steps": 2.5}, "n_steps must be an integer of at least 1"),
        ({"n_steps": "many"}, "n_steps must be an integer of at least 1"),
        ({"n_envs": True}, "n_envs must be an integer of at least 1"),
        ({"n_timesteps": -1}, "n_timesteps"),
        ({"gamma": 1.5}, "gamma must be a finite number from 0 to 1, got 1.5"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number above 0, got 0.0"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"learning_rate": "fast"}, "neither a number nor a linear schedule"),
        ({"learning_rate": "lin_-1"}, "neither a number nor a linear schedule"),
        ({"learning_rate": "lin_inf"}, "neither a number nor a linear schedule"),
        ({"n_timesteps": 10**400}, "n_timesteps must be an integer of at least 1"),
        ({"stats_window_size": 1e30}, "stats_window_size must be an integer from 1 to"),
        ({"use_rms_prop": 1}, "use_rms_prop must be true or false"),
        ({"policy": "NoPolicy"}, "unknown policy 'NoPolicy': choose one of MlpPolicy"),
        ({"policy_kwargs": "dict(eta=0.1)"}, "policy_kwargs must be a mapping"),
        ({"policy_kwargs": {"lr_schedule": 1}}, "policy_kwargs.lr_schedule cannot be given"),
        ({"policy_kwargs": {"observation_space": 1}}, "policy_kwargs.observation_space cannot be given"),
        ({"policy_kwargs": {1: 3}}, "keys of policy_kwargs must be names, not 1"),
        ({"policy_kwargs": {"optimizer_class": "Adam"}}, "optimizer_class is a Python class"),
    ],
)
def test_bad_settings_are_named(tmp_path: Path, change: dict, message: str) -> None:
    path = write(tmp_path / "settings.yml", default={**MINIMAL, **change})
    with pytest.raises(ValueError, match=message):
        hyperparams("X", config=path)


@pytest.mark.parametrize("key", ["n_envs", "n_timesteps", "policy"])
def test_missing_key(tmp_path: Path, key: str) -> None:
    entry = {name: value for name, value in MINIMAL.items() if name != key}
    with pytest.raises(ValueError, match=f"{key} is missing"):
        hyperparams("X", config=write(tmp_path / "a.yml", default=entry))


@pytest.mark.parametrize(
    ("text", "message"), [("[1, 2]", "must map"), ("default: 3", "must map"), ("a: [", "not YAML")]
)
def test_files_of_another_form(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.yml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        hyperparams("X", config=path)
    with pytest.raises(FileNotFoundError, match=r"missing\.yml"):
        hyperparams("X", config=tmp_path / "missing.yml")


def test_unknown_algorithm() -> None:
    with pytest.raises(
        ValueError, match="unknown algorithm 'ppo': choose one of plastic_a2c, plastic_ppo, supervised, a2c"
    ):
        hyperparams("PlasticMaze-v0", algo="ppo")


def test_linear_schedule_falls_to_zero(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yml", default={**MINIMAL, "learning_rate": "lin_0.002"})
    config = load_config("X", config=path)
    schedule = config.kwargs()["learning_rate"]
    assert [schedule(1.0), schedule(0.5), schedule(0.0)] == pytest.approx([0.002, 0.001, 0.0])
    assert config.hyperparams["learning_rate"] == "lin_0.002"


def test_overrides_merge_into_mappings_and_leave_the_file_alone() -> None:
    before = hyperparams("PlasticMaze-v0")
    changed = hyperparams("PlasticMaze-v0", overrides={"policy_kwargs": {"eta": 0.3}})
    assert changed["policy_kwargs"] == {**before["policy_kwargs"], "eta": 0.3}
    changed["policy_kwargs"]["rule"] = "oja"
    assert plain(hyperparams("PlasticMaze-v0")) == plain(before)


def test_whole_floats_and_short_exponents_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.yml"
    path.write_text("default: {n_envs: 2, n_timesteps: 1e6, policy: MlpPolicy, learning_rate: 3e-4}")
    config = load_config("X", config=path)
    assert config.n_timesteps == 1_000_000
    assert isinstance(config.n_timesteps, int)
    assert config.hyperparams["learning_rate"] == 3e-4


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (["size:7"], {"size": 7}),
        (
            ["a:1e-4", "b:true", "c:None", "d:x:y", "e:[1, 2]"],
            {"a": 1e-4, "b": True, "c": None, "d": "x:y", "e": [1, 2]},
        ),
        (["p.eta:0.05", "p.rule:oja"], {"p": {"eta": 0.05, "rule": "oja"}}),
        (["p:{eta: 0.05}", "p.rule:oja"], {"p": {"eta": 0.05, "rule": "oja"}}),
        (["p.rule:oja", "p:{eta: 0.05}"], {"p": {"eta": 0.05, "rule": "oja"}}),
        (["p:__import__('os').getcwd()"], {"p": "__import__('os').getcwd()"}),
    ],
)
def test_pairs(pairs: list[str], expected: dict) -> None:
    assert parse_pairs(pairs) == expected


@pytest.mark.parametrize("pairs", [["size"], [":3"], ["a.:3"], ["a:1", "a:2"], ["a:1", "a.b:2"], ["a:["]])
def test_bad_pairs(pairs: list[str]) -> None:
    with pytest.raises(ValueError, match="'"):
        parse_pairs(pairs)


def test_yaml_never_builds_python_objects() -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml("!!python/object/apply:os.getcwd []")


def test_merge_copies() -> None:
    base = {"a": {"b": [1]}}
    merged = merge(base, {"a": {"c": 2}})
    merged["a"]["b"].append(3)
    assert base == {"a": {"b": [1]}}


def test_command_line_and_python_train_the_same_model(tmp_path: Path) -> None:
    arguments = ["n_steps:20", "policy_kwargs.hidden_size:8", "policy_kwargs.eta:0.1"]
    folder = tmp_path / "run"
    command = ["train", "PlasticMaze-v0", "--seed", "5", "--timesteps", "120", "--n-envs", "2"]
    command += ["--device", "cpu", "--env-kwargs", "max_episode_steps:20"]
    assert main([*command, "--output", str(folder), "--hyperparams", *arguments]) == 0
    from_command_line = PlasticA2C.load(folder / "model.zip", device="cpu")

    kwargs = hyperparams("PlasticMaze-v0", overrides=parse_pairs(arguments))
    env = make_vec_env("PlasticMaze-v0", n_envs=2, seed=5, env_kwargs={"max_episode_steps": 20})
    from_python = PlasticA2C(env=env, seed=5, device="cpu", **kwargs).learn(120)
    env.close()

    assert from_command_line.policy_kwargs == kwargs["policy_kwargs"]
    for name, value in plain(kwargs).items():
        if name not in ("policy", "policy_kwargs"):
            assert plain({name: getattr(from_command_line, name)})[name] == value, name
    expected = from_python.policy.state_dict()
    for name, parameter in from_command_line.policy.state_dict().items():
        np.testing.assert_array_equal(parameter.numpy(), expected[name].numpy(), err_msg=name)
