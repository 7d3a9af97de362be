from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def gymnasiums_own_time_limit(monkeypatch):
    """RL-Zoo, which other tests import, puts one in its place that says more in the infos."""
    own = next(cls for cls in gym.wrappers.TimeLimit.__mro__ if cls.__module__ == "gymnasium.wrappers.common")
    for module in (gym.wrappers, gym.wrappers.common):
        monkeypatch.setattr(module, "TimeLimit", own)


@pytest.fixture(scope="session")
def omniglot_data():
    """40 made-up characters of 6 drawings each, in 8 alphabets of which the last 3 are for evaluation."""
    rng = np.random.default_rng(0)
    alphabets = np.repeat(np.arange(8), 5)
    return SimpleNamespace(
        images=(255 * (rng.random((40, 6, 31, 31)) < 0.1)).astype(np.uint8),
        alphabets=np.array([f"alphabet {number}" for number in alphabets]),
        background=alphabets < 5,
    )


@pytest.fixture(scope="session")
def cifar10_data():
    """Made-up images: 30 for training, 20 for testing."""
    rng = np.random.default_rng(1)
    images = rng.integers(256, size=(50, 3, 32, 32), dtype=np.uint8)
    return SimpleNamespace(train=images[:30], test=images[30:])


@pytest.fixture(scope="session")
def made_up(omniglot_data, cifar10_data):
    """The arguments that let an environment be made without data files, by id."""
    return {
        "PlasticOmniglot-v0": {"data": omniglot_data, "n_validation": 10, "n_test": 10},
        "PlasticImageCompletion-v0": {"data": cifar10_data},
    }


@pytest.fixture(scope="session")
def layout():
    """What describes infos of a batch: keys, array types and which entries are filled."""
    return _layout


def _layout(infos):
    described = {}
    for key, value in infos.items():
        if isinstance(value, dict):
            described[key] = _layout(value)
        elif key.startswith("_"):
            described[key] = (value.dtype, value.tolist())
        elif value.dtype == object:
            described[key] = [
                (type(one), getattr(one, "shape", None), getattr(one, "dtype", None)) for one in value
            ]
        else:
            described[key] = (value.dtype, value.shape)
    return described


@pytest.fixture(scope="session")
def assert_same():
    """Two results of environments have the same values, types and shapes."""
    return _assert_same


def _assert_same(one, other, where=""):
    """Values, types and shapes; a number of NumPy is an array of no dimensions."""
    one, other = (np.asarray(part) if isinstance(part, np.generic) else part for part in (one, other))
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            _assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, np.ndarray) and one.dtype == object:
        for i, (left, right) in enumerate(zip(one, other, strict=True)):
            _assert_same(left, right, f"{where}/{i}")
    elif one is not None:
        np.testing.assert_array_equal(one, other, err_msg=where, strict=True)
