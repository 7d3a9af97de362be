from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest

from plastic_rl import ImageCompletionTask, PlasticImageCompletionEnv
from plastic_rl.envs.tasks.image_completion import grey


def draw(data, batch=8, seed=0, **arguments):
    task = ImageCompletionTask(data=data, **arguments)
    return task, task.sample_episodes(batch, np.random.default_rng(seed))


def rows(images):
    return {image.tobytes() for image in images.reshape(-1, 1024)}


def test_the_papers_numbers_are_the_default(cifar10_data):
    env = gym.make("PlasticImageCompletion-v0", data=cifar10_data)
    assert env.observation_space == env.action_space == gym.spaces.Box(-1, 1, (1024,), np.float32)
    task = env.unwrapped.task
    assert (task.n_items, task.show_steps, task.blank_steps, task.n_passes, task.probe_steps) == (
        3,
        20,
        3,
        3,
        3,
    )
    assert task.episode_length == 3 * 3 * (20 + 3) + 3 == 210
    assert (task.split, task.erase) == ("train", "half")


def test_grey_images_are_centred_and_scaled(cifar10_data):
    pixels = grey(cifar10_data.train)
    assert (pixels.shape, pixels.dtype) == ((30, 1024), np.float32)
    np.testing.assert_allclose(pixels.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_array_equal(np.abs(pixels).max(axis=1), 1)
    expected = cifar10_data.train.astype(float).mean(axis=1).reshape(30, 1024)
    expected -= expected.mean(axis=1, keepdims=True)
    expected /= np.abs(expected).max(axis=1, keepdims=True)
    np.testing.assert_allclose(pixels, expected, atol=1e-6)


def test_rows_are_pixel_rows():
    image = np.zeros((1, 3, 32, 32), np.uint8)
    image[0, 1, 4, 7] = 255
    assert grey(image).argmax() == 4 * 32 + 7


@pytest.mark.parametrize("colour", [(0, 0, 0), (100, 100, 101), (255, 255, 255)])
def test_an_image_of_one_colour_has_nothing_to_show(colour):
    image = np.broadcast_to(np.array(colour, np.uint8)[:, None, None], (1, 3, 32, 32))
    np.testing.assert_array_equal(grey(image), np.zeros((1, 1024)))


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_episode_shows_different_images_of_its_split(cifar10_data, split):
    _, episodes = draw(cifar10_data, split=split)
    slots = episodes.observations[:207].reshape(3, 3, 23, 8, 1024)
    assert (slots[:, :, :20] == slots[:, :, :1]).all()
    assert (slots[:, :, 20:] == 0).all()
    allowed = rows(grey(getattr(cifar10_data, split)))
    for episode in range(8):
        passes = [rows(slots[number, :, 0, episode]) for number in range(3)]
        assert len(passes[0]) == 3
        assert passes[0] == passes[1] == passes[2]
        assert passes[0] <= allowed
        assert episodes.targets[episode].tobytes() in passes[0]


def test_images_of_an_episode_are_all_different(cifar10_data):
    arguments = {"split": "test", "n_images": 20, "show_steps": 1, "blank_steps": 0, "n_passes": 1}
    _, episodes = draw(cifar10_data, **arguments)
    for episode in range(8):
        assert rows(episodes.observations[:20, episode]) == rows(grey(cifar10_data.test))


def test_half_erases_the_upper_or_the_lower_half(cifar10_data):
    _, episodes = draw(cifar10_data, 200, show_steps=1, n_passes=1)
    probe = episodes.observations[-3:]
    assert (probe == probe[0]).all()
    upper, lower = (probe[0, :, :512] == 0).all(axis=1), (probe[0, :, 512:] == 0).all(axis=1)
    assert (upper != lower).all()
    assert 60 < upper.sum() < 140
    np.testing.assert_array_equal(probe[0][upper, 512:], episodes.targets[upper, 512:])
    np.testing.assert_array_equal(probe[0][lower, :512], episodes.targets[lower, :512])


def test_random_erases_half_of_the_pixels_anywhere(cifar10_data):
    _, episodes = draw(cifar10_data, 200, erase="random", show_steps=1, n_passes=1)
    is_erased = episodes.observations[-1] != episodes.targets
    # Pixels that are exactly 0 do not change when they are erased.
    assert (is_erased.sum(axis=1) <= 512).all()
    assert is_erased.sum() > 0.99 * 512 * 200
    np.testing.assert_allclose(is_erased.mean(axis=0), 0.5, atol=0.2)
    assert (episodes.observations[-1][is_erased] == 0).all()


def test_perfect_and_blind_players(cifar10_data):
    env = PlasticImageCompletionEnv(data=cifar10_data, split="test")

    def play(act):
        observation, info = env.reset(seed=3)
        for _ in range(210):
            observation, reward, terminated, _, info = env.step(act(observation, info))
        assert terminated
        return reward, info

    reward, info = play(lambda observation, info: info["target"])
    assert (reward, info["squared_error"], info["erased_squared_error"]) == (0, 0, 0)
    blind, info = play(lambda observation, info: np.zeros(1024))
    energy = (info["target"] ** 2).sum()
    np.testing.assert_allclose([blind, info["squared_error"]], [-energy / 1024, energy], rtol=1e-5)
    assert info["erased_squared_error"] < 0.8 * energy
    erased_part = info["erased_squared_error"]
    copied, info = play(lambda observation, info: observation)
    assert blind < copied < 0
    np.testing.assert_allclose(
        [info["squared_error"], info["erased_squared_error"]], [erased_part, erased_part], rtol=1e-5
    )


def test_a_picture_shows_images_probe_answer_and_truth(cifar10_data):
    env = PlasticImageCompletionEnv(
        data=cifar10_data, n_passes=1, show_steps=1, blank_steps=0, render_mode="rgb_array"
    )
    env.reset(seed=0)
    orange, frames = [], []
    for _ in range(6):
        frames.append(env.render())
        orange.append((frames[-1] == (240, 196, 100)).all(axis=-1).sum())
        env.step(np.ones(1024))
    frames.append(env.render())
    assert orange[:3] == [0, 0, 0]
    # Half of a picture of 32 x 32 pixels, each drawn 5 x 5.
    assert orange[3:] == [512 * 25] * 3
    assert all(frame.shape == frames[0].shape for frame in frames)
    assert (frames[3] == 255).all(axis=-1).sum() + 1024 * 25 <= (frames[6] == 255).all(axis=-1).sum()


def test_data_may_be_one_array(cifar10_data):
    for split in ("train", "test"):
        assert ImageCompletionTask(data=cifar10_data.test, split=split).images is cifar10_data.test


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "validation"}, r"split must be one of train, test, got 'validation'"),
        ({"erase": "left"}, r"erase must be one of half, random, got 'left'"),
        ({"erase": None}, r"erase must be one of half, random, got None"),
        ({"n_images": 0}, "n_images must be an integer of at least 1, got 0"),
        ({"n_images": 31}, "n_images must be at most the 30 images of split 'train', got 31"),
        ({"n_images": 21, "split": "test"}, "n_images must be at most the 20 images of split 'test', got 21"),
        ({"show_steps": 0}, "show_steps must be an integer of at least 1, got 0"),
        ({"data": 3}, r"data must be a path, a uint8 array of shape \(n, 3, 32, 32\) .*'train', got 3"),
        ({"data": np.zeros((9, 3, 32, 32))}, r"got float64 \(9, 3, 32, 32\)"),
        ({"data": np.zeros((9, 32, 32), np.uint8)}, r"got uint8 \(9, 32, 32\)"),
        ({"data": SimpleNamespace(train=np.zeros((9, 3, 31, 31), np.uint8))}, r"got uint8 \(9, 3, 31, 31\)"),
    ],
)
def test_bad_arguments_are_refused(cifar10_data, arguments, message):
    with pytest.raises(ValueError, match=message):
        PlasticImageCompletionEnv(**{"data": cifar10_data, **arguments})


def test_missing_data_is_said_and_not_downloaded(tmp_path):
    with pytest.raises(FileNotFoundError, match="plastic-rl data fetch"):
        gym.make("PlasticImageCompletion-v0", data=str(tmp_path))
