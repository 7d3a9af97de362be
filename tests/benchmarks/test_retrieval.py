"""The task of associative retrieval, and a short training."""

import numpy as np
import pytest

from benchmarks.science import meta, retrieval
from benchmarks.science.sweep import Run
from plastic_rl.envs.tasks.task import check_task


def test_the_digit_of_the_letter_is_wanted() -> None:
    task = retrieval.RetrievalTask(n_pairs=3)
    check_task(task)
    episodes = task.sample_episodes(50, np.random.default_rng(0))
    assert isinstance(episodes.observations, np.ndarray)
    symbols = episodes.observations.argmax(axis=-1).T
    assert (episodes.observations.sum(axis=-1) == 1).all()
    assert (symbols[:, 6:8] == 36).all()
    for row, target in zip(symbols, episodes.targets, strict=True):
        letters, digits = row[0:6:2], row[1:6:2]
        assert len(set(letters)) == 3
        assert digits[letters == row[-1]] == [26 + target]


def test_a_run_has_what_the_table_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "PLAIN_UPDATES", 500)
    monkeypatch.setattr(retrieval, "BATCH", 2)
    monkeypatch.setattr(meta, "TEST_EPISODES", 1000)
    found = retrieval.train(Run("4", "rnn", 0, retrieval.settings("rnn", 4)))
    assert 0 < found["error"] < 1
    assert [updates for updates, _ in found["curve"]] == [500]
    assert "| 4 | rnn |" in retrieval.table({"4": {"rnn": [{"seed": 0, **found}]}})


def test_what_is_kept_was_trained_with_these_settings() -> None:
    runs = [
        Run(str(size), name, seed, retrieval.settings(name, size))
        for size in retrieval.SIZES
        for name in retrieval.NETWORKS
        for seed in range(3)
    ]
    there = [run for run in runs if run.path(retrieval.FOLDER).is_file()]
    assert len(there) == len(list(retrieval.FOLDER.glob("*/*.json"))) > 0
    assert all(run.is_stored(retrieval.FOLDER) for run in there)
