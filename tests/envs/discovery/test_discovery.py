import itertools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from plastic_rl import reference_levels
from plastic_rl.envs import PlasticTargetDiscoveryEnv, PlasticTargetDiscoveryVectorEnv, register_environments
from plastic_rl.envs.discovery.rules import Discovery, DiscoveryOptions, Lifetimes, best_right_answers

register_environments()

VARIANTS = [
    {},
    {"n_cues": 5, "cue_size": 3, "n_trials": 4, "blank_steps": 0},
    {"n_cues": 3, "cue_size": 40, "n_trials": 3, "blank_steps": 2},
]


@pytest.mark.parametrize("options", VARIANTS)
def test_gymnasiums_checks(options):
    check_env(PlasticTargetDiscoveryEnv(**options), skip_render_check=True)


def test_the_steps_of_a_lifetime():
    env = PlasticTargetDiscoveryEnv()
    observation, info = env.reset(seed=3)
    life = env._life
    assert life is not None
    seen, infos, rewards = [observation], [info], []
    for step in range(120):
        observation, reward, terminated, truncated, info = env.step(step // 6 % 2)
        assert (terminated, truncated) == (step == 119, False)
        seen.append(observation)
        infos.append(info)
        rewards.append(reward)
    for trial in range(20):
        first, blank, second, also_blank, go, outcome = seen[6 * trial : 6 * trial + 6]
        np.testing.assert_array_equal(first[:20], life.cues[0, life.shown[0, trial, 0]])
        np.testing.assert_array_equal(second[:20], life.cues[0, life.shown[0, trial, 1]])
        for one in (first, second, blank, also_blank):
            assert not one[20:].any() or one is first
        assert not blank.any()
        assert not also_blank.any()
        np.testing.assert_array_equal(go, np.eye(24)[20])
        among = life.targets[0] in life.shown[0, trial]
        assert infos[6 * trial + 4] == {"trial": trial, "answer": int(among)}
        assert infos[6 * trial + 3] == {"trial": trial}
        right = float(among == trial % 2)
        assert rewards[6 * trial + 4] == right
        expected = np.zeros(24)
        expected[21 + trial % 2], expected[23] = 1, right
        np.testing.assert_array_equal(outcome, expected)
    assert sum(rewards) == sum(rewards[4::6])
    with pytest.raises(ResetNeeded, match="after the episode's end"):
        env.step(0)


@pytest.mark.parametrize("options", VARIANTS)
def test_what_is_drawn(options):
    rules = Discovery(DiscoveryOptions(**options))
    n, n_cues = 4000, rules.options.n_cues
    life = rules.draw(np.random.default_rng(0), n)
    assert set(np.unique(life.cues)) == {-1.0, 1.0}
    for cues in life.cues[:200]:
        assert len(np.unique(cues, axis=0)) == n_cues
    assert (life.shown[..., 0] != life.shown[..., 1]).all()
    pairs = np.bincount((life.shown[..., 0] * n_cues + life.shown[..., 1]).ravel(), minlength=n_cues**2)
    share = pairs.reshape(n_cues, n_cues) / pairs.sum()
    np.testing.assert_allclose(
        share, (1 - np.eye(n_cues)) / (n_cues * (n_cues - 1)), atol=4 / np.sqrt(pairs.sum())
    )
    np.testing.assert_allclose(np.bincount(life.targets) / n, 1 / n_cues, atol=0.03)
    assert np.abs(life.cues.mean()) < 0.02


def entry(infos, i):
    own = {"trial": infos["trial"][i]}
    if "answer" in infos and infos["_answer"][i]:
        own["answer"] = infos["answer"][i]
    return own


def give(env, lives):
    """Let an environment play these lifetimes, each of which is taken from the list."""
    env._rules.draw = lambda rng, n: lives.pop(0)


@pytest.mark.parametrize("options", VARIANTS)
def test_every_row_of_a_batch_obeys_the_single_environments_rules(options, monkeypatch):
    batch = PlasticTargetDiscoveryVectorEnv(4, **options)
    begun: list[list[Lifetimes]] = [[] for _ in range(4)]
    draw, begin = batch._rules.draw, batch._begin

    def drawn(rng, n):
        life = draw(rng, n)
        for row, i in enumerate(starting):
            begun[i].append(Lifetimes(*(part[row : row + 1] for part in life)))
        return life

    starting: list[int] = []

    def beginning(which):
        starting[:] = which
        begin(which)

    monkeypatch.setattr(batch._rules, "draw", drawn)
    monkeypatch.setattr(batch, "_begin", beginning)
    rng = np.random.default_rng(1)
    steps = 2 * batch._rules.length + 7
    actions = rng.integers(2, size=(steps, 4))
    observations, infos = batch.reset(seed=0)
    # Out of step with one another.
    masks = {3: [True, False, False, True]}
    record: list[tuple] = [(observations, None, None, infos)]
    for t in range(steps):
        observations, rewards, terminated, _, infos = batch.step(actions[t])
        record.append((observations, rewards, terminated, infos))
        if t in masks:
            observations, infos = batch.reset(options={"reset_mask": np.array(masks[t])})
            record[-1] = (observations, rewards, terminated, infos)
    for i in range(4):
        single = PlasticTargetDiscoveryEnv(**options)
        give(single, begun[i])
        observation, info = single.reset()
        np.testing.assert_array_equal(observation, record[0][0][i])
        for t in range(steps):
            observation, reward, over, _, info = single.step(actions[t, i])
            observations, rewards, terminated, infos = record[t + 1]
            assert (reward, over) == (rewards[i], terminated[i])
            if over:
                np.testing.assert_array_equal(infos["final_obs"][i], observation)
                assert entry(infos["final_info"], i) == info
                observation, info = single.reset()
            elif t in masks and masks[t][i]:
                observation, info = single.reset()
            np.testing.assert_array_equal(observations[i], observation)
            if t not in masks or masks[t][i]:
                assert entry(infos, i) == info


def test_same_seed_same_batch():
    def play(seed):
        env = gym.make_vec("PlasticTargetDiscovery-v0", num_envs=3)
        first, _ = env.reset(seed=seed)
        return np.stack([first, *(env.step(np.array([0, 1, t % 2]))[0] for t in range(130))])

    np.testing.assert_array_equal(play(4), play(4))
    assert (play(4) != play(5)).any()


def right_answers_of_inference(n_cues, trials):
    """By going through every target and every sequence of shown pairs, with Bayes' rule for each."""
    pairs = list(itertools.combinations(range(n_cues), 2))
    total = 0.0
    for shown in itertools.product(pairs, repeat=trials):
        for target in range(n_cues):
            belief = np.full(n_cues, 1 / n_cues)
            for pair in shown:
                among = belief[list(pair)].sum()
                says = among > 0.5
                is_among = target in pair
                # Of two answers that are as likely, half of the time the right one.
                total += 0.5 if np.isclose(among, 0.5) else float(says == is_among)
                likelihood = np.array([(cue in pair) == is_among for cue in range(n_cues)])
                belief = belief * likelihood / (belief * likelihood).sum()
    return total / (len(pairs) ** trials * n_cues)


@pytest.mark.parametrize(("n_cues", "trials"), [(3, 1), (3, 4), (4, 1), (4, 2), (4, 4), (5, 3), (6, 2)])
def test_the_optimum_is_that_of_inference_over_all_hypotheses(n_cues, trials):
    assert best_right_answers(n_cues, trials) == pytest.approx(right_answers_of_inference(n_cues, trials))


def test_an_agent_that_infers_reaches_the_optimum():
    env = PlasticTargetDiscoveryEnv()
    rng = np.random.default_rng(0)
    returns = []
    for seed in range(200):
        env.reset(seed=seed)
        life = env._life
        assert life is not None
        candidates, total = set(range(4)), 0.0
        for step in range(120):
            trial, at = divmod(step, 6)
            pair = set(life.shown[0, trial].tolist())
            share = len(candidates & pair) / len(candidates)
            action = int(rng.integers(2)) if share == 0.5 else int(share > 0.5)
            _, reward, _, _, _ = env.step(action)
            if at == 4:
                total += reward
                candidates &= pair if action == (reward == 1) else set(range(4)) - pair
        returns.append(total)
    levels = reference_levels("PlasticTargetDiscovery-v0")
    assert levels == {"chance": 10.0, "optimal": pytest.approx(19.0, abs=1e-6)}
    assert np.mean(returns) == pytest.approx(levels["optimal"], abs=4 * np.std(returns) / np.sqrt(200))


def test_levels_hold_for_what_they_are_computed_for():
    assert reference_levels("PlasticTargetDiscovery-v0", {"n_cues": 6, "n_trials": 3})["chance"] == 2.0
    assert reference_levels("PlasticTargetDiscovery-v0", {"max_episode_steps": 9}) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_cues": 2}, "n_cues must be an integer of at least 3, got 2"),
        (
            {"n_cues": 5, "cue_size": 2},
            r"n_cues must be at most 2\*\*cue_size = 4, so that all cues differ, got 5",
        ),
        ({"cue_size": 1}, "cue_size must be an integer of at least 2, got 1"),
        ({"n_trials": 0}, "n_trials must be an integer of at least 1, got 0"),
        ({"blank_steps": -1}, "blank_steps must be an integer of at least 0, got -1"),
        ({"blank_steps": 0.5}, "blank_steps must be an integer of at least 0, got 0.5"),
        ({"render_mode": "film"}, "render_mode must be None or one of"),
    ],
)
def test_bad_arguments_are_named(options, message):
    for make in (PlasticTargetDiscoveryEnv, PlasticTargetDiscoveryVectorEnv):
        with pytest.raises(ValueError, match=message):
            make(**options)


def test_bad_actions_and_missing_resets():
    env = PlasticTargetDiscoveryEnv()
    with pytest.raises(ResetNeeded):
        env.step(0)
    env.reset()
    with pytest.raises(ValueError, match="action must be an integer from 0 to 1, got 2"):
        env.step(2)
    batch = PlasticTargetDiscoveryVectorEnv(2)
    batch.reset()
    with pytest.raises(ValueError, match="actions must be from 0 to 1"):
        batch.step(np.array([0, 2]))


@pytest.mark.parametrize("options", VARIANTS)
def test_pictures_show_what_happened(options):
    single = PlasticTargetDiscoveryEnv(render_mode="rgb_array", **options)
    batch = PlasticTargetDiscoveryVectorEnv(2, render_mode="rgb_array", **options)
    text = PlasticTargetDiscoveryEnv(render_mode="ansi", **options)
    for env in (single, batch, text):
        with pytest.raises(ResetNeeded):
            env.render()
        env.reset(seed=0)
    shapes, frames = set(), []
    for _ in range(single._rules.length):
        frame = single.render()
        assert isinstance(frame, np.ndarray)
        shapes.add(frame.shape)
        frames.append(frame)
        single.step(1)
        batch.step(np.array([0, 1]))
        text.step(1)
    assert len(shapes) == 1
    assert sum((a != b).any() for a, b in itertools.pairwise(frames)) > len(frames) // 2
    first, second = batch.render() or ()
    assert first.shape == frames[0].shape
    assert (first != second).any()
    shown = text.render()
    assert isinstance(shown, str)
    assert len(shown.splitlines()) == single._rules.options.n_cues + 3
    assert shown.count("*") == 1
    assert shown.count("y+") + shown.count("y-") == single._rules.options.n_trials
