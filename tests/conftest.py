"""What tests of several rooms need: compiled kernels, an environment, and the code on the pages of docs/."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import gymnasium as gym
import numpy as np
import pytest

TESTS = Path(__file__).parent
WITHOUT_KERNELS = (TESTS / "envs", TESTS / "test_architecture.py")

# Where several processes run the tests, each takes one thread, and so do the programs that they start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


class Block(NamedTuple):
    """A fenced block: its language, the line it starts on, its text and the comment above it."""

    language: str
    line: int
    text: str
    comment: str


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels(request: pytest.FixtureRequest) -> None:
    """The kernels are compiled, or read from disk, before the first test: none is charged for it.

    Of two processes that run tests one begins at the other end, so that each compiles half.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if all(any(item.path.is_relative_to(one) for one in WITHOUT_KERNELS) for item in request.session.items):
        return
    import torch

    from plastic_rl import PlasticA2C
    from plastic_rl.policies.plastic_rnn import PlasticRNN

    kinds = [
        ("rnn", "hebb", "full"),
        ("rnn", "hebb", "none"),
        ("rnn", "retroactive", "full"),
        ("gru", "hebb", "full"),
    ]
    if worker == "gw1":
        kinds.reverse()
    if worker is None:  # few tests, perhaps, which need few kernels
        kinds = kinds[:2]
    with torch.random.fork_rng():
        for cell, rule, alpha in kinds:
            kind = {"cell": cell, "rule": rule, "alpha": alpha}
            core = PlasticRNN(2, 3, **kind)
            y, _ = core(torch.ones(2, 1, 2), core.initial_state(1))
            y.sum().backward()
            core.step(torch.ones(1, 2), core.initial_state(1))
            kwargs = {**kind, "hidden_size": 3}
            PlasticA2C("MlpPolicy", "CartPole-v1", n_steps=4, device="cpu", policy_kwargs=kwargs).learn(8)


@pytest.fixture
def no_pictures() -> Iterator[None]:
    """Trainings of the command line draw no curve and no episode, which takes longer than a short one."""
    from plastic_rl.cli.session import Session

    with pytest.MonkeyPatch.context() as patch:
        for name in ("_draw_curve", "_play_episode"):
            patch.setattr(Session, name, lambda session: None)
        yield


@pytest.fixture
def forget_graphs() -> Iterator[None]:
    """Compiles anew, and leaves nothing behind: where torch compiles, distributions check no arguments."""
    import torch

    checked = torch.distributions.Distribution._validate_args
    torch.distributions.Distribution.set_default_validate_args(False)
    torch.compiler.reset()
    yield
    torch.compiler.reset()
    torch.distributions.Distribution.set_default_validate_args(checked)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first: at the end all processes but one would wait for it."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


class Invisible(gym.Env):
    """Never ends and cannot be drawn."""

    observation_space = gym.spaces.Box(0, 1, (3,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return np.zeros(3, dtype=np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        return np.zeros(3, dtype=np.float32), 0.0, False, False, {}


class AnySpaces(gym.Env):
    """Random observations and a reward for nothing, on any pair of spaces."""

    def __init__(self, observation_space: gym.Space, action_space: gym.Space) -> None:
        self.observation_space = observation_space
        self.action_space = action_space
        self.t = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.t += 1
        return self.observation_space.sample(), float(self.t % 2), self.t >= 7, False, {}


@pytest.fixture
def any_spaces() -> type[AnySpaces]:
    """An environment on any pair of spaces."""
    return AnySpaces


@pytest.fixture
def invisible(monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of an environment that never ends and cannot be drawn."""
    spec = gym.envs.registration.EnvSpec("Invisible-v0", entry_point=Invisible)
    monkeypatch.setitem(gym.registry, "Invisible-v0", spec)
    return "Invisible-v0"


@pytest.fixture(scope="session")
def read_blocks() -> Callable[[Path, str], list[Block]]:
    """The blocks of a page that are in one language."""

    def read(page: Path, language: str) -> list[Block]:
        text = page.read_text(encoding="utf-8")
        pattern = r"(?:^<!-- (?P<comment>[^\n]*) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$"
        found = list(re.finditer(pattern, text, re.M | re.S))
        assert 2 * len(found) == text.count("```"), "a block is not closed, or does not start its line"
        blocks = [
            Block(one["language"], text[: one.start("text")].count("\n"), one["text"], one["comment"] or "")
            for one in found
        ]
        return [block for block in blocks if block.language == language]

    return read
