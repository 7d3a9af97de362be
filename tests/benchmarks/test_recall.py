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


def test_w_and_alpha_of_a_plastic_network_learn_more_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("SEQUENCES", 4), ("TEST_SEQUENCES", 4), ("BATCH", 4)):
        monkeypatch.setattr(recall, name, count)
    made: list[recall.RecallNetwork] = []
    before: list[dict[str, Tensor]] = []

    class Noted(recall.RecallNetwork):
        def __init__(self, size: int, **options: Any) -> None:
            super().__init__(size, **options)
            made.append(self)
            before.append({key: value.clone() for key, value in self.state_dict().items()})

    monkeypatch.setattr(recall, "RecallNetwork", Noted)
    name = "rnn modulated, two core steps"
    given = {**recall.settings(name, 4, 1), "max_grad_norm": 1e6}
    recall.train(Run("4", name, 0, given))
    changes = {
        key: (made[0].state_dict()[key] - before[0][key]).abs().max().item()
        for key in ("core.w", "core.alpha", "core.drive.weight", "readout.weight")
    }
    # The first step of Adam is as long as the learning rate.
    assert changes == pytest.approx(
        {"core.w": 1e-4, "core.alpha": 1e-4, "core.drive.weight": 1e-3, "readout.weight": 1e-3}, rel=0.02
    )


def test_what_is_kept_was_trained_with_these_settings() -> None:
    runs = [
        Run(str(size), name, seed, recall.settings(name, size, 4))
        for size in recall.SIZES
        for name in recall.NETWORKS
        for seed in range(3)
    ]
    there = [run for run in runs if run.path(recall.FOLDER).is_file()]
    assert len(there) == len(list(recall.FOLDER.glob("*/*.json"))) > 0
    assert all(run.is_stored(recall.FOLDER) for run in there)


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
