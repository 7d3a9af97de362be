"""Erasures and images that are not those of the training: the level of grey, and the table."""

import gymnasium as gym
import numpy as np
import pytest

from benchmarks.science import supervised_erasures
from plastic_rl import SupervisedMetaLearner

SHORT = {"n_images": 1, "show_steps": 1, "blank_steps": 0, "n_passes": 1, "probe_steps": 1}


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)


def test_drawings_get_a_margin_and_three_equal_colours() -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (2, 3, 31, 31), dtype=np.uint8)
    images = supervised_erasures.drawings(drawn)
    assert images.shape == (6, 3, 32, 32)
    assert images.dtype == np.uint8
    assert np.array_equal(images[4, 1, :31, :31], drawn[1, 1])
    assert not images[:, :, 31].any()
    assert not images[:, :, :, 31].any()


def test_grey_has_the_energy_of_what_is_erased(images: np.ndarray) -> None:
    env = gym.make("PlasticImageCompletion-v0", split="test", data=images, **SHORT)
    errors = supervised_erasures.grey(env, 3)
    drawn = env.get_wrapper_attr("task").sample_episodes(
        3, np.random.default_rng(supervised_erasures.TEST_SEED)
    )
    upper = (drawn.targets[:, :512] ** 2).sum(-1)
    lower = (drawn.targets[:, 512:] ** 2).sum(-1)
    assert all(min(abs(error - upper[i]), abs(error - lower[i])) < 1e-3 for i, error in enumerate(errors))


def test_the_table_has_a_row_for_what_is_completed_and_a_column_for_each_training(images: np.ndarray) -> None:
    envs = {
        erase: gym.make("PlasticImageCompletion-v0", split="test", erase=erase, data=images, **SHORT)
        for erase in supervised_erasures.ERASURES
    }
    models = [SupervisedMetaLearner("AutoassociatorPolicy", envs["half"], seed=seed) for seed in (0, 1)]
    header, _, *rows = supervised_erasures.table({"trained": models}, envs, 4).strip().splitlines()
    assert header == "| completed | grey | trained |"
    assert [row.split(" | ")[0] for row in rows] == ["| half", "| random"]
    assert all(len(row.split(" | ")[2].split(", ")) == 2 for row in rows)
