"""The options of a plastic core: one table that layer and policy take."""

from dataclasses import fields

import gymnasium as gym
import numpy as np
import pytest

from plastic_rl import PlasticPolicy
from plastic_rl.policies import CoreOptions, PlasticRNN

OTHERS = {
    "cell": "gru",
    "rule": "oja",
    "alpha": "homogeneous",
    "eta": 0.2,
    "activation": "relu",
    "backend": "reference",
    "w_init": 0.3,
    "alpha_init": 0.4,
    "trace_clip": 5.0,
    "core_steps": 2,
    "inner_updates": "last",
}
SPACES = gym.spaces.Box(-1, 1, (3,), np.float32), gym.spaces.Discrete(2)


def test_layer_and_policy_take_every_option(tmp_path):
    assert {field.name for field in fields(CoreOptions)} == set(OTHERS)
    expected = CoreOptions(**OTHERS)
    assert PlasticRNN(3, 4, **OTHERS).options == expected
    policy = PlasticPolicy(*SPACES, lambda _: 1e-3, hidden_size=4, **OTHERS)
    assert policy.core_options == policy.core.options == expected
    policy.save(tmp_path / "policy")
    assert PlasticPolicy.load(tmp_path / "policy").core.options == expected


@pytest.mark.parametrize("name", list(OTHERS))
def test_what_is_wrong_is_named(name):
    wrong = -1.0 if isinstance(OTHERS[name], float) else "wrong"
    for make in (
        lambda: CoreOptions(**{name: wrong}),
        lambda: PlasticRNN(3, 4, **{name: wrong}),
        lambda: PlasticPolicy(*SPACES, lambda _: 1e-3, **{name: wrong}),
    ):
        with pytest.raises(ValueError, match=f"^{name} must .*got {wrong!r}"):
            make()


def test_an_unknown_option_is_no_option():
    with pytest.raises(TypeError, match="leak"):
        PlasticRNN(3, 4, leak=0.1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="leak"):
        PlasticPolicy(*SPACES, lambda _: 1e-3, leak=0.1)
