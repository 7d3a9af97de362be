"""The pairs by supervised learning: sizes, and a short training."""

import pytest

from benchmarks.science import meta, pairs_supervised
from benchmarks.science.sweep import Run
from plastic_rl import EpisodicTaskEnv
from plastic_rl.envs import PairsTask
from plastic_rl.policies import PlasticRNNPolicy


@pytest.mark.parametrize("name", list(pairs_supervised.NETWORKS))
def test_networks_have_as_many_weights(name: str) -> None:
    task = PairsTask(8)
    policy = PlasticRNNPolicy(
        task.observation_space,
        task.action_space,
        lambda _: 0.0,
        **pairs_supervised.settings(name)["policy_kwargs"],
    )
    assert 0.95 * 16_000 < sum(one.numel() for one in policy.parameters()) <= 16_000


def test_the_learning_rate_falls_to_0() -> None:
    given = {"updates": 4, "batch_size": 2, "learning_rate": 0.8, "policy_kwargs": {"hidden_size": 4}}
    model, seconds = meta.train_learner("PlasticRNNPolicy", EpisodicTaskEnv(PairsTask(2)), given, 0)
    assert model.policy.optimizer.param_groups[0]["lr"] == pytest.approx(0.8 / 4)
    assert seconds > 0


def test_a_run_has_what_the_table_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meta, "TEST_EPISODES", 1000)
    settings = {**pairs_supervised.settings("gru none"), "updates": 500, "batch_size": 2}
    settings["policy_kwargs"]["hidden_size"] = 4
    found = pairs_supervised.train(Run("2", "gru none", 0, settings))
    assert 0 < found["error"] < 1
    table = pairs_supervised.table({"2": {"gru none": [{"seed": 0, **found}]}})
    assert "| 2 | gru none |" in table
    assert f"{1 - found['error']:.3f}" in table
