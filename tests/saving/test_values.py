"""Settings of models as JSON and back: equal values, of the same kind."""

import json
import re
from collections import OrderedDict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule

from plastic_rl import register_for_loading
from plastic_rl.policies import PlasticPolicy
from plastic_rl.saving import ModelFileError, classes
from plastic_rl.saving.reading import Decoder
from plastic_rl.saving.values import Encoder


def there_and_back(value):
    encoder = Encoder()
    content = json.loads(json.dumps(encoder.mapping({"value": value}), allow_nan=False))
    assert encoder.left_out == {}
    return Decoder(encoder.arrays, encoder.tensors).decode(content)["value"]


PLAIN: list[Any] = [
    None,
    True,
    3,
    2**100,
    "text",
    -0.1,
    [1, [2.5, None]],
    {"a": {"b": [1]}},
    {1: "one", (2, 3): "two", None: 4},
    {"$type": "no type"},
    (1, (2,), []),
    deque([{"r": 1.0}], maxlen=7),
    deque([1]),
    OrderedDict(a=1),
    Path("a/b"),
    torch.nn.ReLU,
    torch.optim.AdamW,
    PlasticPolicy,
]


@pytest.mark.parametrize("value", PLAIN, ids=str)
def test_plain_values(value):
    found = there_and_back(value)
    assert found == value
    assert type(found) is (dict if isinstance(value, OrderedDict) else type(value))
    if isinstance(value, deque):
        assert found.maxlen == value.maxlen


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_json_has_no_number_for(value):
    np.testing.assert_equal(there_and_back(value), value)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_arrays_and_numbers_of_numpy(dtype, shape):
    value = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    for given in (value, value.copy(order="F"), value.astype(value.dtype.newbyteorder(">"))):
        found = there_and_back(given)
        np.testing.assert_array_equal(found, value, strict=True)
    number = value.dtype.type(1)
    assert there_and_back(number) == number
    assert type(there_and_back(number)) is type(number)


def test_arrays_in_places_of_the_same_name():
    value = {"a.b": np.zeros(1), "a": {"b": np.ones(2)}}
    found = there_and_back(value)
    np.testing.assert_array_equal(found["a.b"], np.zeros(1))
    np.testing.assert_array_equal(found["a"]["b"], np.ones(2))


def test_tensors():
    found = there_and_back({"a": torch.arange(6).reshape(2, 3).T, "b": torch.tensor(1.5)})
    assert torch.equal(found["a"], torch.arange(6).reshape(2, 3).T)
    assert torch.equal(found["b"], torch.tensor(1.5))


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_generators_go_on_where_they_were(kind):
    generator = np.random.Generator(getattr(np.random, kind)(5))
    generator.random(3, dtype=np.float32)
    found = there_and_back(generator)
    assert found.random(3).tolist() == generator.random(3).tolist()


SPACES = [
    spaces.Box(-1, np.inf, (2, 3), np.float32),
    spaces.Box(np.array([0, -5]), np.array([1, 5]), dtype=np.int8),
    spaces.Box(0, 255, (4, 4, 3), np.uint8),
    spaces.Discrete(5),
    spaces.Discrete(5, start=-2),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])),
    spaces.MultiBinary(4),
    spaces.MultiBinary([2, 3]),
    spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Box(0, 1, (1,))}),
    spaces.Dict([("b", spaces.Discrete(2)), ("a", spaces.MultiBinary(2))]),
    spaces.Tuple([spaces.Discrete(2), spaces.Tuple([spaces.Discrete(3)])]),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_spaces(space):
    found = there_and_back(space)
    assert found == space
    assert repr(found) == repr(space)
    assert type(found) is type(space)
    if isinstance(space, spaces.Dict):
        assert list(found) == list(space)


@pytest.mark.parametrize(
    "schedule",
    [
        ConstantSchedule(0.5),
        LinearSchedule(1e-3, 0.0, 0.5),
        FloatSchedule(0.1),
        FloatSchedule(LinearSchedule(1e-3, 1e-4, 1.0)),
    ],
    ids=str,
)
def test_schedules(schedule):
    found = there_and_back(schedule)
    assert repr(found) == repr(schedule)
    assert [found(left) for left in (1.0, 0.6, 0.1)] == [schedule(left) for left in (1.0, 0.6, 0.1)]


class MyBox(spaces.Box):
    pass


class Named(tuple):
    pass


def endless():
    value: list[Any] = []
    value.append(value)
    return value


NO_PLAIN_VALUES = [
    (lambda left: left, r"the function .*<lambda>"),
    (MyBox, r"the class .*MyBox"),
    (object(), r"a builtins.object"),
    ({1, 2}, "a builtins.set"),
    (MyBox(0, 1, (1,)), r"a space of the class .*MyBox"),
    (spaces.Dict(a=MyBox(0, 1, (1,))), r"a space of the class .*MyBox"),
    (Named((1,)), r"a .*Named"),
    (np.array([print]), "an array of object"),
    (np.array(["text"]), "an array of <U4"),
    (FloatSchedule(lambda left: left), r"the function .*<lambda>"),
    ([1, object()], "a builtins.object"),
    ([{"a": object()}], "a sequence with a builtins.object"),
    (deque([object()]), "a builtins.object"),
    (endless(), "nested without end"),
]


@pytest.mark.parametrize(("value", "words"), NO_PLAIN_VALUES, ids=lambda value: str(type(value)))
def test_what_is_no_plain_value_is_left_out_and_named(value, words):
    encoder = Encoder()
    content = encoder.mapping({"a": 1, "b": {"value": value, "c": 2}})
    assert content == {"a": 1, "b": {"c": 2}}
    assert list(encoder.left_out) == ["b.value"]
    assert re.search(words, encoder.left_out["b.value"])


def make_class(name):
    return type(name, (), {"__module__": "my_module", "__qualname__": name})


def test_registered_classes_are_known_by_their_names(monkeypatch):
    monkeypatch.setattr(classes, "_registered", {})
    mine, other = make_class("Mine"), make_class("Mine")
    register_for_loading(mine)
    assert there_and_back(mine) is mine
    encoder = Encoder()
    encoder.mapping({"value": other})
    assert encoder.left_out == {"value": "the class my_module.Mine"}
    monkeypatch.setattr(classes, "_registered", {})
    with pytest.raises(ModelFileError, match=r"names my_module\.Mine, which is not registered here"):
        Decoder({}, {}).decode({"$type": "class", "name": "my_module.Mine"})


@pytest.mark.parametrize("value", [lambda: 0, 3, "torch.nn.Tanh"])
def test_only_what_has_a_name_can_be_registered(value):
    with pytest.raises(ValueError, match="only classes and functions that have a name"):
        register_for_loading(value)


ARRAY = {"$type": "array", "name": "a"}
DAMAGED = [
    {"$type": "code", "value": "print(1)"},
    {"$type": []},
    {"$type": "class", "name": "os.system"},
    {"$type": "class", "name": "builtins.eval"},
    {"$type": "class", "name": "plastic_rl.policies.os"},
    {"$type": "class", "name": ["torch.nn.Tanh"]},
    {"$type": "class"},
    {"$type": "array", "name": "missing"},
    {"$type": "array", "name": {}},
    {"$type": "tensor", "name": "a"},
    {"$type": "tuple"},
    {"$type": "tuple", "items": 3},
    {"$type": "dict", "items": [[1]]},
    {"$type": "dict", "items": [[[1], 2]]},
    {"$type": "deque", "items": [], "maxlen": "many"},
    {"$type": "float", "value": "1.5"},
    {"$type": "float", "value": "many"},
    {"$type": "scalar", "dtype": "object", "value": 1},
    {"$type": "scalar", "dtype": "float32", "value": "1"},
    {"$type": "path"},
    {"$type": "generator", "state": {"bit_generator": "default_rng"}},
    {"$type": "generator", "state": {"bit_generator": "PCG64", "state": {}}},
    {"$type": "schedule", "kind": "constant"},
    {"$type": "schedule", "kind": "constant", "value": "1"},
    {"$type": "schedule", "kind": "linear", "start": 1},
    {"$type": "schedule", "kind": "float", "of": 3},
    {"$type": "schedule", "kind": "eval"},
    {"$type": "space", "kind": "Text"},
    {"$type": "space", "kind": "Box", "low": ARRAY},
    {"$type": "space", "kind": "Box", "low": ARRAY, "high": 3},
    {"$type": "space", "kind": "Discrete", "n": 0, "start": 0, "dtype": "int64"},
    {"$type": "space", "kind": "Discrete", "n": "3", "start": 0, "dtype": "int64"},
    {"$type": "space", "kind": "Dict", "spaces": [["a", 3]]},
    {"$type": "space", "kind": "Tuple", "spaces": [3]},
]


@pytest.mark.parametrize("content", DAMAGED, ids=str)
def test_damaged_values_are_refused(content):
    with pytest.raises(ModelFileError):
        Decoder({"a": np.zeros(2)}, {}).decode({"value": [content]})
