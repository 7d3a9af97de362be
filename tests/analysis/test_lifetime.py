"""Recorded lifetimes: what is counted in them, and what a lesion does to the trace."""

from typing import Any

import numpy as np
import pytest
import torch

from plastic_rl.analysis.lesions import Lesion, freeze, wipe
from plastic_rl.analysis.lifetime import Lifetimes, joined, record_lifetimes
from plastic_rl.training.a2c import PlasticA2C

SHORT = {"max_episode_steps": 60}
ENV_ID = "PlasticMaze-v0"


def make_model(env: str = ENV_ID, **policy_kwargs: Any) -> PlasticA2C:
    settings = {"hidden_size": 7, "eta": 0.2, "alpha_init": 4.0, "w_init": 0.5, "backend": "reference"}
    return PlasticA2C("MlpPolicy", env, seed=0, device="cpu", policy_kwargs={**settings, **policy_kwargs})


@pytest.fixture(scope="module")
def model() -> PlasticA2C:
    return make_model()


def record(model: PlasticA2C, **options: Any) -> Lifetimes:
    return record_lifetimes(model, ENV_ID, SHORT, **{"episodes": 12, "seed": 3, **options})


@pytest.fixture(scope="module")
def lives(model: PlasticA2C) -> Lifetimes:
    return record(model, keep_traces=True)


def traces(lives: Lifetimes) -> np.ndarray:
    """The traces of lifetimes that were recorded with them."""
    assert lives.traces is not None
    return lives.traces


def positions(lives: Lifetimes) -> np.ndarray:
    """Where the agent was in lifetimes in a maze."""
    assert lives.positions is not None
    return lives.positions


def made_up() -> Lifetimes:
    """Three lifetimes: hits after 2, 3 and 6 steps; one that ends after 4 steps; one without a hit."""
    rewards = np.zeros((6, 3))
    rewards[[1, 2, 5], 0] = 10
    rewards[0, 1], rewards[3, 1], rewards[4:, 1] = -0.5, 10, np.nan
    return Lifetimes(rewards)


def test_returns_and_hits() -> None:
    lives = made_up()
    assert lives.returns.tolist() == [30, 9.5, 0]
    assert lives.second_half_returns.tolist() == [10, 10, 0]
    assert lives.hits.sum(axis=0).tolist() == [3, 1, 0]
    assert lives.first_hits.tolist() == [1, 3, 6]


def test_search_times() -> None:
    inf = np.inf
    assert made_up().search_times(4).T.tolist() == [[2, 1, 3, inf], [4, inf, inf, inf], [inf] * 4]
    with pytest.raises(ValueError, match="hits must be at least 1"):
        made_up().search_times(0)


def test_rewards_around_the_first_hit() -> None:
    nan = np.nan
    aligned = made_up().around_first_hit(before=2, after=3)
    expected = [[nan, 0, 10, 10, 0, 0], [0, 0, 10, nan, nan, nan], [nan] * 6]
    np.testing.assert_array_equal(aligned.T, expected)


def test_what_happened_obeys_the_rules_of_the_maze(lives: Lifetimes) -> None:
    assert lives.rewards.shape == (60, 12)
    assert lives.positions is not None
    assert lives.positions.shape == (61, 12, 2)
    assert lives.goals.shape == (12, 2)
    assert (lives.positions[0] == 5).all()
    assert lives.hits.any()
    assert set(np.unique(lives.rewards.round(3))) == {-0.1, 0.0, 10.0}
    steps = np.abs(np.diff(lives.positions, axis=0)).sum(axis=2)
    np.testing.assert_array_equal(steps[lives.rewards == 0], 1)
    np.testing.assert_array_equal(steps[lives.rewards < 0], 0)
    assert not (lives.positions == lives.goals).all(axis=2).any()


def test_the_same_seed_gives_the_same_lifetimes(model: PlasticA2C, lives: Lifetimes) -> None:
    before = torch.get_rng_state()
    again = record(model)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(again.rewards, lives.rewards)
    assert not np.array_equal(record(model, seed=4).rewards, lives.rewards)


def test_batches_make_different_lifetimes_of_the_right_number(model: PlasticA2C) -> None:
    lives = record(model, episodes=10, batch=4)
    assert lives.rewards.shape == (60, 10)
    places = positions(lives)
    assert places.shape == (61, 10, 2)
    assert not np.array_equal(places[:, :4], places[:, 4:8])
    neighbour = record(model, episodes=4, seed=4)
    assert not np.array_equal(positions(neighbour), places[:, 4:8])


def test_traces_follow_hebbs_rule(model: PlasticA2C, lives: Lifetimes) -> None:
    trace = traces(lives)
    assert trace.shape == (61, 12, 7, 7)
    assert not trace[0].any()
    assert np.abs(trace[-1]).mean() > 0.01
    # H_{t+1} - (1 - eta) H_t = eta y_{t-1} y_t: a matrix of rank one.
    added = trace[1:] - 0.8 * trace[:-1]
    size = np.linalg.svd(added, compute_uv=False)
    assert size[1:, :, 0].mean() > 0.1
    assert size[..., 1].max() < 1e-5


def test_deterministic_actions_are_another_choice(model: PlasticA2C, lives: Lifetimes) -> None:
    assert not np.array_equal(record(model, deterministic=True).rewards, lives.rewards)


def test_wiping_before_every_step_is_having_no_plasticity(model: PlasticA2C, lives: Lifetimes) -> None:
    plain = make_model()
    plain.set_parameters(model.get_parameters())
    with torch.no_grad():
        plain.policy.get_parameter("core.alpha").zero_()
    wiped = record(model, lesions=wipe(), keep_traces=True)
    np.testing.assert_array_equal(wiped.positions, record(plain).positions)
    assert not traces(wiped)[:-1].any()
    assert not np.array_equal(wiped.positions, lives.positions)
    # The problems stay the same.
    np.testing.assert_array_equal(wiped.goals, lives.goals)


@pytest.mark.parametrize("effect", ["freeze", "wipe", "wipe_once"])
def test_a_lesion_at_a_step(effect: Any, model: PlasticA2C, lives: Lifetimes) -> None:
    changed = traces(record(model, lesions=Lesion(effect, 20), keep_traces=True))
    np.testing.assert_array_equal(changed[:20], traces(lives)[:20])
    after = changed[20:-1]
    if effect == "freeze":
        np.testing.assert_array_equal(after, np.broadcast_to(traces(lives)[20], after.shape))
    else:
        assert not after[0].any()
        assert after[1:].any() == (effect == "wipe_once")


@pytest.mark.parametrize("delay", [0, 1, 5])
def test_a_lesion_after_the_first_hit(delay: int, model: PlasticA2C, lives: Lifetimes) -> None:
    changed = record(model, lesions=freeze("first_hit", delay), keep_traces=True)
    np.testing.assert_array_equal(changed.first_hits, lives.first_hits)
    early = 0
    for i, hit in enumerate(lives.first_hits):
        begin = min(hit + 1 + delay, 60)
        np.testing.assert_array_equal(traces(changed)[:begin, i], traces(lives)[:begin, i])
        frozen = traces(changed)[begin:-1, i]
        np.testing.assert_array_equal(
            frozen, np.broadcast_to(traces(lives)[begin, i] if len(frozen) else 0, frozen.shape)
        )
        early += begin < 50
    assert early >= 3


def test_shorter_lifetimes_are_filled_up_with_nan() -> None:
    model = make_model("CartPole-v1")
    lives = record_lifetimes(model, "CartPole-v1", episodes=6, seed=0, batch=3)
    lengths = np.isfinite(lives.rewards).sum(axis=0)
    assert len(set(lengths)) > 1
    assert lengths.max() == len(lives.rewards)
    np.testing.assert_array_equal(lives.returns, lengths)
    assert lives.positions is None
    assert lives.goals is None
    assert record_lifetimes(model, "CartPole-v1", episodes=2, max_steps=5).rewards.shape == (5, 2)
    both = joined([lives, lives])
    assert both.rewards.shape == (len(lives.rewards), 12)


def test_frames_show_every_step_of_the_lifetime(model: PlasticA2C) -> None:
    lives = record(model, episodes=1, keep_frames=True)
    assert lives.frames is not None
    assert len(lives.frames) == len(lives.rewards)
    assert lives.frames[0].shape == (384, 352, 3)
    assert not np.array_equal(lives.frames[0], lives.frames[-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"episodes": 0}, "episodes must be an integer of at least 1"),
        ({"batch": 0}, "batch must be an integer of at least 1"),
        ({"max_steps": 0}, "max_steps must be an integer of at least 1"),
        ({"keep_frames": True}, "keep_frames needs episodes=1"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str, model: PlasticA2C) -> None:
    with pytest.raises(ValueError, match=message):
        record(model, **options)


def test_a_model_without_a_trace_says_so() -> None:
    plain = make_model(alpha="none")
    assert record(plain).rewards.shape == (60, 12)
    for options in ({"lesions": wipe()}, {"keep_traces": True}):
        with pytest.raises(ValueError, match="no plastic core"):
            record(plain, **options)
