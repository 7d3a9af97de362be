"""The JSON schema in docs/ describes what is written, and refuses what is not."""

import copy
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from jsonschema import Draft202012Validator
from stable_baselines3.common.utils import FloatSchedule, LinearSchedule

from plastic_rl import PlasticA2C, PlasticPPO, SupervisedMetaLearner, make_vec_env

SCHEMA = Path(__file__).parents[2] / "docs" / "model_file.schema.json"

pytestmark = pytest.mark.skipif(not SCHEMA.is_file(), reason="not a checkout")


def settings_of(save: Callable[[io.BytesIO], None]) -> Any:
    file = io.BytesIO()
    save(file)
    with zipfile.ZipFile(file) as archive:
        return json.loads(archive.read("settings.json"))


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.fixture(scope="module")
def model() -> PlasticA2C:
    small = {"hidden_size": 4, "activation_fn": torch.nn.ReLU, "optimizer_kwargs": {"eps": 1e-4}}
    env = make_vec_env("CartPole-v1", 2)
    return PlasticA2C("MlpPolicy", env, n_steps=4, policy_kwargs=small, device="cpu").learn(64)


def test_models_and_policies_follow_it(model: PlasticA2C, validator: Draft202012Validator) -> None:
    env = gym.make("PlasticPatternMemory-v0", n_bits=8, n_patterns=1)
    learner = SupervisedMetaLearner("AutoassociatorPolicy", env, batch_size=4, device="cpu").learn(64)
    ppo = PlasticPPO(
        "MlpPolicy", "Pendulum-v1", n_steps=4, device="cpu", learning_rate=LinearSchedule(1, 0, 1)
    )
    for save in (model.save, model.policy.save, learner.save, learner.policy.save, ppo.save):
        validator.validate(settings_of(save))


def test_every_type_of_value_follows_it(model: PlasticA2C, validator: Draft202012Validator) -> None:
    every = copy.copy(model)
    every.notes = [
        *(np.float32(np.nan), np.bool_(True), float("-inf"), (1, Path("a")), {1: 2}, {"a": {"b": None}}),
        *(np.zeros(2), torch.zeros(2), np.random.default_rng(0), FloatSchedule(0.5)),
        spaces.Dict(
            a=spaces.MultiDiscrete([2, 3]),
            b=spaces.Tuple([spaces.MultiBinary(3), spaces.MultiBinary([2, 3])]),
        ),
    ]
    validator.validate(settings_of(every.save))


DAMAGE: dict[str, Callable[[Any], Any]] = {
    "format": lambda content: content.update(format="other"),
    "version": lambda content: content.update(format_version=2),
    "kind": lambda content: content.pop("kind"),
    "more": lambda content: content.update(code="print(1)"),
    "type": lambda content: content["settings"].update(x={"$type": "code"}),
    "space": lambda content: content["settings"]["action_space"].update(n=0),
    "deque": lambda content: content["settings"]["ep_info_buffer"].update(items=3),
    "group": lambda content: content["optimizers"]["policy.optimizer"]["param_groups"][0].pop("params"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_does_not(damage: Any, model: PlasticA2C, validator: Draft202012Validator) -> None:
    content = settings_of(model.save)
    damage(content)
    assert not validator.is_valid(content)
