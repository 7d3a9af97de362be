"""Weights & Biases' own Stable-Baselines3 recipe, offline: what it stores can be read back."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plastic_rl.training.a2c import PlasticA2C

wandb = pytest.importorskip("wandb")
pytest.importorskip("tensorboard")

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


def test_documented_recipe_stores_returns_losses_and_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of its time is W&B's: with a single log folder it waits ten seconds for a second one."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / name))
    from wandb.integration.sb3 import WandbCallback

    # A proxy that is not there: any attempt to use the network would fail.
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
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
        model.learn(320, callback=callback, log_interval=1)
    finally:
        run.finish()

    (run_file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    rows = [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records(run_file)
        if record.WhichOneof("record_type") == "history"
    ]
    column = {key: [row[key] for row in rows if key in row] for key in set().union(*rows)}

    assert column["global_step"] == list(range(32, 321, 32))
    returns = column["rollout/ep_rew_mean"]
    assert all(8 < value < 200 for value in returns)
    for name in ("policy_loss", "value_loss", "entropy_loss", "eta"):
        assert len(column[f"train/{name}"]) == 9, name
        assert len(set(column[f"train/{name}"])) > 1, name
    for name in ("core.w", "core.alpha", "core.eta_logit", "action_net.weight"):
        assert column[f"gradients/{name}/_type"][0] == "histogram"
        assert (
            sum(column[f"gradients/{name}/values"][0]) == dict(model.policy.named_parameters())[name].numel()
        )
    assert PlasticA2C.load(tmp_path / "models" / "model.zip", device="cpu").num_timesteps == 320
