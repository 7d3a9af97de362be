"""The package's own settings learn the supervised tasks (slow)."""

import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback

from plastic_rl import PatternMemoryTask, SupervisedMetaLearner, evaluate_episodes, hyperparams
from plastic_rl.envs import EpisodicTaskEnv

ENV = "PlasticPatternMemory-v0"
SMALL = {"n_bits": 50, "n_patterns": 2, "show_steps": 3, "blank_steps": 1, "n_passes": 1}


class Errors(BaseCallback):
    """The share of wrong bits among the erased ones, for every training episode."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[float] = []

    def _on_step(self) -> bool:
        self.errors += [info["bit_error"] for info in self.locals["infos"]]
        return True


@pytest.mark.slow
def test_patterns_of_1000_bits_are_remembered_after_100_episodes() -> None:
    env = EpisodicTaskEnv(PatternMemoryTask())
    model = SupervisedMetaLearner(env=env, seed=0, device="cpu", **hyperparams(ENV))
    w, alpha = (model.policy.network.get_parameter(f"connections.{name}") for name in ("w", "alpha"))
    assert w.numel() + alpha.numel() == 2_004_002
    before = evaluate_episodes(model, env, 10, batch_size=5, seed=1)["bit_error"]
    assert 0.45 < before.mean < 0.55
    model.learn(100 * env.task.episode_length)
    after = evaluate_episodes(model, env, 20, batch_size=5, seed=1)["bit_error"]
    assert after.mean < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("alpha", ["full", "none"])
def test_patterns_of_50_bits_are_remembered_with_plasticity_only(alpha: str) -> None:
    env = EpisodicTaskEnv(PatternMemoryTask(**SMALL))
    settings = hyperparams(ENV, overrides={"policy_kwargs": {"alpha": alpha}})
    model = SupervisedMetaLearner(env=env, seed=0, device="cpu", **settings)
    recorder = Errors()
    model.learn(2000 * env.task.episode_length, callback=recorder)
    assert 0.4 < np.mean(recorder.errors[:20]) < 0.6
    error = evaluate_episodes(model, env, 1000, batch_size=100, seed=1)["bit_error"].mean
    # Without plasticity only what both patterns have in common can be known: a quarter is wrong.
    assert error < 0.015 if alpha == "full" else error > 0.2
