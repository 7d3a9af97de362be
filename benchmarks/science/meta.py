"""Supervised training of a network on an episodic task, and its errors in a test: one run of a comparison."""

import time
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

import plastic_rl
from benchmarks.science.sweep import Result
from plastic_rl.envs import Episodes, EpisodicTask

TEST_EPISODES, TEST_SEED = 20_000, 10_000


class Curve(BaseCallback):
    """Notes the share of wrong answers in training, the mean over so many updates."""

    def __init__(self, interval: int = 500) -> None:
        super().__init__()
        self.interval = interval
        self.errors: list[float] = []
        self.curve: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        self.errors.append(1.0 - float(np.mean(self.locals["rewards"])))
        if len(self.errors) == self.interval:
            updates = (len(self.curve) + 1) * self.interval
            self.curve.append((updates, round(float(np.mean(self.errors)), 4)))
            self.errors = []
        return True


def train_learner(
    policy: str,
    env: plastic_rl.EpisodicTaskEnv,
    given: dict[str, Any],
    seed: int,
    callback: BaseCallback | None = None,
) -> tuple[plastic_rl.SupervisedMetaLearner, float]:
    """A model that was trained with a learning rate that falls to 0, and the processor seconds of that.

    given: `updates`, `batch_size`, `learning_rate` and `policy_kwargs`; the gradient's norm is bounded where
        there is a `max_grad_norm`
    """
    rate = given["learning_rate"]
    model = plastic_rl.SupervisedMetaLearner(
        policy,
        env,
        learning_rate=lambda left: rate * left,
        batch_size=given["batch_size"],
        max_grad_norm=given.get("max_grad_norm"),
        policy_kwargs=given["policy_kwargs"],
        seed=seed,
        device="cpu",
    )
    processor = time.process_time()
    model.learn(given["updates"] * given["batch_size"] * env.task.episode_length, callback=callback)
    return model, time.process_time() - processor


def meta_train(task: EpisodicTask, given: dict[str, Any], seed: int) -> Result:
    """Train a PlasticRNNPolicy, then answer fresh episodes.

    Args:
        task: whose score is 1 where the answer is right, and otherwise 0.
        given: see `train_learner`.
        seed: of the training; the test has one of its own.

    Returns:
        the test's share of wrong answers, the training's curve, processor seconds and number of weights.
    """
    curve = Curve()
    env = plastic_rl.EpisodicTaskEnv(task)
    model, processor = train_learner("PlasticRNNPolicy", env, given, seed, curve)
    episodes = task.sample_episodes(TEST_EPISODES, np.random.default_rng(TEST_SEED + seed))
    assert isinstance(episodes.observations, np.ndarray)
    right = 0.0
    for begin in range(0, TEST_EPISODES, 1000):
        part = Episodes(
            episodes.observations[:, begin : begin + 1000], episodes.targets[begin : begin + 1000]
        )
        with torch.no_grad():
            outputs = model.policy(torch.as_tensor(part.observations))
        right += float(task.score(part, model.policy.answers(outputs)).sum())
    return {
        "error": round(1.0 - right / TEST_EPISODES, 5),
        "curve": curve.curve,
        "processor_seconds": round(processor, 1),
        "weights": sum(parameter.numel() for parameter in model.policy.parameters()),
    }


def updates_to(curve: list[tuple[int, float]], error: float) -> str:
    """Updates until the training's error was so small."""
    reached = [updates for updates, value in curve if value <= error]
    return f"{reached[0]:,}" if reached else "never"
