"""What commands are told of a model, by the model itself."""

from types import SimpleNamespace

import pytest

from plastic_rl.envs import EpisodicTaskEnv, PatternMemoryTask
from plastic_rl.training.description import Description, describe
from plastic_rl.training.supervised import SupervisedMetaLearner


@pytest.mark.parametrize(("n_steps", "n_envs", "rows"), [(5, 16, 25), (250, 64, 1), (20, 10, 10)])
def test_an_on_policy_algorithm_logs_every_2000_steps(n_steps: int, n_envs: int, rows: int) -> None:
    model = SimpleNamespace(n_steps=n_steps, n_envs=n_envs)
    assert describe(model) == Description(batches=f"{n_envs} environments", log_interval=rows)


def test_the_learner_of_whole_episodes_says_so() -> None:
    env = EpisodicTaskEnv(PatternMemoryTask(n_bits=8))
    description = describe(SupervisedMetaLearner("PlasticRNNPolicy", env, batch_size=3, device="cpu"))
    assert description.batches == "batches of 3 episodes"
    assert description.whole_episodes
    assert description.resumes_exactly


def test_an_algorithm_of_ones_own_is_asked() -> None:
    own = Description(batches="whatever it finds", log_interval=3)
    assert describe(SimpleNamespace(describe=lambda: own)) is own
