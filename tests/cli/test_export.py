"""`plastic-rl export`: files of an agent, of a run and of what cannot be exported."""

import json
import zipfile

import pytest

from plastic_rl.cli.main import main
from plastic_rl.export import OnnxAgent


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "pole"
    arguments = "train CartPole-v1 --timesteps 64 --n-envs 2 --seed 0 --hyperparams n_steps:16 normalize:true"
    assert main([*arguments.split(), "policy_kwargs.hidden_size:6", "--output", str(folder)]) == 0
    return folder


def test_a_run_whose_observations_were_normalized(run, tmp_path, capsys):
    output = tmp_path / "agent.onnx"
    assert main(["export", str(run), "--output", str(output)]) == 0
    out = capsys.readouterr().out
    assert f"stored in {output}" in out
    assert "checked over 200 steps in 4 environments: actions differ from the model's by at most 0" in out
    metadata = OnnxAgent(output).metadata
    assert metadata["env_id"] == "CartPole-v1"
    assert metadata["normalizes_observations"] == "true"


def test_a_program(run, tmp_path, capsys):
    output = tmp_path / "agent.pt2"
    assert main(["export", str(run), "--output", str(output)]) == 0
    assert "stored in" in capsys.readouterr().out
    with zipfile.ZipFile(output) as archive:
        name = next(name for name in archive.namelist() if name.endswith("extra/action_space"))
        assert json.loads(archive.read(name))["n"] == 2


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("agent.bin", "--output must end in .onnx or .pt2, not"),
        ("nowhere/agent.onnx", "cannot be written: there is no such folder"),
    ],
)
def test_outputs_that_cannot_be(run, tmp_path, output, message, capsys):
    assert main(["export", str(run), "--output", str(tmp_path / output)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
