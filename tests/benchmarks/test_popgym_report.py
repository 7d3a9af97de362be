"""The memory benchmark's tables: levels, scores, aggregates, and what is written."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("popgym")

from benchmarks.science import popgym_levels, popgym_report
from benchmarks.speed import popgym_envs


class FakeRun:
    """What a report asks of a run."""

    def __init__(self, mean: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.mean = mean
        self.log = {"r": mean + 0.1 * rng.standard_normal(4000), "l": np.full(4000, 50.0)}

    def result(self) -> dict[str, Any]:
        return {"measures": {"return": {"mean": self.mean}}, "processor_seconds": 120.0, "steps": 200_000}

    def score(self) -> float:
        return self.mean

    def monitor(self) -> dict[str, np.ndarray]:
        return self.log


def finished(**tasks: dict[str, list[float]]) -> Any:
    return {
        task: {name: [FakeRun(mean, seed) for seed, mean in enumerate(means)] for name, means in each.items()}
        for task, each in tasks.items()
    }


def test_counting_cards_is_best_with_few_decks_and_better_than_looking_at_the_last_card():
    one, three = (popgym_levels.counting_cards(decks, 1000) for decks in (1, 3))
    # Who looks at the last card alone has .497.
    assert 0.5 < three < one < 0.6


def test_few_cards_are_matched_with_the_mismatches_that_can_be_counted_by_hand():
    # Two of four: the second of two unseen cards is of the first one's colour in one case of three; once two
    # that do not match are seen, none goes wrong any more.
    assert popgym_levels.fewest_mismatches(2, 2) == pytest.approx(2 / 3)
    assert popgym_levels.fewest_mismatches(2, 0) == 0
    assert popgym_levels.fewest_mismatches(1, 1, 1, 1) == 0


def test_who_forgets_no_card_of_concentration_has_its_best_return():
    env: gym.Env[Any, Any] = gym.make("popgym-ConcentrationEasy-v0").unwrapped
    games, total = 100, 0.0
    for game in range(games):
        env.reset(seed=game)
        unseen: list[int] = list(range(52))
        seen: dict[int, list[int]] = {0: [], 1: []}
        over = False
        while not over:
            first = (unseen or max(seen.values(), key=len)).pop()
            colour = env.step(first)[0][first]
            second = seen[colour].pop() if seen[colour] else unseen.pop()
            observation, reward, terminated, truncated, _ = env.step(second)
            total, over = total + float(reward), terminated or truncated
            if observation[second] != colour:
                seen[colour].append(first)
                seen[observation[second]].append(second)
    assert total / games == pytest.approx(popgym_levels.remembering_cards(1), abs=0.02)


def test_random_actions_have_the_level_that_follows_from_the_number_of_suits():
    # One of four suits is right: 1/4 - 3/4.
    assert popgym_levels.random_level("popgym-RepeatFirstEasy-v0", 100) == pytest.approx(-0.5, abs=0.05)


def test_levels_are_kept_for_all_installed_tasks():
    levels = popgym_levels.read_levels()
    installed = {
        task.removeprefix("popgym-").removesuffix("-v0") for task in popgym_levels.popgym_tasks.tasks()
    }
    assert set(levels) == installed
    for level in levels.values():
        assert level["random"] is not None
        assert level["best"] is None or level["best"] > level["random"]
    assert set(popgym_report.CHOSEN_ON) < installed


def test_the_best_stretch_is_the_one_with_the_largest_mean_whatever_its_episodes():
    returns, lengths = np.array([1.0, 0, 0, 4, 0, 1]), np.array([60.0, 30, 30, 80, 10, 90])
    # Episodes end after 60, 90, 120, 200, 210 and 300 steps.
    assert popgym_report.best_stretch(returns, lengths, 100) == 2.0
    assert popgym_report.best_stretch(returns, lengths, 1000) == 1.0
    # The best episode ends in a part of a stretch.
    assert popgym_report.best_stretch(np.array([1.0, 0, 9]), np.array([50.0, 50, 20]), 100) == 0.5


def test_the_interquartile_mean_drops_a_quarter_at_either_end():
    assert popgym_report.interquartile_mean(np.array([9.0, 1, 2]), np.array([3.0, -50])) == 2.0
    values = np.arange(8.0) ** 2
    assert popgym_report.interquartile_mean(values) == values[2:6].mean()


def test_random_actions_are_0_and_the_best_are_1():
    random = popgym_levels.read_levels()["RepeatFirstEasy"]["random"]
    found = popgym_report.normalised("RepeatFirstEasy", np.array([random, 1.0]))
    assert found is not None
    assert found.tolist() == [0.0, 1.0]
    assert popgym_report.normalised("BattleshipEasy", np.array([0.0])) is None


def test_the_aggregate_has_only_tasks_with_a_level_that_nothing_was_chosen_on(monkeypatch):
    levels = {
        "HigherLowerEasy": {"random": 0.0, "best": 0.5},
        "BattleshipEasy": {"random": -0.5, "best": None},
        "RepeatFirstEasy": {"random": -0.5, "best": 1.0},
    }
    monkeypatch.setattr(popgym_report, "read_levels", lambda: levels)
    runs = finished(
        RepeatFirstEasy={"one": [1.0, 1.0], "other": [0.0]},
        BattleshipEasy={"one": [-0.25, -0.35]},
        HigherLowerEasy={"one": [0.25, 0.5]},
    )
    assert popgym_report.of_difficulty(runs, "Easy") == [
        "BattleshipEasy",
        "HigherLowerEasy",
        "RepeatFirstEasy",
    ]
    (only,) = popgym_report.aggregate(runs, ["BattleshipEasy", "HigherLowerEasy"], "one")
    assert only.tolist() == [0.5, 1.0]
    text = popgym_report.table(runs)
    assert "| Battleship | -0.50 |  | -0.30 [-0.35, -0.25] |  |" in text
    assert "| RepeatFirst (chosen on) | -0.50 | 1.00 | 1.00 [1.00, 1.00] | 0.00 |" in text
    assert "| one | 1 | 0.750 [0.500, 1.000] |" in text
    assert "| other | 1 | 2.0 | 1,667 |" in text
    assert "Medium" not in text


def test_conditions_are_compared_on_the_tasks_that_all_of_them_have(monkeypatch):
    tasks = ("HigherLowerEasy", "VelocityOnlyCartpoleEasy", "PositionOnlyCartPoleEasy")
    levels = {task: {"random": 0.0, "best": 1.0} for task in tasks}
    monkeypatch.setattr(popgym_report, "read_levels", lambda: levels)
    runs = finished(
        HigherLowerEasy={"one": [0.5], "other": [0.25]},
        VelocityOnlyCartpoleEasy={"one": [1.0], "other": [0.75]},
        PositionOnlyCartPoleEasy={"one": [0.125]},
    )
    found = popgym_report.aggregates(runs, "Easy")
    assert {name: np.concatenate(samples).tolist() for name, samples in found.items()} == {
        "one": [0.5, 1.0],
        "other": [0.25, 0.75],
    }
    assert popgym_report.aggregates(runs, "Hard") == {}


def test_figures_are_drawn_for_tables_that_are_half_full(tmp_path: Path, monkeypatch):
    levels = {"HigherLowerEasy": {"random": 0.0, "best": 0.5}, "BattleshipHard": {"random": 0, "best": None}}
    monkeypatch.setattr(popgym_report, "read_levels", lambda: levels)
    runs = finished(
        HigherLowerEasy={"one": [0.25, 0.5], "other": [0.1]}, BattleshipHard={"one": [-0.25, -0.35]}
    )
    popgym_report.draw_curves(tmp_path / "curves.png", runs, "Easy")
    popgym_report.draw_aggregate(tmp_path / "aggregate.png", runs)
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    assert (tmp_path / "aggregate.png").stat().st_size > 5_000


def test_curves_are_means_of_equal_stretches():
    run: Any = FakeRun(0.0, 0)
    run.log = {"r": np.repeat([0.0, 1.0, 2.0, 3.0], 100), "l": np.full(400, 10.0)}
    steps, means = popgym_report._curves([run], points=4)
    assert steps == pytest.approx([0.001, 0.002, 0.003, 0.004])
    assert means[0] == pytest.approx([0.0, 1.0, 2.0, 3.0])
    # Nothing is known before the first episode has ended; then what was last known.
    run.log = {"r": np.array([-0.5, 1.0]), "l": np.array([1500.0, 2500.0])}
    assert popgym_report._curves([run], points=4)[1][0] == pytest.approx(
        [np.nan, -0.5, -0.5, 1.0], nan_ok=True
    )


def test_what_a_step_costs_is_measured_and_stands_beside_whole_trainings(monkeypatch, capsys):
    runs = finished(RepeatFirstEasy={"one": [1.0]}, BattleshipEasy={"other": [0.0]})
    monkeypatch.setattr(popgym_envs, "read_finished", lambda: runs)
    monkeypatch.setattr(popgym_envs, "STEPS", 4)
    monkeypatch.setattr("sys.argv", ["popgym_envs", "--condition", "one", "--repeats", "1"])
    popgym_envs.main()
    (row,) = capsys.readouterr().out.strip().splitlines()[2:]
    name, cost, whole, share = (cell.strip() for cell in row.strip("|").split("|"))
    # Of a run of 120 seconds and 200,000 steps.
    assert (name, whole) == ("RepeatFirst", "600")
    assert int(cost) > 0
    assert share.endswith("%")
    monkeypatch.setattr("sys.argv", ["popgym_envs", "--condition", "none"])
    with pytest.raises(SystemExit):
        popgym_envs.main()
    assert "no run of 'none' is finished in Easy" in capsys.readouterr().err
