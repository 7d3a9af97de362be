"""The package as a user meets it."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_type_hints

import gymnasium as gym
import pytest

import plastic_rl
from plastic_rl.envs.discovery.rules import DiscoveryArguments, DiscoveryOptions
from plastic_rl.envs.maze.rules import MazeArguments, MazeOptions
from plastic_rl.envs.pairs.rules import PairsArguments, PairsOptions
from plastic_rl.policies.core_options import CoreArguments, CoreOptions

PACKAGE = Path(plastic_rl.__file__).parent


def run(code):
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True, check=False
    )


def test_every_public_name_is_there():
    assert set(plastic_rl.__all__) <= set(dir(plastic_rl))
    for name in plastic_rl.__all__:
        assert getattr(plastic_rl, name) is not None


def test_version_is_that_of_the_project_file_and_the_citation():
    project = PACKAGE.parent / "pyproject.toml"
    if not project.exists():
        pytest.skip("not a checkout")
    text = project.read_text(encoding="utf-8")
    assert plastic_rl.__version__ == tomllib.loads(text)["project"]["version"]
    citation = (PACKAGE.parent / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {plastic_rl.__version__}\n" in citation


@pytest.mark.parametrize(
    "code",
    [
        "import gymnasium as gym, plastic_rl; gym.make('PlasticMaze-v0').reset()",
        "import gymnasium as gym; gym.make('plastic_rl:PlasticMaze-v0').reset()",
        "import gymnasium as gym, plastic_rl; gym.make_vec('PlasticMaze-v0', num_envs=64).reset()",
    ],
)
def test_environments_can_be_made_in_a_fresh_interpreter(code):
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_importing_prints_nothing_and_compiles_nothing():
    code = "import sys, plastic_rl; print({'torch', 'wandb'} & set(sys.modules)); plastic_rl.PlasticA2C"
    done = run(f"{code}; print('numba' in sys.modules)")
    assert done.stdout == "set()\nFalse\n", done.stderr
    assert done.stderr == ""
    assert not hasattr(plastic_rl, "no_such_name")


def test_the_root_links_lead_into_the_package():
    root = PACKAGE.parent
    if not (root / "pyproject.toml").exists():
        pytest.skip("not a checkout")
    for name in ("envs", "policies", "training"):
        assert (root / name).is_symlink()
        assert (root / name).resolve() == PACKAGE / name


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (CoreArguments, CoreOptions),
        (DiscoveryArguments, DiscoveryOptions),
        (MazeArguments, MazeOptions),
        (PairsArguments, PairsOptions),
    ],
)
def test_type_checkers_are_told_all_options_and_their_types(arguments, options):
    """That a keyword that is none is an error to them shows in the tests of unknown arguments."""
    assert get_type_hints(arguments) == get_type_hints(options)


def test_registered_ids():
    ids = [name for name in gym.registry if name.startswith("Plastic")]
    assert {"PlasticMaze-v0", "PlasticMazePrevAction-v0"} <= set(ids)
