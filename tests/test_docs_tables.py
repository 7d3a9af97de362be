"""The defaults in the tables of docs/ are those of the code."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plastic_rl import ImageCompletionTask, OmniglotTask, PatternMemoryTask
from plastic_rl.envs.discovery.rules import DiscoveryOptions
from plastic_rl.envs.maze.rules import MazeOptions
from plastic_rl.envs.pairs.rules import PairsOptions
from plastic_rl.policies import CoreOptions, MlpPolicy
from plastic_rl.policies.autoassociator import Autoassociator
from plastic_rl.policies.classifier import PlasticClassifier
from plastic_rl.policies.supervised import AutoassociatorPolicy
from plastic_rl.training.a2c import PlasticA2C
from plastic_rl.training.ppo import PlasticPPO
from plastic_rl.training.supervised import SupervisedMetaLearner

DOCS = Path(__file__).parents[1] / "docs"
WORDS = {"true": "True", "false": "False", "none": "None"}

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="not a checkout")


def section(page: str, title: str) -> str:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.split(r"^## ", text.split(f"\n## {title}\n")[1], flags=re.M)[0]


def defaults(function: Callable[..., Any]) -> dict[str, str]:
    """The defaults by argument, as Python writes them."""
    given = inspect.signature(function).parameters.values()
    return {p.name: repr(p.default).replace("'", '"') for p in given if p.default is not p.empty}


def rows(text: str) -> list[tuple[str, str]]:
    """The first two columns of the rows of tables, one row for each name."""
    found = re.findall(r"^\| (`[^|]+`) \| ([^|]*?) \|", text, re.M)
    split = [
        (names.split(", "), values.split(", ") if ", " in names else [values]) for names, values in found
    ]
    return [
        (n.strip("`"), v.strip("`")) for names, values in split for n, v in zip(names, values, strict=True)
    ]


@pytest.mark.parametrize(
    ("page", "title", "function"),
    [
        ("environments.md", "PlasticMaze-v0 and PlasticMazePrevAction-v0", MazeOptions),
        ("environments.md", "PlasticPairs-v0 and PlasticBandit-v0", PairsOptions),
        ("environments.md", "PlasticTargetDiscovery-v0", DiscoveryOptions),
        ("environments.md", "PlasticPatternMemory-v0", PatternMemoryTask),
        ("environments.md", "PlasticImageCompletion-v0", ImageCompletionTask),
        ("environments.md", "PlasticOmniglot-v0", OmniglotTask),
        ("plastic_a2c.md", "Arguments", PlasticA2C),
        ("plastic_ppo.md", "Arguments", PlasticPPO),
        ("plastic_a2c.md", "The network: policy_kwargs", MlpPolicy),
    ],
)
def test_tables_of_arguments(page: str, title: str, function: Callable[..., Any]) -> None:
    found, actual = dict(rows(section(page, title))), defaults(function)
    if function is MlpPolicy:
        actual |= defaults(CoreOptions)
    assert len(found) >= 4
    # Computed, or not the signature's own.
    for name in (
        "policy",
        "render_mode",
        "core_lr_scale",
        "net_arch",
        "activation_fn",
        "features_extractor_class",
    ):
        found.pop(name, None)
    for name, value in found.items():
        value = WORDS.get(value, value)
        expected = actual[name]
        assert value == expected or float(value) == float(expected), f"{name}: {value}, not {expected}"


def test_no_argument_of_an_environment_is_missing() -> None:
    tasks = {
        "PlasticMaze-v0 and PlasticMazePrevAction-v0": MazeOptions,
        "PlasticPairs-v0 and PlasticBandit-v0": PairsOptions,
        "PlasticTargetDiscovery-v0": DiscoveryOptions,
        "PlasticPatternMemory-v0": PatternMemoryTask,
        "PlasticImageCompletion-v0": ImageCompletionTask,
        "PlasticOmniglot-v0": OmniglotTask,
    }
    for title, task in tasks.items():
        named = {name for name, _ in rows(section("environments.md", title))}
        assert set(inspect.signature(task).parameters) <= named, title


def test_supervised_tables() -> None:
    text = section("plastic_a2c.md", "SupervisedMetaLearner")
    actual = defaults(SupervisedMetaLearner)
    found = dict(rows(text))
    for name in ("learning_rate", "batch_size", "max_grad_norm"):
        value = WORDS.get(found[name], found[name])
        assert value == actual[name] or float(value) == float(actual[name]), name
    networks = {"AutoassociatorPolicy": Autoassociator, "ClassifierPolicy": PlasticClassifier}
    for policy, network in networks.items():
        (line,) = re.findall(rf"^\| `{policy}` \| (.*) \|$", text, re.M)
        shown = dict(re.findall(r"`(\w+)=([^`]+)`", line))
        assert len(shown) >= 6
        actual = {**defaults(AutoassociatorPolicy), **defaults(network)}
        assert {name: actual[name] for name in shown} == shown
