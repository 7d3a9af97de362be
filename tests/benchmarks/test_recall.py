"""The task of multi-query associative recall, and a short training."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.science import recall
from benchmarks.science.sweep import Run


def test_every_key_is_asked_for_once_after_all_pairs() -> None:
    tokens, asked, values = recall.draw_sequences(np.random.default_rng(0), 200)
    assert tokens.shape == (64, 200)
    for row, times, wanted in zip(tokens.T, asked.T, values.T, strict=True):
        keys, shown = row[0:8:2], row[1:8:2]
        assert len(set(keys)) == len(set(shown)) == 4
        assert keys.min() >= 1
        assert keys.max() < 4096 <= shown.min()
        assert (row[times] == keys).all()
        assert (wanted == shown).all()
        assert times.min() >= 8
        assert len(set(times)) == 4
        assert np.count_nonzero(row) == 12


def test_early_questions_are_more_frequent() -> None:
    _, asked, _ = recall.draw_sequences(np.random.default_rng(0), 2000)
    first, last = (asked == 8).any(axis=0).mean(), (asked == 62).any(axis=0).mean()
    assert first > 0.6 > 0.2 > last


def test_a_run_has_what_the_table_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "SEQUENCES", 20)
    monkeypatch.setattr(recall, "TEST_SEQUENCES", 30)
    monkeypatch.setattr(recall, "BATCH", 10)
    found = recall.train(Run("4", "gru none", 0, recall.settings("gru none", 4, 2)))
    assert len(found["curve"]) == 2
    assert found["accuracy"] == found["curve"][-1]
    assert "| 4 | gru none |" in recall.table({"4": {"gru none": [{"settings": {"epochs": 2}, **found}]}})


def test_accuracy_is_the_share_of_right_answers() -> None:
    tokens, asked, values = (
        torch.as_tensor(part) for part in recall.draw_sequences(np.random.default_rng(0), 6)
    )

    def knows_half(tokens: Tensor, asked: Tensor) -> Tensor:
        answers = values.clone()
        answers[:, ::2] = 0
        return nn.functional.one_hot(answers, recall.VOCABULARY)

    network: Any = knows_half
    assert recall.accuracy(network, tokens, asked, values) == 0.5
