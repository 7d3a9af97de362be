"""Saving and loading of models: nothing pickled, nothing lost, and what cannot be kept is named."""

import copy
import io
import json
import subprocess
import sys
import zipfile
from importlib import metadata

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3 import A2C
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.utils import LinearSchedule

import plastic_rl
from plastic_rl import ModelFileError, PlasticA2C, PlasticPPO, SupervisedMetaLearner, UntrustedFileError
from plastic_rl.policies import AutoassociatorPolicy, PlasticPolicy
from plastic_rl.saving import load_model, save_model

SMALL = {"hidden_size": 5, "backend": "reference"}


class Coin(gym.Env):
    """Episodes of four steps with observations of every plain kind."""

    observation_space = spaces.Dict(
        box=spaces.Box(-1, 1, (2,)), two=spaces.MultiBinary(2), three=spaces.Discrete(3)
    )
    action_space = spaces.MultiDiscrete([2, 3])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._seen(), {}

    def step(self, action):
        self.t += 1
        return self._seen(), float(action[0]), self.t == 4, False, {}

    def _seen(self):
        three = int(self.np_random.integers(3))
        return {"box": np.full(2, self.t / 4, np.float32), "two": np.array([0, 1], np.int8), "three": three}


class MyExtractor(FlattenExtractor):
    """A features extractor that no table has."""


def pattern_memory():
    return gym.make("PlasticPatternMemory-v0", n_bits=8, n_patterns=1)


def make(kind):
    if kind is SupervisedMetaLearner:
        return kind("AutoassociatorPolicy", pattern_memory(), batch_size=4, device="cpu", seed=1)
    if kind in (PlasticA2C, PlasticPPO):
        return kind("MultiInputPolicy", Coin(), n_steps=8, policy_kwargs=dict(SMALL), device="cpu", seed=1)
    kwargs = {"policy_kwargs": {"lstm_hidden_size": 4}} if kind is RecurrentPPO else {}
    name = "MultiInputLstmPolicy" if kind is RecurrentPPO else "MultiInputPolicy"
    return kind(name, Coin(), n_steps=8, device="cpu", seed=1, **kwargs)


def cartpole(**kwargs):
    settings = {"n_steps": 8, "policy_kwargs": dict(SMALL), "device": "cpu", "seed": 1}
    return PlasticA2C("MlpPolicy", "CartPole-v1", **{**settings, **kwargs})


def same(one, other):
    """Whether two state dicts, or parts of them, are equal to the bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return all(same(a, b) for a, b in zip(one, other, strict=True))
    return one == other


def settings_of(model):
    """The attributes that a file keeps, comparable."""
    out = {*model._excluded_save_params(), "policy", "lr_schedule", "_last_obs", "_last_episode_starts"}
    return {
        name: repr(value.bit_generator.state) if isinstance(value, np.random.Generator) else value
        for name, value in vars(model).items()
        if name not in out
    }


@pytest.mark.parametrize("kind", [PlasticA2C, PlasticPPO, SupervisedMetaLearner, A2C, RecurrentPPO])
def test_nothing_is_lost(kind, tmp_path):
    model = make(kind).learn(64)
    save_model(model, tmp_path / "model")
    loaded = load_model(kind, tmp_path / "model", env=model.get_env(), device="cpu", force_reset=False)
    assert same(model.get_parameters(), loaded.get_parameters())
    assert len(model.policy.optimizer.state_dict()["state"]) > 0
    kept, found = settings_of(model), settings_of(loaded)
    assert kept.keys() == found.keys()
    for name, value in kept.items():
        assert found[name] == value or repr(found[name]) == repr(value), name
    if kind is not SupervisedMetaLearner:
        assert loaded._last_obs.keys() == model._last_obs.keys()
        for key, part in model._last_obs.items():
            np.testing.assert_array_equal(loaded._last_obs[key], part, strict=True)
    loaded.learn(64, reset_num_timesteps=False)
    assert loaded.num_timesteps == 2 * model.num_timesteps


def test_what_is_in_the_file(tmp_path):
    make(PlasticA2C).learn(8).save(tmp_path / "model")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        assert archive.namelist() == [
            "settings.json",
            "policy.safetensors",
            "policy.optimizer.safetensors",
            "arrays.safetensors",
        ]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        content = json.loads(archive.read("settings.json"))
    assert content["format"] == "plastic_rl"
    assert content["class"] == "plastic_rl.training.PlasticA2C"
    assert content["versions"]["torch"] == metadata.version("torch")
    assert content["settings"]["policy_kwargs"] == SMALL


def test_the_same_model_makes_the_same_file():
    files = [io.BytesIO(), io.BytesIO()]
    model = make(PlasticA2C)
    for file in files:
        model.save(file)
    assert files[0].getvalue() == files[1].getvalue()


def test_a_stream_stays_open():
    file = io.BytesIO()
    cartpole().save(file)
    assert PlasticA2C.load(file, device="cpu").n_steps == 8
    assert not file.closed


def test_shared_parts_are_stored_once(tmp_path):
    env = gym.make("CartPole-v1")
    env = gym.wrappers.TransformObservation(
        env, lambda seen: np.zeros((40, 40, 1), np.uint8), spaces.Box(0, 255, (40, 40, 1), np.uint8)
    )
    model = PlasticA2C("CnnPolicy", env, n_steps=4, policy_kwargs=dict(SMALL), device="cpu").learn(4)
    model.save(tmp_path / "model")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        shared = json.loads(archive.read("settings.json"))["shared"]["policy"]
        size = archive.getinfo("policy.safetensors").file_size
    assert shared["vf_features_extractor.cnn.0.weight"] == "features_extractor.cnn.0.weight"
    assert size < 1.1 * sum(parameter.nbytes for parameter in model.policy.parameters())
    assert same(PlasticA2C.load(tmp_path / "model").get_parameters(), model.get_parameters())


LEFT_OUT = [
    ({"learning_rate": lambda left: 0.01 * left}, "learning_rate", r"the function .*<lambda>"),
    (
        {"policy_kwargs": {**SMALL, "features_extractor_class": MyExtractor}},
        "policy_kwargs",
        r"policy_kwargs\.features_extractor_class \(the class .*MyExtractor\)",
    ),
]


@pytest.mark.parametrize(("arguments", "name", "words"), LEFT_OUT, ids=["schedule", "extractor"])
def test_what_is_left_out_has_to_be_given_again(arguments, name, words, tmp_path):
    model = cartpole(**arguments)
    with pytest.warns(UserWarning, match=f"was saved without .*{words}") as warned:
        model.save(tmp_path / "model")
    assert len(warned) == 1
    with pytest.raises(ModelFileError, match=rf"was saved without .*{words}.*Give {name} in custom_objects"):
        PlasticA2C.load(tmp_path / "model")
    loaded = PlasticA2C.load(tmp_path / "model", custom_objects=arguments)
    assert getattr(loaded, name) == arguments[name]
    assert same(loaded.get_parameters(), model.get_parameters())


def test_policy_kwargs_complete_the_saved_ones(tmp_path):
    given = {**SMALL, "features_extractor_class": MyExtractor}
    with pytest.warns(UserWarning, match="saved without"):
        cartpole(policy_kwargs=given).save(tmp_path / "model")
    loaded = PlasticA2C.load(tmp_path / "model", policy_kwargs=given)
    assert type(loaded.policy.features_extractor) is MyExtractor
    with pytest.raises(ValueError, match="policy_kwargs must equal those of the saved model"):
        PlasticA2C.load(tmp_path / "model", policy_kwargs={**given, "hidden_size": 6})


def test_the_users_own_attributes_are_kept_or_named(tmp_path):
    model = cartpole()
    model.notes, model.helper = {"seen": [1, 2]}, object()
    with pytest.warns(UserWarning, match=r"saved without helper \(a builtins.object\)"):
        model.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="Give helper in custom_objects"):
        PlasticA2C.load(tmp_path / "model")
    loaded = PlasticA2C.load(tmp_path / "model", custom_objects={"helper": None})
    assert loaded.notes == {"seen": [1, 2]}
    assert loaded.helper is None


def test_linear_schedules_are_kept(tmp_path):
    cartpole(learning_rate=LinearSchedule(0.01, 0.001, 0.5)).save(tmp_path / "model")
    loaded = PlasticA2C.load(tmp_path / "model")
    assert repr(loaded.learning_rate) == "LinearSchedule(start=0.01, end=0.001, end_fraction=0.5)"


class Exploit:
    """Unpickled, it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "x")


def test_pickled_files_are_refused_unless_trusted(tmp_path):
    """The file is as Stable-Baselines3 writes it, and this package did before, with one more object in it."""
    model = cartpole(learning_rate=lambda left: 0.01 * left)
    model.learn(8)
    model.evil = Exploit(tmp_path / "executed")
    BaseAlgorithm.save(model, tmp_path / "model")
    line = r"model\.zip holds pickled objects \('policy_class', .* more\), which can run .*give trust=True"
    with pytest.raises(UntrustedFileError, match=line):
        PlasticA2C.load(tmp_path / "model.zip")
    with pytest.raises(UntrustedFileError, match=line):
        cartpole().set_parameters(tmp_path / "model.zip")
    with pytest.raises(UntrustedFileError, match=line):
        cartpole().load_core(tmp_path / "model.zip")
    assert not (tmp_path / "executed").exists()
    other = cartpole()
    other.set_parameters(tmp_path / "model.zip", trust=True)  # tensors only
    assert same(other.get_parameters(), model.get_parameters())
    loaded = PlasticA2C.load(tmp_path / "model.zip", trust=True)
    loaded.evil.close()
    assert (tmp_path / "executed").exists()
    assert callable(loaded.learning_rate)
    assert loaded.learning_rate(1.0) == 0.01
    assert same(loaded.get_parameters(), model.get_parameters())


def test_pickled_policies_are_refused_unless_trusted(tmp_path):
    policy = make(SupervisedMetaLearner).policy
    arguments = {**policy._get_constructor_parameters(), "evil": Exploit(tmp_path / "executed")}
    del arguments["lr_schedule"]
    torch.save({"state_dict": policy.state_dict(), "data": arguments}, tmp_path / "policy.pth")
    with pytest.raises(UntrustedFileError, match="holds pickled objects"):
        AutoassociatorPolicy.load(tmp_path / "policy.pth")
    assert not (tmp_path / "executed").exists()
    del arguments["evil"]
    arguments["lr_schedule"] = LinearSchedule(0.0, 0.0, 1.0)
    torch.save({"state_dict": policy.state_dict(), "data": arguments}, tmp_path / "policy.pth")
    loaded = AutoassociatorPolicy.load(tmp_path / "policy.pth", trust=True)
    assert same(loaded.state_dict(), policy.state_dict())


def test_policies_alone(tmp_path):
    model = cartpole(policy_kwargs={**SMALL, "features_extractor_class": MyExtractor})
    with pytest.warns(UserWarning, match="saved without features_extractor_class"):
        model.policy.save(tmp_path / "policy")
    with pytest.raises(ModelFileError, match="Give features_extractor_class in custom_objects"):
        PlasticPolicy.load(tmp_path / "policy")
    given = {"features_extractor_class": MyExtractor}
    loaded = PlasticPolicy.load(tmp_path / "policy", custom_objects=given)
    assert same(loaded.state_dict(), model.policy.state_dict())
    with pytest.raises(ModelFileError, match="it holds a 'policy', not a model"):
        PlasticA2C.load(tmp_path / "policy")


def test_parameters_from_a_file(tmp_path):
    model, other = cartpole().learn(8), cartpole(seed=2)
    model.save(tmp_path / "model.zip")
    assert not same(other.get_parameters(), model.get_parameters())
    other.set_parameters(tmp_path / "model.zip")
    assert same(other.get_parameters(), model.get_parameters())
    larger = cartpole(policy_kwargs={**SMALL, "hidden_size": 6})
    before = copy.deepcopy(larger.get_parameters())
    with pytest.raises(ModelFileError, match=r"action_net\.weight has the shape \(2, 5\), not \(2, 6\)"):
        larger.set_parameters(tmp_path / "model.zip")
    assert same(larger.get_parameters(), before)


def test_models_of_another_algorithm_are_named(tmp_path):
    class Mine(PlasticA2C):
        pass

    model = Mine("MlpPolicy", "CartPole-v1", policy_kwargs=dict(SMALL), device="cpu")
    model.save(tmp_path / "model")
    assert type(PlasticA2C.load(tmp_path / "model")) is PlasticA2C
    assert type(Mine.load(tmp_path / "model")) is Mine
    message = r"is a model of plastic_rl\.training\.PlasticA2C, not of plastic_rl\.training\.PlasticPPO"
    with pytest.raises(ModelFileError, match=message):
        PlasticPPO.load(tmp_path / "model")


def test_files_of_newer_versions_are_named(tmp_path):
    cartpole().save(tmp_path / "model")
    change(tmp_path / "model.zip", lambda content: content.update(format_version=2))
    with pytest.raises(
        ModelFileError, match="its format_version is 2, this version of plastic_rl reads up to 1"
    ):
        PlasticA2C.load(tmp_path / "model")


def test_what_another_torch_knows_of_an_optimizer_is_no_obstacle(tmp_path):
    model = cartpole().learn(8)
    model.save(tmp_path / "model")

    def change_group(content):
        group = content["optimizers"]["policy.optimizer"]["param_groups"][0]
        del group["foreach"]
        group["brand_new"] = True

    change(tmp_path / "model.zip", change_group)
    loaded = PlasticA2C.load(tmp_path / "model", env=model.get_env())
    assert same(loaded.get_parameters(), model.get_parameters())
    loaded.learn(8)


def change(path, function):
    """Change the settings in a model file."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    content = json.loads(members["settings.json"])
    function(content)
    with zipfile.ZipFile(path, "w") as archive:
        for name, member in (members | {"settings.json": json.dumps(content)}).items():
            archive.writestr(name, member)


def test_the_callbacks_of_stable_baselines_save_and_load(tmp_path):
    model = cartpole()
    callbacks = [
        CheckpointCallback(8, str(tmp_path)),
        EvalCallback(
            gym.make("CartPole-v1"), eval_freq=8, best_model_save_path=str(tmp_path), verbose=0, warn=False
        ),
    ]
    model.learn(16, callback=callbacks)
    for name in ("rl_model_8_steps", "rl_model_16_steps", "best_model"):
        assert PlasticA2C.load(tmp_path / name).num_timesteps in (8, 16)


def test_versions_can_be_printed(tmp_path, capsys):
    cartpole().save(tmp_path / "model")
    PlasticA2C.load(tmp_path / "model", print_system_info=True)
    assert f"- torch: {metadata.version('torch')}" in capsys.readouterr().out


def test_a_model_without_an_environment_has_no_state_for_many(tmp_path):
    """It says itself for how many environments it acts, however many the file says that there were."""
    model = PlasticA2C("MlpPolicy", plastic_rl.make_vec_env("CartPole-v1", 3), n_steps=8, device="cpu")
    model.save(tmp_path / "model")
    loaded = PlasticA2C.load(tmp_path / "model")
    assert loaded._state is None
    loaded.set_env(plastic_rl.make_vec_env("CartPole-v1", 3))
    loaded.learn(48, reset_num_timesteps=False)
    assert loaded._state.actor.hidden.shape[0] == 3


def test_nothing_is_unpickled(tmp_path):
    """In a fresh process, with Python's own audit of what pickles ask for."""
    cartpole().save(tmp_path / "model")
    program = (
        "import sys, plastic_rl\n"
        "asked = []\n"
        "sys.addaudithook(lambda event, args: event == 'pickle.find_class' and asked.append(args))\n"
        f"plastic_rl.PlasticA2C.load({str(tmp_path / 'model')!r})\n"
        "print(asked)\n"
        "import pickle; pickle.loads(pickle.dumps(print)); print(asked)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first == "[]"
    assert "builtins" in second
