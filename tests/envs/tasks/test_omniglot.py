from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest

from plastic_rl import OmniglotTask, PlasticOmniglotEnv

SIZES = {"n_validation": 10, "n_test": 10}


def tell_apart(data):
    """For each drawing under each rotation: its character, its number and the rotation."""
    return {
        np.rot90(drawing, quarter).tobytes(): (character, number, quarter)
        for character, drawings in enumerate(data.images)
        for number, drawing in enumerate(drawings)
        for quarter in range(4)
    }


def identify(known, images):
    """(T, B, 961) to (T, B, 3): character, drawing and rotation of every image."""
    pixels = np.round(255 * images).astype(np.uint8)
    found = [known[image.tobytes()] for image in pixels.reshape(-1, 961)]
    return np.array(found).reshape(*images.shape[:2], 3)


def draw(data, batch=200, seed=0, pool=None, **arguments):
    task = OmniglotTask(data=data, **{**SIZES, **arguments})
    return task, task.sample_episodes(batch, np.random.default_rng(seed), **(pool or {}))


def match(episodes):
    """What a player says who names the query after the most similar drawing shown."""
    images, labels = episodes.observations["image"], episodes.observations["label"]
    nearest = ((images[:-1] - images[-1]) ** 2).sum(axis=-1).argmin(axis=0)
    return labels[nearest, np.arange(labels.shape[1])].argmax(axis=-1)


@pytest.fixture(scope="module")
def easy_data():
    """Characters whose drawings differ in a single pixel."""
    rng = np.random.default_rng(3)
    images = np.repeat((255 * (rng.random((40, 1, 31, 31)) < 0.1)).astype(np.uint8), 6, axis=1)
    for number in range(6):
        images[:, number, 0, number] ^= 255
    return images


def test_the_papers_numbers_are_the_default():
    images = np.zeros((1623, 20, 31, 31), np.uint8)
    env = gym.make("PlasticOmniglot-v0", data=images)
    assert isinstance(env.observation_space, gym.spaces.Dict)
    assert env.observation_space["image"] == gym.spaces.Box(0, 1, (961,), np.float32)
    assert env.observation_space["label"] == gym.spaces.Box(0, 1, (5,), np.float32)
    assert env.action_space == gym.spaces.Discrete(5)
    assert env.unwrapped.task.episode_length == 6
    sizes = {
        split: len(OmniglotTask(split=split, data=images).characters)
        for split in ("train", "validation", "test")
    }
    assert sizes == {"train": 1423, "validation": 100, "test": 100}
    assert len(OmniglotTask(data=images, n_validation=0).characters) == 1523


@pytest.mark.parametrize(
    ("n_way", "k_shot", "pool"),
    [
        (5, 1, None),
        (3, 4, None),
        (2, 5, None),
        (5, 1, {"pool_classes": 8}),
        (5, 1, {"pool_classes": 5, "pool_drawings": 2}),
        (3, 4, {"pool_classes": 20, "pool_drawings": 6}),
    ],
)
def test_an_episode_shows_each_class_and_asks_for_another_drawing(omniglot_data, n_way, k_shot, pool):
    task, episodes = draw(omniglot_data, n_way=n_way, k_shot=k_shot, pool=pool)
    images, labels = episodes.observations["image"], episodes.observations["label"]
    assert images.shape == (n_way * k_shot + 1, 200, 961)
    assert labels.shape == (n_way * k_shot + 1, 200, n_way)
    assert images.dtype == labels.dtype == np.float32
    assert set(np.unique(images)) == {0, 1}
    assert (labels[-1] == 0).all()
    assert (labels[:-1].sum(axis=-1) == 1).all()

    shown = identify(tell_apart(omniglot_data), images)
    label = labels.argmax(axis=-1)
    for episode in range(200):
        classes: dict[int, list[tuple]] = {}
        for (character, drawing, quarter), number in zip(
            shown[:-1, episode], label[:-1, episode], strict=True
        ):
            classes.setdefault(number, []).append((character, quarter, drawing))
        assert sorted(classes) == list(range(n_way))
        for drawings in classes.values():
            assert len(drawings) == len(set(drawings)) == k_shot
            assert len({one[:2] for one in drawings}) == 1
        assert len({drawings[0][0] for drawings in classes.values()}) == n_way
        character, drawing, quarter = shown[-1, episode]
        asked = classes[episodes.targets[episode]]
        assert (character, quarter) == asked[0][:2]
        assert drawing not in {one[2] for one in asked}
    assert set(shown[..., 0].ravel()) <= set(task.characters)


def test_a_pool_is_all_that_a_batch_shows(omniglot_data):
    _, episodes = draw(omniglot_data, pool={"pool_classes": 8, "pool_drawings": 3})
    shown = identify(tell_apart(omniglot_data), episodes.observations["image"]).reshape(-1, 3)
    assert len(np.unique(shown[:, [0, 2]], axis=0)) == 8
    assert len(np.unique(shown, axis=0)) == 24
    assert len(np.unique(shown[:, 2])) > 1


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ({"pool_classes": 4}, "pool_classes must be an integer of at least 5, got 4"),
        ({"pool_classes": 21}, "pool_classes must be at most 20 here, got 21"),
        ({"pool_classes": 8, "pool_drawings": 1}, "pool_drawings must be an integer of at least 2, got 1"),
        ({"pool_classes": 8, "pool_drawings": 7}, "pool_drawings must be at most 6 here, got 7"),
        ({"mirror": 1}, "mirror must be true or false, got 1"),
        ({"warp": -0.1}, "warp must be a finite number of at least 0, got -0.1"),
        ({"warp": 1}, "warp must be at least 0 and less than 1, got 1"),
    ],
)
def test_bad_ways_of_drawing_are_refused(omniglot_data, pool, message):
    with pytest.raises(ValueError, match=message):
        draw(omniglot_data, pool=pool)


@pytest.mark.parametrize("pool", [{}, {"pool_classes": 20, "pool_drawings": 6}])
def test_half_of_the_characters_are_mirrored_each_as_a_whole(omniglot_data, pool):
    _, episodes = draw(omniglot_data, k_shot=3, pool={**pool, "mirror": True})
    images = episodes.observations["image"]
    known = {key: (*found, 0) for key, found in tell_apart(omniglot_data).items()}
    flipped = SimpleNamespace(images=np.ascontiguousarray(omniglot_data.images[..., ::-1]))
    known |= {key: (*found, 1) for key, found in tell_apart(flipped).items()}
    pixels = np.round(255 * images).astype(np.uint8).reshape(-1, 961)
    shown = np.array([known[image.tobytes()] for image in pixels]).reshape(*images.shape[:2], 4)
    np.testing.assert_allclose(shown[..., 3].mean(), 0.5, atol=0.15 if pool else 0.05)
    labels = episodes.observations["label"].argmax(axis=-1)
    for episode in range(200):
        found = zip(labels[:-1, episode], shown[:-1, episode, 3], strict=True)
        pairs = set(found) | {(episodes.targets[episode], shown[-1, episode, 3])}
        assert len(pairs) == 5


@pytest.mark.parametrize("pool", [{}, {"pool_classes": 8, "pool_drawings": 3}])
def test_warped_drawings_are_near_what_they_were(omniglot_data, pool):
    square = np.zeros((*omniglot_data.images.shape[:2], 31, 31), np.uint8)
    square[..., 10:21, 10:21] = 255
    _, plain = draw(square, pool=pool)
    _, slightly = draw(square, pool={**pool, "warp": 1e-6})
    _, clearly = draw(square, pool={**pool, "warp": 0.1})
    images = [episodes.observations["image"] for episodes in (plain, slightly, clearly)]
    np.testing.assert_allclose(images[1], images[0], atol=1e-4)
    assert images[2].shape == images[0].shape
    assert images[2].dtype == np.float32
    assert images[2].min() >= 0
    assert images[2].max() <= 1 + 1e-6
    # A square of 11 keeps its inside, moves its edges by a few pixels, and nothing comes in from the borders.
    squares = images[2].reshape(*images[2].shape[:2], 31, 31)
    assert (squares[..., 14:17, 14:17] > 0.99).all()
    assert (squares[..., :6, :] == 0).all()
    assert (np.abs(images[2] - images[0]).max(axis=-1) > 0.1).all()
    np.testing.assert_allclose(squares.sum(axis=(-1, -2)).mean(), 121, rtol=0.05)
    different = len(np.unique(images[2].reshape(-1, 961), axis=0))
    assert different == (24 if pool else 6 * 200)


def test_ink_at_the_border_is_not_smeared(omniglot_data):
    line = np.zeros((*omniglot_data.images.shape[:2], 31, 31), np.uint8)
    line[..., 0, :] = 255
    _, episodes = draw(line, pool={"warp": 0.3})
    # A map of this size makes ink up to 1 / (.7^2 - .3^2) times as large; a smear would fill the shift.
    ink = episodes.observations["image"].sum(axis=-1)
    assert 0.2 * 31 < ink.mean() < 31
    assert ink.max() < 2.5 * 31


def test_everything_is_drawn_evenly(omniglot_data):
    _, episodes = draw(omniglot_data, 2000)
    shown = identify(tell_apart(omniglot_data), episodes.observations["image"])
    share = np.unique(shown[:-1, :, 0], return_counts=True)[1] / 10_000
    np.testing.assert_allclose(share, 1 / 20, atol=0.01)
    np.testing.assert_allclose(np.bincount(shown[-1, :, 1]) / 2000, 1 / 6, atol=0.03)
    np.testing.assert_allclose(np.bincount(shown[:-1, :, 2].ravel()) / 10_000, 1 / 4, atol=0.02)
    np.testing.assert_allclose((shown[0, :, 2] == shown[1, :, 2]).mean(), 1 / 4, atol=0.03)
    np.testing.assert_allclose(np.bincount(episodes.targets) / 2000, 1 / 5, atol=0.03)
    # Neither the order of the drawings nor that of the labels tells the answer.
    position = (episodes.observations["label"].argmax(axis=-1)[:-1] == episodes.targets).argmax(axis=0)
    np.testing.assert_allclose(np.bincount(position) / 2000, 1 / 5, atol=0.03)
    np.testing.assert_allclose((position == episodes.targets).mean(), 1 / 5, atol=0.03)


def test_drawings_of_a_class_come_in_mixed_order(omniglot_data):
    _, episodes = draw(omniglot_data, k_shot=3)
    labels = episodes.observations["label"][:-1].argmax(axis=-1)
    in_blocks = (labels.reshape(5, 3, -1) == labels.reshape(5, 3, -1)[:, :1]).all(axis=(0, 1))
    assert in_blocks.mean() < 0.05


@pytest.mark.parametrize("class_split", ["paper", "alphabets"])
def test_splits_have_no_character_in_common(omniglot_data, class_split):
    def split(name, seed, **arguments):
        arguments = {**SIZES, "class_split": class_split, "split_seed": seed, **arguments}
        return OmniglotTask(data=omniglot_data, split=name, **arguments).characters

    parts = [split(name, 0) for name in ("train", "validation", "test")]
    assert sorted(np.concatenate(parts)) == list(range(40))
    again = [split(name, 0) for name in ("train", "validation", "test")]
    for one, other in zip(parts, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert list(split("validation", 0)) != list(split("validation", 1))
    np.testing.assert_array_equal(split("test", 0, n_validation=5), parts[2])
    if class_split == "paper":
        assert [len(part) for part in parts] == [20, 10, 10]
        assert list(split("test", 0)) != list(split("test", 1))
    else:
        assert [len(part) for part in parts] == [15, 10, 15]
        np.testing.assert_array_equal(parts[2], np.flatnonzero(~omniglot_data.background))
        named = [set(omniglot_data.alphabets[part]) for part in parts]
        assert [len(names) for names in named] == [3, 2, 3]


def test_episodes_stay_in_their_split(omniglot_data):
    known = tell_apart(omniglot_data)
    seen = []
    for split in ("train", "validation", "test"):
        task, episodes = draw(omniglot_data, split=split)
        seen.append(set(identify(known, episodes.observations["image"])[..., 0].ravel()))
        assert seen[-1] == set(task.characters)
    assert not seen[0] & seen[1]
    assert not (seen[0] | seen[1]) & seen[2]


def test_labels_can_be_learned_from_the_episode_and_not_when_shuffled(easy_data):
    task, episodes = draw(easy_data, 2000)
    assert task.score(episodes, match(episodes)).mean() > 0.999
    task, episodes = draw(easy_data, 2000, shuffle_labels=True)
    np.testing.assert_allclose(task.score(episodes, match(episodes)).mean(), 0.2, atol=0.03)
    labels = episodes.observations["label"]
    assert (labels[:-1].sum(axis=0) == 1).all()


def test_shuffled_labels_still_agree_within_a_class(omniglot_data):
    _, episodes = draw(omniglot_data, k_shot=3, shuffle_labels=True)
    shown = identify(tell_apart(omniglot_data), episodes.observations["image"])[:-1, :, 0]
    labels = episodes.observations["label"][:-1].argmax(axis=-1)
    for episode in range(200):
        assert len(set(zip(shown[:, episode], labels[:, episode], strict=True))) == 5


def test_perfect_and_blind_players(omniglot_data):
    env = PlasticOmniglotEnv(data=omniglot_data, **SIZES)
    rewards: dict[str, list[float]] = {"perfect": [], "blind": []}
    for seed in range(300):
        for player, seen in rewards.items():
            _, info = env.reset(seed=seed)
            action = info["target"] if player == "perfect" else 2
            for _ in range(6):
                _, reward, terminated, _, info = env.step(action)
            assert terminated
            assert info["accuracy"] == reward
            seen.append(reward)
    assert set(rewards["perfect"]) == {1.0}
    np.testing.assert_allclose(np.mean(rewards["blind"]), 0.2, atol=0.07)


def test_a_picture_shows_drawings_query_answer_and_truth(omniglot_data):
    green, red, blue = (0, 158, 115), (213, 94, 0), (0, 114, 178)
    env = PlasticOmniglotEnv(data=omniglot_data, **SIZES, render_mode="rgb_array")

    def colours():
        frame = env.render()
        assert frame.shape[0] % 16 == frame.shape[1] % 16 == 0
        return [(frame == colour).all(axis=-1).sum() > 100 for colour in (green, red, blue)]

    for wrong in (False, True):
        _, info = env.reset(seed=0)
        for _ in range(5):
            assert colours() == [False, False, True]
            env.step(0)
        assert colours() == [True, False, True]
        env.step((info["target"] + wrong) % 5)
        assert colours() == [True, wrong, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev"}, r"split must be one of train, validation, test, got 'dev'"),
        ({"class_split": "mine"}, r"class_split must be one of paper, alphabets, got 'mine'"),
        ({"n_way": 1}, "n_way must be an integer of at least 2, got 1"),
        ({"n_way": 21}, "n_way must be at most the 20 characters of split 'train', got 21"),
        ({"n_way": 11, "split": "test"}, "n_way must be at most the 10 characters of split 'test', got 11"),
        ({"k_shot": 0}, "k_shot must be an integer of at least 1, got 0"),
        ({"k_shot": 6}, "k_shot must be less than the 6 drawings of a character, got 6"),
        ({"split_seed": -1}, "split_seed must be an integer of at least 0, got -1"),
        ({"split_seed": None}, "split_seed must be an integer of at least 0, got None"),
        ({"n_validation": -1}, "n_validation must be an integer of at least 0, got -1"),
        ({"n_test": 31}, r"n_validation \+ n_test must be at most the 40 characters .*, got 10 \+ 31"),
        ({"n_test": 0.5}, "n_test must be an integer of at least 0, got 0.5"),
        ({"shuffle_labels": 1}, "shuffle_labels must be true or false, got 1"),
        ({"data": 3}, r"uint8 array of shape \(characters, drawings, 31, 31\) or .*'images', got 3"),
        ({"data": np.zeros((40, 6, 31, 31))}, r"got float64 \(40, 6, 31, 31\)"),
        (
            {"data": SimpleNamespace(images=np.zeros((40, 6, 28, 28), np.uint8))},
            r"got uint8 \(40, 6, 28, 28\)",
        ),
        (
            {"data": np.zeros((40, 6, 31, 31), np.uint8), "class_split": "alphabets"},
            "alphabets and background for each of the 40 characters, got 0 and 0",
        ),
    ],
)
def test_bad_arguments_are_refused(omniglot_data, arguments, message):
    with pytest.raises(ValueError, match=message):
        PlasticOmniglotEnv(**{"data": omniglot_data, **SIZES, **arguments})


def test_missing_data_is_said_and_not_downloaded(tmp_path):
    with pytest.raises(FileNotFoundError, match="plastic-rl data fetch"):
        gym.make("PlasticOmniglot-v0", data=str(tmp_path))
