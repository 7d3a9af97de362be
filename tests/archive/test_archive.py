"""What earlier versions have saved is loaded: models play as they did, runs are evaluated and go on."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plastic_rl.cli.main import main
from plastic_rl.policies import PlasticPolicy
from plastic_rl.runs import folder as runs
from plastic_rl.runs.checkpoint import STATE
from plastic_rl.runs.hyperparams import algorithm_class
from plastic_rl.saving import load_model

HERE = Path(__file__).parent
VERSIONS = sorted(path.parent for path in HERE.glob("*/expected.json"))
RUNS = [config.parent for version in VERSIONS for config in sorted(version.glob("*/config.yml"))]


def shown(folder: Path) -> str:
    return folder.relative_to(HERE).as_posix()


def expected(version: Path) -> Any:
    return json.loads((version / "expected.json").read_text())


def sums(policy: Any) -> dict[str, float]:
    return {name: float(part.double().sum()) for name, part in policy.state_dict().items()}


def test_there_is_an_archive():
    assert {run.name for run in RUNS} >= {"plastic_a2c", "plastic_ppo", "supervised", "a2c", "recurrent_ppo"}


@pytest.mark.parametrize("folder", RUNS, ids=shown)
def test_a_model_plays_as_it_did(folder: Path) -> None:
    wanted = expected(folder.parent)[folder.name]
    record = runs.read_config(folder)
    model = load_model(algorithm_class(record.algo), folder / runs.MODEL, device="cpu")
    assert model.num_timesteps == wanted["num_timesteps"]
    assert sums(model.policy) == wanted["sums"]
    state = None
    space = model.observation_space
    for seen, wanted_action in zip(wanted["observations"], wanted["actions"], strict=True):
        action, state = model.predict(np.array(seen, space.dtype), state, deterministic=True)
        np.testing.assert_allclose(action, wanted_action, atol=1e-3)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("folder", RUNS, ids=shown)
def test_a_run_is_evaluated_and_goes_on(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = shutil.copytree(folder, tmp_path / "run")
    assert main(["evaluate", str(copied), "--episodes", "2", "--device", "cpu"]) == 0
    assert "mean re" in capsys.readouterr().out
    steps = 2 * runs.read_config(copied).n_timesteps
    assert main(["train", "--resume", str(copied), "--timesteps", str(steps), "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert ("New episodes begin" in out) == (not (folder / STATE).exists()), out
    model = load_model(algorithm_class(folder.name), copied / runs.MODEL, device="cpu")
    assert model.num_timesteps >= steps
    assert sums(model.policy) != expected(folder.parent)[folder.name]["sums"]


@pytest.mark.parametrize("version", VERSIONS, ids=shown)
def test_a_policy_alone(version: Path) -> None:
    policy = PlasticPolicy.load(version / "policy", device="cpu")
    assert sums(policy) == expected(version)["policy"]["sums"]
