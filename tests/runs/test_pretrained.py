"""Trained agents that ship: they play as before, nothing is unpickled, damage is named."""

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

import plastic_rl
from plastic_rl.analysis.lifetime import record_lifetimes
from plastic_rl.cli.main import main
from plastic_rl.runs import folder as runs
from plastic_rl.runs import pretrained
from plastic_rl.runs.hyperparams import load_config
from plastic_rl.training.evaluation import evaluate

# fmt: off
TRAIN = ["train", "PlasticMaze-v0", "--timesteps", "80", "--seed", "3", "--n-envs", "2", "--device", "cpu",
         "--hyperparams", "n_steps:20", "learning_rate:lin_0.01", "policy_kwargs.hidden_size:6",
         "policy_kwargs.backend:reference", "--env-kwargs", "max_episode_steps:20"]
# fmt: on


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main([*TRAIN, "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agents") / "new"
    pretrained.export(run, folder, episodes=4)
    return folder


@pytest.fixture
def shipped(exported: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The exported agent in the place of those that come with the package."""
    monkeypatch.setattr(pretrained, "FOLDER", exported)
    return exported


def test_the_agent_is_the_same(run: Path, shipped: Path) -> None:
    model = plastic_rl.load_pretrained("PlasticMaze-v0", device="cpu")
    original = plastic_rl.PlasticA2C.load(run / "model.zip", device="cpu")
    for name, tensor in original.policy.state_dict().items():
        assert torch.equal(model.policy.state_dict()[name], tensor)
    recorded = [
        record_lifetimes(one, "PlasticMaze-v0", episodes=2, max_steps=30) for one in (model, original)
    ]
    np.testing.assert_array_equal(recorded[0].positions, recorded[1].positions)
    assert model.n_envs == 2
    assert model.n_steps == 20
    assert model.num_timesteps == 80
    assert model.lr_schedule(0.5) == pytest.approx(0.005)


def test_it_can_be_evaluated_and_trained_further(shipped: Path) -> None:
    model = plastic_rl.load_pretrained("plastic_rl:PlasticMaze-v0", device="cpu")
    assert evaluate(model, model.get_env(), 2).returns.shape == (2,)
    before = model.policy.core.w.clone()
    model.learn(80)
    assert not torch.equal(model.policy.core.w, before)


def test_on_an_environment_of_ones_own(shipped: Path) -> None:
    env = plastic_rl.make_vec_env("PlasticMaze-v0", 3, env_kwargs={"size": 5})
    assert plastic_rl.load_pretrained("PlasticMaze-v0", env, "cpu").n_envs == 3
    with pytest.raises(ValueError, match="does not fit this environment"):
        plastic_rl.load_pretrained("PlasticMaze-v0", "PlasticMazePrevAction-v0", "cpu")


def test_random_numbers_go_on_as_if_nothing_was_loaded(shipped: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    plastic_rl.load_pretrained("PlasticMaze-v0", device="cpu")
    assert torch.equal(torch.rand(3), expected)


def test_an_unknown_id_names_those_available(shipped: Path) -> None:
    with pytest.raises(ValueError, match=r"no trained agent for 'CartPole-v1'; available: PlasticMaze-v0"):
        plastic_rl.load_pretrained("CartPole-v1")


def test_agents_of_other_hyperparameters_are_named() -> None:
    assert plastic_rl.load_pretrained("PlasticMaze-v0", config="ungated").policy.core_options.cell == "rnn"
    assert plastic_rl.load_pretrained("PlasticMaze-v0").policy.core_options.cell == "gru"
    with pytest.raises(ValueError, match="config must be one of ungated, got 'gated'"):
        plastic_rl.load_pretrained("PlasticMaze-v0", config="gated")
    with pytest.raises(ValueError, match="config must be None for an agent from the hub, got 'ungated'"):
        plastic_rl.load_pretrained("hub:me/maze", config="ungated")
    with pytest.raises(ValueError, match="no trained agent for 'PlasticPairs-v0'; available: PlasticMaze-v0"):
        plastic_rl.load_pretrained("PlasticPairs-v0", config="ungated")


def test_the_record_says_what_it_is(exported: Path) -> None:
    record = json.loads((exported / "PlasticMaze-v0.json").read_text())
    assert record["score"] == record["original"]
    assert record["score"]["episodes"] == 4
    assert record["score"]["actions"] == "sampled"
    assert record["seed"] == 3
    assert record["env_kwargs"] == {"max_episode_steps": 20}
    assert "torch" in record["versions"]


def test_half_precision_is_half_as_large(run: Path, tmp_path: Path) -> None:
    pretrained.export(run, tmp_path, half=True, episodes=2)
    with zipfile.ZipFile(tmp_path / "PlasticMaze-v0.zip") as file:
        stored = safetensors.torch.load(file.read("policy.safetensors"))
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    model = pretrained.load_pretrained("PlasticMaze-v0", device="cpu", folder=tmp_path)
    original = plastic_rl.PlasticA2C.load(run / "model.zip", device="cpu")
    assert model.policy.core.w.dtype == torch.float32
    assert torch.allclose(model.policy.core.w, original.policy.core.w, rtol=5e-4, atol=1e-5)
    assert not torch.equal(model.policy.core.w, original.policy.core.w)


def test_pickled_objects_are_refused(exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "agents")
    model = plastic_rl.load_pretrained("PlasticMaze-v0", device="cpu", folder=folder)
    BaseAlgorithm.save(model, folder / "PlasticMaze-v0.zip")
    record = json.loads((folder / "PlasticMaze-v0.json").read_text())
    record["sha256"] = pretrained.hashlib.sha256((folder / "PlasticMaze-v0.zip").read_bytes()).hexdigest()
    (folder / "PlasticMaze-v0.json").write_text(json.dumps(record))
    with pytest.raises(plastic_rl.UntrustedFileError, match="holds pickled objects"):
        pretrained.load_pretrained("PlasticMaze-v0", device="cpu", folder=folder)


def damage_settings(folder: Path) -> None:
    (folder / "PlasticMaze-v0.json").write_text("{")


def drop_setting(folder: Path) -> None:
    (folder / "PlasticMaze-v0.json").write_text("{}")


def remove_model(folder: Path) -> None:
    (folder / "PlasticMaze-v0.zip").unlink()


def cut_model(folder: Path) -> None:
    path = folder / "PlasticMaze-v0.zip"
    path.write_bytes(path.read_bytes()[:-50])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_settings, r"PlasticMaze-v0\.json is damaged"),
        (drop_setting, r"PlasticMaze-v0\.json is damaged: algo is missing"),
        (remove_model, r"PlasticMaze-v0\.zip is missing or damaged"),
        (cut_model, r"PlasticMaze-v0\.zip is missing or damaged: its checksum"),
    ],
)
def test_damaged_files_are_named(damage: Any, message: str, exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "agents")
    damage(folder)
    with pytest.raises(ValueError, match=message):
        pretrained.load_pretrained("PlasticMaze-v0", device="cpu", folder=folder)


def test_export_from_the_command_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    export = pretrained.export
    monkeypatch.setattr(pretrained, "export", lambda run, folder, half: export(run, folder, half, episodes=2))
    assert pretrained.main([str(run), "--output", str(tmp_path)]) == 0
    assert "original: mean return" in capsys.readouterr().out
    assert pretrained.available(tmp_path) == ["PlasticMaze-v0"]
    assert pretrained.main([str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_other_algorithms_are_refused(run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    runs.update_config(folder, replace(runs.read_config(folder), algo="a2c"))
    with pytest.raises(ValueError, match="a run of a2c, not of plastic_a2c"):
        pretrained.export(folder, tmp_path / "agents")
    assert not (tmp_path / "agents").exists()


def test_evaluate_and_watch_by_id(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "PlasticMaze-v0", "--episodes", "3", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "PlasticMaze-v0(max_episode_steps=20): 3 episodes" in out
    assert main(["evaluate", "PlasticMaze-v0", "--episodes", "3", "--device", "cpu"]) == 0
    assert capsys.readouterr().out == out
    assert main(["watch", "plastic_rl:PlasticMaze-v0", "--env-kwargs", "size:7", "--device", "cpu"]) == 0
    assert "(max_episode_steps=20, size=7): return" in capsys.readouterr().out
    assert (tmp_path / "episode.gif").is_file()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["evaluate", "PlasticMze-v0"], "or one of the trained agents: PlasticMaze-v0"),
        (["evaluate", "PlasticMaze-v0", "--algo", "a2c"], "was trained with plastic_a2c, not with a2c"),
        (["evaluate", "PlasticMaze-v0", "CartPole-v1"], "does not fit this environment"),
        (["watch", "PlasticMaze-v0", "--env-kwargs", "size:8"], "size must be"),
    ],
)
def test_bad_commands_are_one_line(
    command: list[str], message: str, shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--device", "cpu"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err


def test_the_packages_agents_are_small() -> None:
    assert sum(path.stat().st_size for path in pretrained.FOLDER.rglob("*")) < 2_000_000


# The least mean return that an agent may ship with.
WELL_TRAINED = {
    (None, "PlasticMaze-v0"): 240,
    (None, "PlasticMazePrevAction-v0"): 250,
    (None, "PlasticPairs-v0"): 7.75,
    ("ungated", "PlasticMaze-v0"): 200,
    ("ungated", "PlasticMazePrevAction-v0"): 200,
}


def test_every_agent_that_ships_is_held_to_a_level() -> None:
    folders = {None: pretrained.FOLDER, "ungated": pretrained.FOLDER / "ungated"}
    shipped = {(name, env_id) for name, folder in folders.items() for env_id in pretrained.available(folder)}
    assert shipped == set(WELL_TRAINED)


@pytest.mark.parametrize(("config", "env_id"), WELL_TRAINED)
def test_a_shipped_agent_is_well_trained_and_scores_as_stored(config: str | None, env_id: str) -> None:
    folder = pretrained.FOLDER / (config or "")
    with zipfile.ZipFile(folder / f"{env_id}.zip") as archive:
        assert all(name.endswith((".json", ".safetensors")) for name in archive.namelist())
    record = pretrained.read_record(env_id, folder)
    assert record.run.hyperparams == load_config(env_id, config=config).hyperparams
    assert record.score is not None
    assert record.original is not None
    assert record.score["mean_return"] > WELL_TRAINED[config, env_id]
    assert record.score["mean_return"] > 0.97 * record.original["mean_return"]
    model = plastic_rl.load_pretrained(env_id, device="cpu", config=config)
    env = plastic_rl.make_vec_env(env_id, 64, seed=5, env_kwargs={"render_mode": None})
    returns = evaluate(model, env, 64).returns
    error = returns.std() / np.sqrt(64)
    assert abs(returns.mean() - record.score["mean_return"]) < 4 * error
