import numpy as np
import pytest

from plastic_rl import SupervisedMetaLearner, evaluate_episodes
from plastic_rl.envs import EpisodicTaskEnv, PairsTask, PlasticPairsEnv

ARGUMENTS = [
    {},
    {"n_pairs": 3, "blank_steps": 2, "answer_delay": 0},
    {"n_pairs": 4, "cues": "fixed", "n_answers": 3, "cue_size": 4},
]


@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_an_episode_is_the_environments_up_to_the_first_answer(arguments):
    """The same generator draws the same lifetime for both: only the questions after the first are missing."""
    env, task = PlasticPairsEnv(**arguments), PairsTask(**arguments)
    assert (env.observation_space, env.action_space) == (task.observation_space, task.action_space)
    observation, info = env.reset(seed=3)
    observations = [observation]
    while "target" not in info:
        observation, _, _, _, info = env.step(0)
        observations.append(observation)
    episodes = task.sample_episodes(1, np.random.Generator(np.random.PCG64(3)))
    assert len(observations) == task.episode_length
    assert isinstance(episodes.observations, np.ndarray)
    np.testing.assert_array_equal(episodes.observations[:, 0], observations)
    assert episodes.targets.tolist() == [info["target"]]


@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_every_pair_may_be_asked_for(arguments):
    task = PairsTask(**arguments)
    episodes = task.sample_episodes(2000, np.random.default_rng(0))
    assert isinstance(episodes.observations, np.ndarray)
    shown = episodes.observations[: 2 * task.n_pairs : 2, :, : task.cue_size]
    cue = episodes.observations[-1 if arguments.get("answer_delay") == 0 else -2, :, : task.cue_size]
    asked = (shown == cue).all(axis=2)
    assert (asked.sum(axis=0) == 1).all()
    counts = asked.sum(axis=1)
    assert (np.abs(counts - 2000 / task.n_pairs) < 5 * np.sqrt(2000 / task.n_pairs)).all()
    told = episodes.observations[1 : 2 * task.n_pairs : 2, :, task.cue_size : -2].argmax(axis=2)
    np.testing.assert_array_equal(told.T[asked.T], episodes.targets)


def test_score_and_metrics():
    task = PairsTask()
    episodes = task.sample_episodes(4, np.random.default_rng(0))
    actions = episodes.targets.copy()
    actions[1] = (actions[1] + 1) % 4
    assert task.score(episodes, actions).tolist() == [1, 0, 1, 1]
    assert task.metrics(episodes, actions)["accuracy"].tolist() == [1, 0, 1, 1]


def test_the_learner_trains_on_it():
    env = EpisodicTaskEnv(PairsTask(n_pairs=2, cue_size=4, n_answers=2))
    model = SupervisedMetaLearner(
        "PlasticRNNPolicy",
        env,
        learning_rate=1e-2,
        batch_size=32,
        seed=0,
        device="cpu",
        policy_kwargs={"hidden_size": 24, "rule": "modulated"},
    )
    before = evaluate_episodes(model, env, 400, seed=1)["accuracy"].mean
    model.learn(32 * 6 * 75)
    after = evaluate_episodes(model, env, 400, seed=1)["accuracy"].mean
    assert before < 0.6 < 0.95 < after
