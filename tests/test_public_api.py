"""The package as a user meets it."""

import ast
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest

import plastic_rl

PACKAGE = Path(plastic_rl.__file__).parent
# Which parts of the package each part may import.
ALLOWED = {
    "ops": {"ops"},
    "envs": {"envs"},
    "policies": {"ops", "policies"},
    "training": {"ops", "envs", "policies", "training"},
}


def run(code):
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True, check=False
    )


def test_every_public_name_is_there():
    assert set(plastic_rl.__all__) <= set(dir(plastic_rl))
    for name in plastic_rl.__all__:
        assert getattr(plastic_rl, name) is not None


def test_version_is_that_of_the_distribution():
    assert plastic_rl.__version__.count(".") == 2


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


@pytest.mark.parametrize("part", ALLOWED)
def test_imports_run_one_way(part):
    for path in (PACKAGE / part).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                if name.startswith("plastic_rl.") and name.split(".")[1] != "__version__":
                    assert name.split(".")[1] in ALLOWED[part], f"{path} imports {name}"


def test_the_environments_need_only_numpy_and_gymnasium():
    heavy = {"torch", "stable_baselines3", "matplotlib", "numba"}
    for path in (PACKAGE / "envs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            module = getattr(node, "module", None) or ""
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [module]
            assert not heavy & {name.split(".")[0] for name in names}, path


def test_the_root_links_lead_into_the_package():
    root = PACKAGE.parent
    if not (root / "pyproject.toml").exists():
        pytest.skip("not a checkout")
    for name in ("envs", "policies", "training"):
        assert (root / name).is_symlink()
        assert (root / name).resolve() == PACKAGE / name


def test_registered_ids():
    ids = [name for name in gym.registry if name.startswith("Plastic")]
    assert {"PlasticMaze-v0", "PlasticMazePrevAction-v0"} <= set(ids)
