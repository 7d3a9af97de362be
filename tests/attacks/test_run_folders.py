"""Run folders with damaged or harmful files: one line each, nothing runs, the folder stays as it was."""

import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from plastic_rl.cli.main import main
from plastic_rl.runs import folder as runs

FILES = ("config.yml", "model.zip", "monitor.csv", "progress.csv", "training_state.safetensors")
GARBAGE = bytes(range(256)) * 8


def replace(content: bytes | str) -> Callable[[Path, Any], object]:
    def change(path: Path, kit: Any) -> None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def make_folder(path: Path, kit: Any) -> None:
    path.unlink()
    path.mkdir()


def make_pipe(path: Path, kit: Any) -> None:
    path.unlink()
    os.mkfifo(path)


def make_huge(path: Path, kit: Any) -> None:
    os.truncate(path, 2**43)  # it takes no place on the disk


def make_pickle(path: Path, kit: Any) -> None:
    path.write_bytes(pickle.dumps(kit.exploit))


def cut(path: Path, kit: Any) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE: dict[str, Callable[[Path, Any], object]] = {
    "garbage": replace(GARBAGE),
    "a text": replace("this is no file of a run\n"),
    "a pickle": make_pickle,
    "cut": cut,
    "a folder": make_folder,
    "a pipe": make_pipe,
    "terabytes": make_huge,
}
# A log that ends in the middle of a row is that of a killed process, and goes on before it; half of a list of
# settings is a list of settings.
HARMLESS = {
    ("config.yml", "cut"),
    ("monitor.csv", "cut"),
    ("progress.csv", "cut"),
    ("progress.csv", "a text"),
}


def contents(folder: Path) -> dict[str, Any]:
    small = (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size < 2**20)
    return {str(path): path.read_bytes() for path in small if path.suffix != ".lock"}


@pytest.fixture
def folder(run: Path, tmp_path: Path) -> Path:
    """A run that could go on: a copy to damage."""
    folder = shutil.copytree(run, tmp_path / "run")
    assert {path.name for path in folder.iterdir()} >= set(FILES)
    return folder


@pytest.mark.skipif(os.name != "posix", reason="pipes and sparse files")
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_any_file_of_a_run_may_be_anything(
    name: str, damage: str, folder: Path, kit: Any, refused: Callable[..., str]
) -> None:
    DAMAGE[damage](folder / name, kit)
    before = contents(folder)
    commands = {"train": ["train", "--resume", str(folder), "--timesteps", "80"]}
    if name in ("config.yml", "model.zip"):
        commands["evaluate"] = ["evaluate", str(folder), "--episodes", "2"]
    if name in ("config.yml", "model.zip", "monitor.csv"):
        commands["plot"] = ["plot", str(folder), "--episodes", "2", "--output", str(folder / "figures")]
    for command, arguments in commands.items():
        if (name, damage) in HARMLESS or is_left_alone(name, damage, command):
            continue
        assert str(folder) in refused(*arguments)
        assert contents(folder) == before


def is_left_alone(name: str, damage: str, command: str) -> bool:
    """Without a model at its place the run begins anew: its first process died before it saved one."""
    return name == "model.zip" and damage in ("a folder", "a pipe") and command == "train"


RECORD = """
algo: plastic_a2c
env_id: PlasticMaze-v0
n_envs: 2
n_timesteps: 40
seed: 1
hyperparams: {}
env_kwargs: {}
"""
LINES = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40))]
BOMB = "\n".join([RECORD.replace("{}", "{size: *a39}"), *LINES]).replace("*a39", "*a39", 1)
CONFIGS = {
    "code": "!!python/object/apply:os.system ['touch executed']",
    "code inside": "env_id: !!python/object/apply:os.system ['touch executed']",
    "a module": "env_id: !!python/module:os",
    "a new tag": "env_id: !evil x",
    "bomb": BOMB,
    "endless": "env_id: &a [*a]",
    "nested": "[" * 5000,
    "a wrong number": "env_id: !!int ''",
    "a wrong time": "env_id: !!timestamp 'x'",
    "a wrong truth": "env_id: !!bool 'x'",
    "nothing": "",
    "a list": "[1, 2]",
    "a number as an id": "env_id: 3",
    "lines": "env_id: [\n\n\n",
}


@pytest.mark.parametrize("name", CONFIGS)
def test_settings_run_nothing_and_stay_small(
    name: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., str],
    refused_by: Callable[..., str],
) -> None:
    monkeypatch.chdir(folder.parent)
    (folder / "config.yml").write_text(CONFIGS[name])
    for command in (["evaluate", str(folder)], ["train", "--resume", str(folder)], ["plot", str(folder)]):
        assert "config.yml" in refused(*command)
    refused_by(runs.read_config, folder, errors=ValueError)


def set_config(folder: Path, **values: Any) -> None:
    content = yaml.safe_load((folder / "config.yml").read_text()) | values
    (folder / "config.yml").write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(
    "values",
    [
        {"algo": "os:system"},
        {"algo": "../evil"},
        {"n_envs": 0},
        {"n_envs": "many"},
        {"seed": -1},
        {"env_kwargs": {"size": 10**9}},
        {"env_kwargs": {"evil": 1}},
        {"env_kwargs": []},
        {"env_id": "NoSuchEnv-v0"},
        {"env_id": "../evil:Env-v0"},
        {"env_id": ":Env-v0"},
        {"hyperparams": 3},
    ],
    ids=str,
)
def test_settings_that_fit_nothing(values: Any, folder: Path, refused: Callable[..., str]) -> None:
    set_config(folder, **values)
    refused("evaluate", str(folder), "--episodes", "2")
    refused("train", "--resume", str(folder), "--timesteps", "80")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that leaves a trace when it is imported."""
    name = f"evil_{tmp_path.name.replace('-', '_')}"
    text = f"open({str(tmp_path / 'executed')!r}, 'w')\n"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def commands_on(folder: Path) -> list[list[str]]:
    return [
        ["evaluate", str(folder), "--episodes", "2"],
        ["watch", str(folder), "--output", str(folder.parent / "episode.gif")],
        ["plot", str(folder), "--episodes", "2", "--output", str(folder.parent / "figures")],
        ["train", "--resume", str(folder), "--timesteps", "80"],
    ]


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_a_run_imports_its_module_only_if_it_is_trusted_or_named(
    folder: Path, module: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    set_config(folder, env_id=f"{module}:PlasticMaze-v0")
    for command in commands_on(folder):
        line = refused(*command)
        assert f"would import {module} and run its code" in line
        assert "give --trust" in line
    refused("evaluate", str(folder), "other:PlasticMaze-v0")
    assert module not in sys.modules
    for command in commands_on(folder):
        sys.modules.pop(module, None)
        assert main([*command, "--trust"]) == 0
        assert (tmp_path / "executed").exists()
        (tmp_path / "executed").unlink()
    for command in (commands_on(folder)[0], ["train", "--resume", str(folder), "--timesteps", "120"]):
        sys.modules.pop(module, None)
        place = 2 if command[0] == "evaluate" else 1
        assert main([*command[:place], f"{module}:PlasticMaze-v0", *command[place:]]) == 0
        assert (tmp_path / "executed").exists()
        (tmp_path / "executed").unlink()
    sys.modules.pop(module, None)


@pytest.mark.parametrize("name", ["GymV21Environment-v0", "GymV26Environment-v0"])
def test_environments_that_import_their_arguments_are_not_made(
    name: str, folder: Path, module: str, refused: Callable[..., str]
) -> None:
    set_config(folder, env_id=name, env_kwargs={"env_id": f"{module}:Evil-v0"})
    for command in commands_on(folder):
        assert "would import what its arguments say" in refused(*command)
