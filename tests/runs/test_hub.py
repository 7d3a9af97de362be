"""Agents that go to a hub and come back, over HTTP, with a local stand-in for the hub."""

import json
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import plastic_rl
from plastic_rl.cli.main import main, make_parser
from plastic_rl.runs import folder as run_folder
from plastic_rl.runs import hub
from plastic_rl.runs.card import command
from plastic_rl.runs.hyperparams import load_config
from plastic_rl.runs.plain_yaml import parse_pairs
from plastic_rl.runs.statistics import find_normalize

pytest.importorskip("huggingface_hub")
from huggingface_hub import constants, file_download


@pytest.fixture
def server(fake_hub, monkeypatch, tmp_path):
    """The stand-in, in the place of the hub."""
    monkeypatch.setattr(constants, "ENDPOINT", fake_hub.address)
    template = fake_hub.address + constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix("https://huggingface.co")
    for module in (constants, file_download):  # which has the name for itself in older versions
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", fake_hub.token)
    return fake_hub


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose observations were normalized."""
    folder = tmp_path_factory.mktemp("runs") / "pole"
    what = "train CartPole-v1 --timesteps 320 --n-envs 2 --seed 3 --hyperparams n_steps:16 normalize:true"
    settings = ["policy_kwargs.hidden_size:5", "policy_kwargs.optimizer_kwargs.eps:1e-4"]
    assert main([*what.split(), *settings, "--output", str(folder)]) == 0
    return folder


def card_of(files):
    _, head, text = files["README.md"].decode().split("---\n", 2)
    return yaml.safe_load(head), text


def test_there_and_back(server, run, capsys):
    assert main(["push", str(run), "--repo", "me/pole", "--episodes", "4", "--private"]) == 0
    assert capsys.readouterr().out.endswith("/me/pole\nTo use it: plastic-rl evaluate hub:me/pole\n")
    files = server.repos["me/pole"]
    assert server.private["me/pole"]
    shown = {"README.md", "learning_curve.png", "episode.gif"}
    assert set(files) == {"model.zip", "config.yml", "normalize.json"} | shown
    assert files["model.zip"] == (run / "model.zip").read_bytes()
    # Nothing of this machine.
    assert str(Path.home()).encode() not in files["config.yml"] + files["README.md"]
    assert b"hyperparams_file" not in files["config.yml"]

    model = plastic_rl.load_pretrained("hub:me/pole", device="cpu")
    own = run_folder.load_model(run / "model.zip", "plastic_a2c", model.get_env(), "cpu")
    observation = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_array_equal(
        model.predict(observation, deterministic=True)[1].trace,
        own.predict(observation, deterministic=True)[1].trace,
    )
    statistics = json.loads((run / "normalize.json").read_text())
    normalize = find_normalize(model.get_env())
    np.testing.assert_array_equal(normalize.obs_rms.mean, statistics["observations"]["mean"])
    assert not normalize.training
    assert model.num_timesteps == 320


def test_only_what_is_safe_comes_down(server, run, tmp_path):
    hub.push(run, "me/pole", episodes=2)
    server.repos["me/pole"] |= {"evil.py": b"raise SystemExit", "policy.pth": b"\x80\x04.", "x.pkl": b"N."}
    server.requests.clear()
    folder = hub.fetch("hub:me/pole")
    assert {path.name for path in folder.iterdir()} == {"model.zip", "config.yml", "normalize.json"}
    assert not any("evil" in one or "pkl" in one or "pth" in one for one in server.requests)


def test_the_card(server, run):
    hub.push(run, "me/pole", episodes=3)
    head, text = card_of(server.repos["me/pole"])
    assert head["library_name"] == "plastic_rl"
    assert {"CartPole-v1", "reinforcement-learning"} <= set(head["tags"])
    (result,) = head["model-index"][0]["results"]
    assert result["dataset"]["name"] == "CartPole-v1"
    (metric,) = result["metrics"]
    mean = float(metric["value"].split(" [")[0])
    assert f"**Mean return {mean:g}**, 95 % interval" in text
    assert "over 3 episodes (sampled actions, seed" in text
    assert "![learning curve](learning_curve.png)" in text
    assert "![episode](episode.gif)" in text
    assert 'load_pretrained("hub:me/pole")' in text
    assert "| torch |" in text


def test_the_command_on_the_card_is_the_training(run):
    record = run_folder.read_config(run)
    words = shlex.split(command(record))
    assert words[0] == "plastic-rl"
    asked = make_parser().parse_args(words[1:])
    assert (asked.env_id, asked.algo, asked.seed) == ("CartPole-v1", "plastic_a2c", 3)
    overrides = parse_pairs(asked.hyperparams) | {"n_timesteps": asked.timesteps, "n_envs": asked.n_envs}
    config = load_config(asked.env_id, asked.algo, None, overrides)
    assert config.hyperparams == record.hyperparams
    assert config.normalize == record.normalize == {}
    assert (config.n_timesteps, config.n_envs) == (record.n_timesteps, record.n_envs)


def test_commands_take_agents_of_the_hub(server, run, tmp_path, capsys):
    hub.push(run, "me/pole", episodes=2)
    assert main(["evaluate", "hub:me/pole", "--episodes", "2", "--json"]) == 0
    there = json.loads(capsys.readouterr().out)["measures"]
    assert main(["evaluate", str(run), "--episodes", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["measures"] == there
    assert main(["watch", "hub:me/nothing"]) == 2
    assert "error: the hub: 404 Client Error. Repository Not Found" in capsys.readouterr().err


def test_an_agent_in_an_environment_of_ones_own(server, run):
    hub.push(run, "me/pole", episodes=2)
    env = plastic_rl.make_vec_env("CartPole-v1", 3)
    model = plastic_rl.load_pretrained("hub:me/pole", env)
    assert model.n_envs == 3
    assert find_normalize(model.get_env()).norm_obs
    with pytest.raises(ValueError, match="does not hold the statistics of these environments"):
        plastic_rl.load_pretrained("hub:me/pole", "Pendulum-v1")


def test_what_would_import_a_module_is_refused(server, run):
    hub.push(run, "me/pole", episodes=2)
    files = server.repos["me/pole"]
    files["config.yml"] = files["config.yml"].replace(
        b"env_id: CartPole-v1", b"env_id: antigravity:CartPole-v1"
    )
    with pytest.raises(ValueError, match="which would import a module"):
        plastic_rl.load_pretrained("hub:me/pole")
    assert "antigravity" not in sys.modules
    assert plastic_rl.load_pretrained("hub:me/pole", "CartPole-v1").num_timesteps == 320


def test_what_the_hub_refuses_and_what_is_no_agent(server, run, monkeypatch, tmp_path):
    server.repos["me/empty"] = {"README.md": b"nothing"}
    server.private["me/empty"] = False
    with pytest.raises(ValueError, match=r"hub:me/empty holds no agent of plastic_rl: there is no model.zip"):
        plastic_rl.load_pretrained("hub:me/empty")
    hub.push(run, "me/pole", episodes=2)
    with pytest.raises(hub.HubError, match="Revision Not Found"):
        plastic_rl.load_pretrained("hub:me/pole@v9")
    assert plastic_rl.load_pretrained("hub:me/pole@main").num_timesteps == 320
    server.repos["me/pole"]["model.zip"] = b"PK broken"
    with pytest.raises(plastic_rl.ModelFileError):
        plastic_rl.load_pretrained("hub:me/pole")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    before = dict(server.repos["me/pole"])
    with pytest.raises(hub.HubError, match="401"):
        hub.push(run, "me/pole", episodes=2)
    assert server.repos["me/pole"] == before


@pytest.mark.parametrize(
    ("repo", "options", "message"),
    [
        ("pole", {}, "repo must be user/name or user/name@revision, got 'pole'"),
        ("me/../pole", {}, "repo must be user/name"),
        ("me/pole@main", {}, "repo must be user/name without a revision"),
        ("me/pole", {"episodes": 1}, "episodes must be at least 2"),
    ],
)
def test_bad_input(run, repo, options, message):
    with pytest.raises(ValueError, match=message):
        hub.push(run, repo, **options)


def test_nobody_answers(run, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(hub.HubError, match="the hub: "):
        plastic_rl.load_pretrained("hub:me/pole")


def test_a_model_with_pickled_objects_is_not_pushed(server, run, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(run, folder)
    (folder / "model.zip").write_bytes(b"not one of ours")
    with pytest.raises(plastic_rl.ModelFileError):
        hub.push(folder, "me/pole", episodes=2)
    assert server.repos == {}


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r'pip install "plastic-rl\[hub\]"'):
        plastic_rl.load_pretrained("hub:me/pole")
