"""``plastic-rl plot``: which runs are seeds of each other, what is drawn, what is refused."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import pytest

from plastic_rl.cli.main import main
from plastic_rl.cli.studies import find_runs, grouped
from plastic_rl.runs import folder as runs
from plastic_rl.runs.record import RunRecord

# fmt: off
TINY = ["train", "PlasticMaze-v0", "--timesteps", "80", "--n-envs", "2", "--device", "cpu",
        "--env-kwargs", "max_episode_steps:20",
        "--hyperparams", "n_steps:20", "policy_kwargs.hidden_size:6", "policy_kwargs.backend:reference"]
# fmt: on


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds with plasticity, one without."""
    folder = tmp_path_factory.mktemp("runs") / "maze"
    for name, more in {"a1": ["--seed", "1"], "a2": ["--seed", "2"]}.items():
        assert main([*TINY, *more, "--output", str(folder / name)]) == 0
    arguments = [*TINY, "policy_kwargs.alpha:none", "--seed", "1", "--output", str(folder / "b")]
    assert main(arguments) == 0
    return folder


def record(**more: Any) -> RunRecord:
    values: dict[str, Any] = {
        "env_id": "PlasticMaze-v0",
        "algo": "plastic_a2c",
        "env_kwargs": {},
        "n_envs": 2,
    }
    values |= {"seed": 0, "n_timesteps": 9, "hyperparams": {"gamma": 0.9, "policy_kwargs": {"rule": "hebb"}}}
    return RunRecord(**(values | more))


def test_runs_that_differ_in_the_seed_only_are_one_group() -> None:
    other = {"gamma": 0.5, "policy_kwargs": {"rule": "hebb", "alpha": "none"}}
    records = {
        Path("a"): record(),
        Path("b"): record(seed=1, versions={"torch": "2"}, n_timesteps=5),
        Path("c"): record(hyperparams=other),
    }
    assert grouped(records) == {
        "gamma 0.9, alpha default": [Path("a"), Path("b")],
        "gamma 0.5, alpha none": [Path("c")],
    }
    del records[Path("c")]
    assert grouped(records) == {"plastic_a2c": [Path("a"), Path("b")]}


def test_conditions_and_algorithms_name_their_runs() -> None:
    assert list(grouped({Path("a"): record(), Path("b"): record(algo="a2c")})) == ["plastic_a2c", "a2c"]
    named = {Path(name): record(condition=name, hyperparams={"gamma": i}) for i, name in enumerate("xy")}
    assert list(grouped(named)) == ["x", "y"]


def test_runs_are_found_inside_a_folder(folder: Path) -> None:
    assert find_runs(folder) == [folder / name for name in ("a1", "a2", "b")]
    assert find_runs(folder / "a1") == [folder / "a1"]
    with pytest.raises(FileNotFoundError, match="holds no run"):
        find_runs(folder / "a1" / "missing")


def test_plot_draws_everything(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "figures"
    assert main(["plot", str(folder), "--output", str(output), "--episodes", "3", "--window", "2"]) == 0
    names = ["learning_episodes", "learning_minutes", "lifetime", "matrices_1", "matrices_2"]
    assert sorted(path.name for path in output.iterdir()) == [f"{name}.png" for name in names]
    printed = capsys.readouterr().out
    for path in output.iterdir():
        assert f"Stored {path}" in printed
        assert iio.imread(path)[..., :3].std() > 5
    # Without plasticity there is only w to draw.
    assert iio.imread(output / "matrices_1.png").shape[1] > iio.imread(output / "matrices_2.png").shape[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required"),
        (["missing"], "missing holds no run"),
        (["{folder}", "--episodes", "1"], "--episodes must be at least 2"),
        (["{folder}", "--window", "0"], "--window at least 1"),
        (["{folder}", "--seed", "-1"], "--seed must lie between 0"),
        (["{folder}", "--output", "{folder}/a1/model.zip"], "is a file, not a folder"),
        (["{folder}/a1", "{other}"], "different environments: PlasticMaze-v0, PlasticMazePrevAction-v0"),
        (["{young}"], "no episode has finished"),
        (["{broken}"], "is damaged or not a model"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: list[str],
    message: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    copies = {name: shutil.copytree(folder / "a1", tmp_path / name) for name in ("other", "young", "broken")}
    other = replace(runs.read_config(copies["other"]), env_id="PlasticMazePrevAction-v0")
    runs.update_config(copies["other"], other)
    (copies["young"] / "monitor.csv").write_text('#{"t_start": 0.0}\nr,l,t\n')
    (copies["broken"] / "model.zip").write_bytes(b"nothing")
    places = {"folder": folder, **copies}
    assert main(["plot", *(argument.format(**places) for argument in arguments)]) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith("plastic-rl: error: ")
    assert message in err
    assert not (tmp_path / "figures").exists()
