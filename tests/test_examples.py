"""The scripts of examples/ run, with smaller trainings."""

import importlib.util
import re
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from plastic_rl.analysis.lifetime import Lifetimes, record_lifetimes

EXAMPLES = Path(__file__).parents[1] / "examples"
SHORTENED = {
    "contextual_bandit": ["--timesteps", "3000", "--lifetimes", "8"],
    "custom_environment": ["--timesteps", "1000", "--episodes", "8"],
    "lifetime_bandit": ["--timesteps", "300", "--seeds", "0", "--lifetimes", "4"],
    "match_activity": ["--timesteps", "2000", "--trials", "40", "--silenced", "3"],
    "maze_trace": ["--timesteps", "1000", "--lifetimes", "2", "--output", "pictures"],
    "own_core": ["--timesteps", "400"],
    "transfer_core": [],
}

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="not a checkout")


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name: str, monkeypatch: pytest.MonkeyPatch, **replaced: Any) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *SHORTENED[name]])
    module = load(name)
    for attribute, value in replaced.items():
        monkeypatch.setattr(module, attribute, value)
    module.main()


def test_every_example_is_tested() -> None:
    assert sorted(SHORTENED) == sorted(path.stem for path in EXAMPLES.glob("*.py"))


def test_contextual_bandit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run("contextual_bandit", monkeypatch)
    levels, plastic, other = capsys.readouterr().out.splitlines()
    assert levels == "chance 0.25, best possible 0.75"
    for line, name in ((plastic, "plastic"), (other, "not plastic")):
        assert line.startswith(name)
        total, *rounds = (float(number) for number in re.findall(r"\d\.\d+", line))
        assert len(rounds) == 6
        assert total == pytest.approx(np.mean(rounds), abs=0.01)


def scores(out: str) -> dict[str, list[float]]:
    """What custom_environment prints: for each agent the scores before and after training."""
    found = re.findall(r"^(plastic|not plastic) +before ([\d.]+) .* after ([\d.]+) ", out, re.M)
    return {name: [float(before), float(after)] for name, before, after in found}


def test_custom_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run("custom_environment", monkeypatch)
    found = scores(capsys.readouterr().out)
    assert list(found) == ["plastic", "not plastic"]
    assert all(0 <= score <= 3 for pair in found.values() for score in pair)


@pytest.mark.slow
def test_only_the_plastic_agent_learns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SHORTENED, "custom_environment", ["--timesteps", "200000"])
    run("custom_environment", monkeypatch)
    found = scores(capsys.readouterr().out)
    assert found["plastic"][0] < 1.4
    assert found["plastic"][1] > 2.5
    assert max(found["not plastic"]) < 1.4


def test_who_knows_the_phrasebook_answers_all_questions() -> None:
    env = load("custom_environment").Phrasebook()
    check_env(env, skip_render_check=True)
    answers = []
    for seed in range(200):
        observation, _ = env.reset(seed=seed)
        meanings, word, score, done = {}, 0, 0.0, False
        while not done:
            shown = observation.argmax()
            if observation[shown] and shown < env.words:
                word = shown
            elif observation[shown]:
                meanings[word] = shown - env.words
            observation, reward, done, _, _ = env.step(meanings.get(word, 0))
            score += reward
        assert score == env.questions
        answers += [meaning for meaning in env.answers if meaning >= 0]
    assert np.bincount(answers) / len(answers) == pytest.approx([1 / 3] * 3, abs=0.05)


def test_maze_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    short = partial(record_lifetimes, env_kwargs={"max_episode_steps": 40})
    run("maze_trace", monkeypatch, record_lifetimes=short)
    out = capsys.readouterr().out
    assert re.search(r"trace left alone: mean return -?[\d.]+", out)
    assert re.search(r"trace wiped: mean return -?[\d.]+", out)
    assert "lifetime.png, trace.gif, trace.png" in out
    assert all(path.stat().st_size > 10_000 for path in (tmp_path / "pictures").iterdir())


def test_match_activity(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    run("match_activity", monkeypatch)
    rows = re.findall(r"^(.*): [\d.]+% right", capsys.readouterr().out, re.M)
    assert rows == ["intact", "trace wiped in the delay", "3 units silenced"]
    assert (tmp_path / "match_activity.png").stat().st_size > 10_000


def test_moments_are_before_and_after_hits() -> None:
    rewards = np.zeros((50, 1))
    rewards[[6, 20, 49]] = 10
    moments = load("maze_trace").moments(Lifetimes(rewards))
    # The last hit comes too late to be in the trace.
    assert moments == {
        "before the first hit": 6,
        "hit 1, step 7": 8,
        "hit 2, step 21": 22,
        "the end, step 50": 50,
    }
    assert load("maze_trace").moments(Lifetimes(np.zeros((50, 1)))) == {"the end, step 50": 50}


def test_lifetime_bandit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run("lifetime_bandit", monkeypatch)
    rows = re.findall(
        r"^ +0  (plastic minus control|plastic|state reset \(control\)) +", capsys.readouterr().out, re.M
    )
    assert rows == ["plastic", "state reset (control)", "plastic minus control"]


def test_transfer_core(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run("transfer_core", monkeypatch)
    copied = re.search(r"^copied: (.*)$", capsys.readouterr().out, re.M)
    assert copied is not None
    assert "core.alpha" in copied[1]


def test_own_core(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run("own_core", monkeypatch)
    out = capsys.readouterr().out
    assert re.search(r"^right answers: [\d.]+ before training, [\d.]+ after it", out, re.M)
    assert "{'hidden': (16, 32), 'cell': (16, 32)}" in out
    assert "acts alike: True" in out
