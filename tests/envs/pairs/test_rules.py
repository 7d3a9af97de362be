import numpy as np
import pytest

from plastic_rl.envs.pairs.rules import Pairs, PairsOptions


def draw(n, seed=0, **arguments):
    return Pairs(PairsOptions(**arguments)).draw(np.random.default_rng(seed), n)


@pytest.mark.parametrize(
    ("n_pairs", "cue_size"), [(8, 16), (8, 3), (7, 3), (2, 1), (20, 9), (24, 9), (5, 62), (5, 63), (64, 100)]
)
def test_cues_of_a_lifetime_are_different_random_signs(n_pairs, cue_size):
    cues = draw(200, n_pairs=n_pairs, cue_size=cue_size).cues
    assert cues.shape == (200, n_pairs, cue_size)
    assert cues.dtype == np.float32
    assert set(np.unique(cues)) == {-1, 1}
    for of_one_lifetime in cues:
        assert len(np.unique(of_one_lifetime, axis=0)) == n_pairs
    n_signs = cues.size // cue_size
    assert (np.abs(cues.mean(axis=(0, 1))) < 5 / np.sqrt(n_signs)).all()


@pytest.mark.parametrize("n_pairs", [2, 4])
def test_every_set_of_cues_is_as_likely(n_pairs):
    """Two signs have four cues: twelve ordered pairs of them, or 24 orders of all."""
    cues = draw(24_000, n_pairs=n_pairs, cue_size=2).cues
    codes = ((cues > 0) @ np.array([1, 2])) @ 4 ** np.arange(n_pairs)
    _, counts = np.unique(codes, return_counts=True)
    expected = 24_000 / (12 if n_pairs == 2 else 24)
    assert len(counts) * expected == 24_000
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_answers_and_orders_are_uniform():
    life = draw(24_000, n_pairs=3)
    counts = np.bincount(life.answers.ravel(), minlength=4)
    assert (np.abs(counts - 18_000) < 5 * np.sqrt(18_000)).all()
    asked = life.pairs[:, 6:12:2]
    assert (np.sort(asked, axis=1) == np.arange(3)).all()
    _, counts = np.unique(asked @ np.array([1, 3, 9]), return_counts=True)
    assert len(counts) == 6
    assert (np.abs(counts - 4000) < 5 * np.sqrt(4000)).all()


def test_changes_hit_every_pair_and_every_other_answer_alike():
    life = draw(12_000, n_pairs=4, n_changes=1)
    before, after = life.answers[:, 0], life.answers[:, 1]
    rows, changed = np.nonzero(before != after)
    np.testing.assert_array_equal(rows, np.arange(12_000))
    np.testing.assert_array_equal(life.pairs[:, 16], changed)
    counts = np.bincount(changed, minlength=4)
    assert (np.abs(counts - 3000) < 5 * np.sqrt(3000)).all()
    steps = (after - before)[rows, changed] % 4
    counts = np.bincount(steps, minlength=4)
    assert counts[0] == 0
    assert (np.abs(counts[1:] - 4000) < 5 * np.sqrt(4000)).all()


def test_the_number_of_pairs_is_uniform_over_its_range():
    life = draw(9000, n_pairs=(2, 4), n_changes=2, blank_steps=1)
    counts = np.bincount(life.counts)
    assert (np.abs(counts[2:] - 3000) < 5 * np.sqrt(3000)).all()
    np.testing.assert_array_equal(life.lengths, 6 * life.counts + 2 * 2 + 2)
    for number in (2, 3, 4):
        rows = life.counts == number
        assert life.pairs[rows].max() == number - 1
        assert ((life.targets[rows] >= 0).sum(axis=1) == 2 * number).all()
        asked = np.where(life.targets[rows] >= 0, life.pairs[rows], -1)
        for pair in range(number):
            assert ((asked == pair).sum(axis=1) == 2).all()
        changed = (life.answers[rows, 0] != life.answers[rows, 1])[:, :number]
        assert (changed.sum(axis=1) == 2).all()
        past = np.arange(life.pairs.shape[1]) >= life.lengths[rows, None]
        assert (life.pairs[rows][past] == -1).all()
        assert not life.observations[rows][past].any()


def test_the_generator_is_the_only_source_of_chance():
    one, two, other = (draw(5, seed, n_pairs=(2, 6)) for seed in (0, 0, 1))
    for left, right in zip(one, two, strict=True):
        np.testing.assert_array_equal(left, right)
    assert (one.cues != other.cues).any()
    assert (one.pairs != other.pairs).any()
