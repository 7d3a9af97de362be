"""Weights & Biases, offline: what is stored can be read back, and its failures leave the training alone."""

import json
import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from stable_baselines3.common.callbacks import BaseCallback

from plastic_rl.cli import session as commands
from plastic_rl.cli.main import main
from plastic_rl.tracking import wandb_output as tracking
from plastic_rl.tracking.plasticity import PlasticityCallback
from plastic_rl.training.a2c import PlasticA2C

wandb = pytest.importorskip("wandb")
pytest.importorskip("tensorboard")

DOCS = Path(__file__).parents[2] / "docs" / "tracking.md"
# fmt: off
TINY = ["--n-envs", "50", "--device", "cpu", "--env-kwargs", "max_episode_steps:20", "--timesteps", "4000",
        "--hyperparams", "n_steps:20", "policy_kwargs.hidden_size:6", "policy_kwargs.backend:reference"]
# fmt: on
PICTURES = ["plasticity/w", "plasticity/alpha", "plasticity/alpha_abs"]
_BLOCK = 32768


def records(path: Path) -> Iterator[Any]:
    """The records of a run file: W&B's header, then LevelDB's log format with a protobuf message each."""
    from wandb.proto import wandb_internal_pb2

    data = path.read_bytes()
    assert data[:4] == b":W&B"
    place, message = 7, b""
    while place + 7 <= len(data):
        left_in_block = _BLOCK - place % _BLOCK
        if left_in_block < 7:
            place += left_in_block
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        message += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(message)
            message = b""
            yield record


class RunFile:
    """What a run file holds: its settings, its history by column, its artifacts by name, its exit code."""

    def __init__(self, path: Path) -> None:
        self.rows: list[dict[str, Any]] = []
        self.config: dict[str, Any] = {}
        self.files: dict[str, list[str]] = {}
        self.exit_code: int | None = None
        for record in records(path):
            if record.WhichOneof("record_type") == "run":
                self.id, self.project = record.run.run_id, record.run.project
                self.config = {
                    item.key: json.loads(item.value_json) for item in record.run.config.update if item.key
                }
            elif record.WhichOneof("record_type") == "history":
                items = record.history.item
                self.rows.append(
                    {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
                )
            elif record.WhichOneof("record_type") == "exit":
                self.exit_code = record.exit.exit_code
            elif record.WhichOneof("record_type") == "artifact":
                entries = record.artifact.manifest.contents
                self.files[record.artifact.type] = [entry.path for entry in entries]

    def column(self, key: str) -> list[Any]:
        return [row[key] for row in self.rows if key in row]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without network, without an account, and with folders of its own."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / name))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    # A proxy that is not there: any attempt to use the network would fail.
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    wandb.teardown()
    yield
    wandb.teardown()


def train(folder: Path, *arguments: str) -> int:
    return main(["train", "PlasticMaze-v0", "--seed", "3", "--output", str(folder), *TINY, *arguments])


def run_files(folder: Path) -> list[RunFile]:
    # Until its process has ended, W&B may still be writing.
    wandb.teardown()
    return [RunFile(path) for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))]


def test_a_tracked_run_stores_everything_and_is_continued(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine"
    assert train(folder, "--track", "--wandb-mode", "offline", "--wandb-project", "mazes") == 0
    out = capsys.readouterr().out
    assert out.count("W&B: ") == 1
    assert f"W&B: recording offline; to upload it: wandb sync {folder}/wandb/offline-run-" in out

    (run,) = run_files(folder)
    assert run.column("global_step") == [2000, 4000, 4000]
    for name in ("policy_loss", "value_loss", "entropy_loss", "grad_norm"):
        assert len(set(run.column(f"train/{name}"))) == 2, name
    assert run.column("rollout/ep_len_mean") == [20, 20]
    assert all(value > 0 for value in run.column("time/fps"))
    for name in ("fan_out_mean", "alpha_mean", "alpha_std", "trace_norm", "w_norm"):
        assert all(0 < value < 10 for value in run.column(f"plasticity/{name}")), name
    for name in (*PICTURES, "figures/learning_curve", "figures/episode"):
        kind = "video-file" if name == "figures/episode" else "image-file"
        assert run.column(f"{name}/_type")[-1] == kind
        (stored,) = folder.glob(f"wandb/offline-run-*/files/{run.column(f'{name}/path')[-1]}")
        assert stored.stat().st_size == run.column(f"{name}/size")[-1] > 0
    assert [len(run.column(f"{name}/_type")) for name in PICTURES] == [2, 2, 2]
    assert run.files == {"model": ["config.yml", "model.zip"]}
    assert (run.project, run.config["seed"], run.config["hyperparams"]["n_steps"]) == ("mazes", 3, 20)

    # Resumed without a word: the same W&B run.
    assert main(["train", "--resume", str(folder), "--timesteps", "6000"]) == 0
    first, second = run_files(folder)
    assert (second.id, second.project) == (first.id, first.project) == (run.id, "mazes")
    assert second.column("global_step") == [6000, 6000]
    assert main(["train", "--resume", str(folder), "--timesteps", "8000", "--no-track"]) == 0
    assert len(run_files(folder)) == 2
    assert yaml.safe_load((folder / "config.yml").read_text())["wandb"]["id"] == run.id
    capsys.readouterr()
    assert main(["train", "--resume", str(folder), "--wandb-project", "other"]) == 2
    assert "--wandb-project is fixed" in capsys.readouterr().err


# Stable-Baselines3 asks every environment for pictures.
@pytest.mark.filterwarnings("ignore:.*render_mode='rgb_array' that is not in the possible:UserWarning")
def test_a_baseline_that_cannot_be_drawn_has_no_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], invisible: str
) -> None:
    command = ["train", invisible, "--algo", "a2c", "--track", "--wandb-mode", "offline", "--n-envs", "1"]
    assert main([*command, "--timesteps", "40", "--output", str(tmp_path / "run"), "--device", "cpu"]) == 0
    assert "Note: no episode.gif: Invisible-v0 has no render mode rgb_array" in capsys.readouterr().out
    (run,) = run_files(tmp_path / "run")
    assert not any(key.startswith(("figures/", "plasticity/")) for row in run.rows for key in row)
    assert run.files == {"model": ["config.yml", "model.zip"]}


def test_a_picture_that_fails_is_no_failed_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no display")

    monkeypatch.setattr(commands, "record_episode", fail)
    assert train(tmp_path / "run", "--track", "--wandb-mode", "offline") == 0
    assert "Note: no episode.gif: RuntimeError: no display\n" in capsys.readouterr().out
    (run,) = run_files(tmp_path / "run")
    assert run.exit_code == 0
    assert run.column("figures/learning_curve/_type") == ["image-file"]
    assert run.files == {"model": ["config.yml", "model.zip"]}


def test_without_an_account_it_is_recorded_offline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "run", "--track") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("W&B: ")]
    assert len(lines) == 2
    assert "W&B: not online, recording offline instead: No API key" in lines[0]
    assert "W&B: recording offline; to upload it: wandb sync" in lines[1]
    (run,) = run_files(tmp_path / "run")
    assert run.project == "plastic-rl"
    assert run.files == {"model": ["config.yml", "model.zip"]}


def test_where_the_server_cannot_be_reached_it_is_recorded_offline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setattr(tracking, "INIT_TIMEOUT", 1.0)
    assert train(tmp_path / "run", "--track") == 0
    assert "W&B: not online, recording offline instead: " in capsys.readouterr().out
    (run,) = run_files(tmp_path / "run")
    assert len(run.rows) == 3


def test_where_nothing_can_be_recorded_the_training_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb, "init", lambda **_: 1 / 0)
    assert train(tmp_path / "run", "--track", "--wandb-mode", "offline") == 0
    out = capsys.readouterr().out
    assert out.count("W&B: ") == 1
    assert "tracking has stopped, the training has not: ZeroDivisionError" in out
    assert PlasticA2C.load(tmp_path / "run" / "model.zip", device="cpu").num_timesteps == 4000


@pytest.mark.skipif(sys.platform != "linux", reason="finds the process as Linux does")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGSTOP"])
def test_a_training_outlives_the_process_of_wandb(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []

    class Kill(BaseCallback):
        saved_steps = None

        def _on_step(self) -> bool:
            if self.num_timesteps == 3000:
                command = ["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())]
                children = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                killed.extend(int(pid) for pid in re.findall(r"(\d+) wandb-core", children))
                os.kill(killed[0], getattr(signal, name))
            return True

    monkeypatch.setattr(commands, "SaveModelCallback", lambda path, every: Kill())
    monkeypatch.setattr(tracking, "_PATIENCE", 0.5)
    monkeypatch.setattr(tracking, "FINISH_TIMEOUT", 0.5)
    assert train(tmp_path / "run", "--track", "--wandb-mode", "offline") == 0
    assert len(killed) == 1
    out = capsys.readouterr().out
    assert out.count("W&B: tracking has stopped, the training has not: ") == 1
    assert "4,000 steps in" in out
    assert PlasticA2C.load(tmp_path / "run" / "model.zip", device="cpu").num_timesteps == 4000
    with pytest.raises(ProcessLookupError):
        os.kill(killed[0], 0)


def test_without_wandb_nothing_is_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert train(tmp_path / "run", "--track") == 2
    error = capsys.readouterr().err
    assert 'pip install "plastic-rl[wandb]"' in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--wandb-project", "maze"], "--wandb-project needs --track"),
        (["--no-track", "--wandb-mode", "offline"], "--wandb-mode needs --track"),
        (["--track", "--wandb-mode", "sometimes"], "invalid choice: 'sometimes'"),
        (["--track", "--wandb-run-name", ""], "--wandb-run-name is empty"),
    ],
)
def test_options_without_effect_are_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "run", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_damaged_record_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "run") == 0
    config = tmp_path / "run" / "config.yml"
    config.write_text(config.read_text() + "wandb: {id: 3}\n")
    capsys.readouterr()
    assert main(["train", "--resume", str(tmp_path / "run"), "--timesteps", "6000"]) == 2
    assert "config.yml is not the configuration of a run: wandb is {'id': 3}" in capsys.readouterr().err


@pytest.mark.slow
def test_wandbs_own_recipe_stores_returns_losses_gradients_and_plasticity(tmp_path: Path) -> None:
    """Most of its time is W&B's: with a single log folder it waits ten seconds for a second one."""
    from wandb.integration.sb3 import WandbCallback

    run = wandb.init(project="test", mode="offline", sync_tensorboard=True, dir=tmp_path)
    try:
        model = PlasticA2C(
            "MlpPolicy",
            "CartPole-v1",
            n_steps=32,
            policy_kwargs={"hidden_size": 8},
            tensorboard_log=str(tmp_path / "tensorboard"),
            device="cpu",
            seed=0,
        )
        callback = WandbCallback(gradient_save_freq=1, model_save_path=str(tmp_path / "models"))
        model.learn(320, callback=[callback, PlasticityCallback(log_freq=1)], log_interval=1)
    finally:
        run.finish()

    (stored,) = run_files(tmp_path)
    assert stored.column("global_step") == list(range(32, 321, 32))
    assert all(8 < value < 200 for value in stored.column("rollout/ep_rew_mean"))
    for name in ("policy_loss", "value_loss", "entropy_loss", "eta"):
        values = stored.column(f"train/{name}")
        assert len(values) == 9, name
        assert len(set(values)) > 1, name
    for name in ("core.w", "core.alpha", "core.eta_logit", "action_net.weight"):
        assert stored.column(f"gradients/{name}/_type")[0] == "histogram"
        count = dict(model.policy.named_parameters())[name].numel()
        assert sum(stored.column(f"gradients/{name}/values")[0]) == count
    assert len(set(stored.column("plasticity/trace_norm"))) == 10
    for name in PICTURES:
        assert stored.column(f"{name}/_type")
    assert PlasticA2C.load(tmp_path / "models" / "model.zip", device="cpu").num_timesteps == 320


@pytest.mark.parametrize("number", range(2))
def test_the_documented_code_runs(
    number: int, read_blocks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trainings = [block.text for block in read_blocks(DOCS, "python") if "learn(" in block.text]
    assert len(trainings) == 2
    block = trainings[number]
    shortened, count = re.subn(r"learn\([\d_]+", "learn(4_000", block)
    assert count == 1
    exec(compile(shortened, str(DOCS), "exec"), {})
    assert list(tmp_path.glob("runs/tensorboard/PlasticA2C_1/events*"))
    if "wandb.init" in block:
        (run,) = run_files(tmp_path)
        assert run.column("episode/_type") == ["video-file"]
        assert run.column("global_step")[:2] == [800, 1600]
        for name in ("policy_loss", "value_loss", "entropy_loss"):
            assert run.column(f"train/{name}"), name
        for name in PICTURES:
            assert run.column(f"{name}/_type"), name
        assert run.column("rollout/ep_rew_mean")
        assert run.files["model"] == ["model.zip"]
        assert run.column("plasticity/eta")
