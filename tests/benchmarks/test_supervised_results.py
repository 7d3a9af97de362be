"""The comparison on the supervised tasks: what it trains, skips and writes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> Any:
    from benchmarks.science import supervised_results

    small = {"n_bits": 6, "n_patterns": 2, "show_steps": 1, "blank_steps": 0, "n_passes": 1, "probe_steps": 1}
    tiny = {"n_timesteps": 12, "policy_kwargs": {}}
    experiment = supervised_results.Experiment(
        "PlasticPatternMemory-v0",
        "Six bits",
        "bit_error",
        curve_episodes=4,
        test_episodes=6,
        variants={
            "full": tiny,
            "LSTM": {**tiny, "policy": "LSTMPolicy", "policy_kwargs": {"hidden_size": 4}},
        },
        env_kwargs=small,
        equal_time=("LSTM",),
    )
    monkeypatch.setattr(supervised_results, "EXPERIMENTS", {"tiny": experiment})
    return supervised_results


def run(results: Any, monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["supervised_results", "--folder", str(folder), *arguments])
    results.main()


def test_it_trains_what_is_missing_and_writes_the_table(
    results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--experiments", "tiny", "--seeds", "3")
    run(results, monkeypatch, tmp_path, *arguments)
    printed = capsys.readouterr().out
    assert "tiny, full, seed 3: bit_error " in printed
    table = (tmp_path / "table.md").read_text()
    assert table in printed
    header, _, *rows = table.splitlines()
    full, lstm = (row for row in rows if "| bit_error |" in row)
    assert header.startswith("| task | network | weights |")
    stored = json.loads((tmp_path / "tiny" / "full_3.json").read_text())
    score = stored["test"]["bit_error"]
    assert full.startswith(f"| Six bits | full | {stored['weights']:,} | {stored['episodes']:,} | ")
    assert f"| bit_error | {score['mean']:.4g} | {score['mean']:.4g} [{score['interval'][0]:.4g}, " in full
    assert lstm.startswith("| Six bits | LSTM | ")
    assert (tmp_path / "tiny.png").is_file()
    assert (tmp_path / "tiny" / "full_3.zip").is_file()

    # Nothing is trained twice, unless its settings are others now.
    run(results, monkeypatch, tmp_path, *arguments)
    assert "seed 3:" not in capsys.readouterr().out
    results.EXPERIMENTS["tiny"].variants["full"]["learning_rate"] = 0.02
    run(results, monkeypatch, tmp_path, *arguments, "--variants", "full")
    assert "tiny, full, seed 3:" in capsys.readouterr().out


def test_omniglots_experiments_train_on_whole_batches_of_enough_drawings() -> None:
    from benchmarks.science.supervised_results import EXPERIMENTS
    from plastic_rl.runs.hyperparams import load_config

    names = [name for name in EXPERIMENTS if name.startswith("omniglot")]
    assert len(names) == 4
    for name in names:
        experiment = EXPERIMENTS[name]
        config = load_config(experiment.env_id, overrides=experiment.variants["full"])
        n_way, k_shot = (
            experiment.env_kwargs.get(key, least) for key, least in (("n_way", 5), ("k_shot", 1))
        )
        assert config.n_timesteps % (config.hyperparams["batch_size"] * (n_way * k_shot + 1)) == 0
        pool = config.hyperparams["sample_kwargs"]
        assert pool["pool_drawings"] == k_shot + 1
        assert pool["pool_classes"] >= n_way
        assert pool["mirror"] is True


def test_equal_time_needs_the_run_that_took_the_time(
    results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(results, monkeypatch, tmp_path, "--experiments", "tiny", "--seeds", "3", "--variants", "LSTM")
    assert "LSTM takes the time of full: run that first, with seed 3" in capsys.readouterr().err
