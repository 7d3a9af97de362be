import gymnasium as gym
import numpy as np
import pytest

from plastic_rl.envs import PlasticPairsEnv
from plastic_rl.envs.pairs import render


def played(steps, answer="right", **arguments):
    """An environment after so many steps; right answers, or always the next one."""
    env = PlasticPairsEnv(**{"render_mode": "rgb_array", "n_pairs": 4, **arguments})
    _, info = env.reset(seed=0)
    for _ in range(steps):
        action = (info.get("target", 0) + (answer == "wrong")) % env.action_space.n
        info = env.step(action)[4]
    return env


def card(env, pair):
    """The picture of one pair, of those in the first row."""
    left = render._GAP + pair * (render._WIDTH + render._GAP)
    top = render._HEADER + render._GAP
    return env.render()[top : top + render._HEIGHT, left : left + render._WIDTH]


def count(picture, colour):
    return int((picture == colour).all(axis=2).sum())


def test_pictures_have_one_size():
    env = PlasticPairsEnv(render_mode="rgb_array", n_pairs=(1, 9))
    shapes = set()
    for seed in range(5):
        env.reset(seed=seed)
        shapes.add(env.render().shape)
        env.step(0)
        shapes.add(env.render().shape)
    assert len(shapes) == 1
    assert env.render().dtype == np.uint8


def test_a_cue_is_faint_until_it_was_seen():
    for steps, seen in [(0, 1), (1, 1), (2, 2), (6, 4)]:
        env = played(steps)
        dark = [count(card(env, pair)[:80], render._INK) > 0 for pair in range(4)]
        assert dark == [pair < seen for pair in range(4)]


def test_a_cue_is_drawn_row_by_row():
    env = played(1, n_pairs=1)
    cue = env._life.cues[0, 0].reshape(4, 4) > 0
    corner = (render._WIDTH - render.PATTERN) // 2
    pattern = card(env, 0)[11 : 11 + render.PATTERN, corner : corner + render.PATTERN]
    cell = render.PATTERN // 4
    middles = pattern[cell // 2 :: cell, cell // 2 :: cell]
    np.testing.assert_array_equal((middles == render._INK).all(axis=2), cue)


def test_the_right_answer_is_filled_once_it_was_told():
    for steps in (0, 1, 3):
        env = played(steps)
        filled = []
        for pair in range(4):
            colour = render._ANSWERS[env._life.answers[0, 0, pair]]
            filled.append(count(card(env, pair), colour) > 200)
        assert filled == [pair < (steps + 1) // 2 for pair in range(4)]


def test_the_pair_of_now_has_a_frame():
    for steps in (0, 3, 8, 11, 15):
        env = played(steps)
        now = env._life.pairs[0, steps]
        framed = [bool((card(env, pair)[0] == render._NOW).all()) for pair in range(4)]
        assert framed == [pair == now for pair in range(4)]


@pytest.mark.parametrize(("answer", "colour"), [("right", render._RIGHT), ("wrong", render._WRONG)])
def test_right_and_wrong_answers_are_told_apart(answer, colour):
    env = played(12, answer)
    answered = [env._life.pairs[0, step] for step in (9, 11)]
    for pair in range(4):
        assert (count(card(env, pair), colour) > 100) == (pair in answered)
        other = render._WRONG if answer == "right" else render._RIGHT
        assert count(card(env, pair), other) == 0
        marks = card(env, pair)[119:128]
        assert (count(marks, render._LINE) > 20) == (pair not in answered)


def test_every_trial_leaves_a_mark():
    env = played(2 * 4 * 2, "wrong", feedback="tried", n_rounds=3, cues="fixed")
    marks = card(env, 0)[119:128]
    assert count(marks, render._WRONG) == 2 * count(marks, render._LINE) > 0


def test_text():
    env = played(9, render_mode="ansi")
    assert env.render().splitlines() == [
        "   0  -+----+++--++-++  1  .",
        "   1  ++++----++---+-+  0  .",
        ">  2  +--++-++-+-----+  0  .",
        "   3  ----+---+-+---+-  0  .",
        "now: an answer is wanted",
        "step 9 of 16, 0 of 0 right",
    ]
    env.step((env._life.targets[0, 9] + 1) % 4)
    assert env.render().splitlines()[2] == "   2  +--++-++-+-----+  0  1-"
    env = played(4 * 4, render_mode="ansi", n_changes=1)
    assert env.render().splitlines()[-1] == "step 16 of 26, 4 of 4 right"
    assert env.render().splitlines()[1][-6:] == "  0+ ."


def test_text_of_trials():
    env = played(0, render_mode="ansi", feedback="tried", n_rounds=2, n_pairs=1, cues="fixed", cue_size=3)
    wrong = (env._life.targets[0, 0] + 1) % 4
    assert env.render().splitlines() == [
        ">  0  +..  ?  . .",
        "now: cue 0, an answer is wanted",
        "step 0 of 4, 0 of 0 right",
    ]
    env.step(wrong)
    assert env.render().splitlines()[:2] == [f">  0  +..  ?  {wrong}- .", f"now: outcome of {wrong}: wrong"]
    env.step(0)
    right = env._life.targets[0, 2]
    env.step(right)
    assert env.render().splitlines() == [
        f">  0  +..  {right}  {wrong}- {right}+",
        f"now: outcome of {right}: right",
        "step 3 of 4, 1 of 2 right",
    ]


def test_no_picture_without_a_render_mode():
    env = PlasticPairsEnv()
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="made without a render_mode"):
        assert env.render() is None


@pytest.mark.parametrize("mode", ["rgb_array", "ansi"])
@pytest.mark.parametrize("n_pairs", [1, 64])
def test_every_size_can_be_drawn(mode, n_pairs):
    env = gym.make("PlasticPairs-v0", render_mode=mode, n_pairs=n_pairs, n_answers=11, cue_size=50)
    env.reset(seed=0)
    assert len(env.render()) > 0
