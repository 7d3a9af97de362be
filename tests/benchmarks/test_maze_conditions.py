"""The comparison of conditions: its settings, runs that stop and go on, its table and figure."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

from plastic_rl.runs import folder as runs

ENV_ID = "PlasticMaze-v0"
SETTINGS = """
PlasticMaze-v0:
  {n_envs: 2, n_timesteps: 1, policy: MlpPolicy, n_steps: 250, learning_rate: 0.01, use_rms_prop: false,
   policy_kwargs: {hidden_size: 6, rule: hebb, alpha: full, eta: 0.1, backend: reference}}
"""


@pytest.fixture
def conditions(monkeypatch: pytest.MonkeyPatch) -> Any:
    from benchmarks.science import maze_conditions

    monkeypatch.setattr(maze_conditions, "EVALUATION_EPISODES", 4)
    return maze_conditions


@pytest.fixture
def report() -> Any:
    from benchmarks.science import maze_report

    return maze_report


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "settings.yml"
    path.write_text(SETTINGS)
    return path


def make_task(conditions: Any, settings: Path, condition: str = "full", **more: Any) -> Any:
    config = conditions.condition_config(condition, ENV_ID, settings)
    folder = settings.parent / ENV_ID / condition / "seed_0"
    values = {"condition": condition, "seed": 0, "episodes": 4, "config": config, "folder": folder}
    return conditions.Task(**{**values, **more})


def test_conditions_differ_in_what_their_names_say(conditions: Any, settings: Path) -> None:
    def network(name: str) -> tuple[str, str]:
        kwargs = conditions.condition_config(name, ENV_ID, settings).hyperparams["policy_kwargs"]
        return kwargs["rule"], kwargs["alpha"]

    def untuned(name: str) -> tuple[int, dict[str, Any]]:
        config = conditions.condition_config(name, ENV_ID, settings)
        kwargs = {k: v for k, v in config.hyperparams["policy_kwargs"].items() if k not in own}
        return config.n_envs, {**config.hyperparams, "learning_rate": None, "policy_kwargs": kwargs}

    own = ("rule", "alpha", "eta", "core_lr_scale")
    for name in ("homogeneous", "none", "modulated", "lstm"):
        assert untuned(name) == untuned("full"), name
    # Whatever rule the settings themselves have.
    for rule in ("modulated", "oja"):
        settings.write_text(SETTINGS.replace("hebb", rule))
        assert network("full") == ("hebb", "full")
        assert network("homogeneous") == ("hebb", "homogeneous")
        assert network("none")[1] == "none"
        assert network("modulated") == ("modulated", "full")
    with pytest.raises(ValueError, match="unknown condition 'half'"):
        conditions.condition_config("half", ENV_ID, settings)


def test_an_entry_for_one_environment_beats_the_common_one(conditions: Any, settings: Path) -> None:
    path = settings.parent / "conditions.yml"
    path.write_text("none: {gamma: 0.8, ent_coef: 0.3}\nnone/PlasticMaze-v0: {gamma: 0.7}\n")
    config = conditions.condition_config("none", ENV_ID, settings, path)
    assert (config.hyperparams["gamma"], config.hyperparams["ent_coef"]) == (0.7, 0.3)


def test_the_real_settings_make_agents_of_the_right_kinds(conditions: Any) -> None:
    import plastic_rl
    from examples import own_core

    env = plastic_rl.make_vec_env(ENV_ID, 2, env_kwargs={"render_mode": None})
    sizes = {}
    for name in ("full", "homogeneous", "none", "modulated", "lstm"):
        config = conditions.condition_config(name, ENV_ID)
        policy = conditions.make_model(name, config, env, seed=0).policy
        sizes[name] = conditions.count_weights(policy)
        assert isinstance(policy, own_core.LstmPolicy) == (name == "lstm")
    assert sizes["lstm"] == pytest.approx(sizes["full"], rel=0.01)
    assert sizes["none"] < 0.6 * sizes["full"]


def test_an_lstm_is_as_large_as_asked_for(conditions: Any) -> None:
    import plastic_rl
    from examples import own_core

    env = plastic_rl.make_vec_env(ENV_ID, 2, env_kwargs={"render_mode": None})

    def policy_of(n: int, policy: Any = own_core.LstmPolicy) -> Any:
        return plastic_rl.PlasticA2C(policy, env, device="cpu", policy_kwargs={"hidden_size": n}).policy

    for n in (5, 139):
        assert conditions.lstm_size(env.observation_space, 4, conditions.count_weights(policy_of(n))) == n
    plastic = conditions.count_weights(policy_of(200, "MlpPolicy"))
    size = conditions.lstm_size(env.observation_space, 4, plastic)
    assert conditions.count_weights(policy_of(size)) == pytest.approx(plastic, rel=0.01)


@pytest.mark.parametrize("condition", ["full", "lstm"])
def test_a_run_that_is_stopped_goes_on(condition: str, conditions: Any, settings: Path) -> None:
    task = make_task(conditions, settings, condition)
    watch = conditions.Watch([0.0, 0.0])
    step = watch._on_step

    def stop_soon() -> bool:
        watch.stop = watch.num_timesteps > 700
        return step()

    watch._on_step = stop_soon
    conditions.train(task, watch)
    assert not task.finished()
    assert len(runs.read_monitor(task.folder / "monitor.csv")["r"]) == 2

    watch = conditions.Watch([0.0, 0.0])
    conditions.train(task, watch)
    assert task.finished()
    assert watch.progress[0] >= 4 * 250
    assert len(runs.read_monitor(task.folder / "monitor.csv")["r"]) == 4
    result = json.loads((task.folder / "result.json").read_text())
    assert len(result["returns"]) == len(result["hits"]) == 4
    assert not make_task(conditions, settings, condition, episodes=6).finished()


def test_a_run_that_was_killed_before_its_first_save_starts_again(conditions: Any, settings: Path) -> None:
    task = make_task(conditions, settings)
    task.folder.mkdir(parents=True)
    (task.folder / "config.yml").write_text("half a")
    (task.folder / "monitor.csv").write_text('#{"t_start": 0.0}\nr,l,t\n1.0,250,3.0\n')
    conditions.train(task, conditions.Watch([0.0, 0.0]))
    assert len(runs.read_monitor(task.folder / "monitor.csv")["r"]) == 4


def test_runs_of_other_settings_are_not_mixed_in(conditions: Any, settings: Path) -> None:
    task = make_task(conditions, settings)
    conditions.train(task, conditions.Watch([0.0, 0.0]))
    task.check_settings()
    settings.write_text(SETTINGS.replace("0.01", "0.02"))
    with pytest.raises(ValueError, match="was trained with other settings"):
        make_task(conditions, settings).check_settings()


@pytest.mark.slow
@pytest.mark.long
def test_the_command_trains_reports_and_skips_what_is_finished(checkout: Path, settings: Path) -> None:
    output = settings.parent / "out"
    command = [sys.executable, "-m", "benchmarks.science.maze_conditions", "--config", str(settings)]
    command += ["--conditions", "full", "none", "--seeds", "3", "--episodes", "2", "--jobs", "2"]
    command += ["--output", str(output)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "0 of 2 runs are finished" in done.stdout
    folder = output / ENV_ID
    assert (folder / "table.md").read_text() in done.stdout
    assert iio.imread(folder / "curves.png")[..., :3].std() > 5
    for condition in ("full", "none"):
        assert runs.read_config(folder / condition / "seed_3").condition == condition
    # A broken run is reported; the finished one is left alone.
    shutil.rmtree(folder / "none")
    (folder / "none").mkdir()
    (folder / "none" / "seed_3").write_text("in the way")
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "1 of 2 runs are finished" in done.stdout
    assert "failed: none, seed 3" in done.stderr


def write_run(folder: Path, returns: np.ndarray, result: dict[str, Any] | None) -> None:
    folder.mkdir(parents=True)
    rows = "".join(f"{r},250,{(i + 1) * 0.6}\n" for i, r in enumerate(returns))
    (folder / "monitor.csv").write_text('#{"t_start": 0.0}\nr,l,t\n' + rows)
    if result is not None:
        (folder / "result.json").write_text(json.dumps({"episodes": len(returns), "weights": 1234, **result}))


def test_the_table_counts_right(report: Any, tmp_path: Path) -> None:
    folder = tmp_path / ENV_ID
    ramp = np.repeat([0.0, 60.0, 160.0], 2000)
    for seed in range(4):
        result = {"returns": [100 + seed, 100 + seed], "second_half_returns": [60, 60], "hits": [10, 12]}
        write_run(folder / "full" / f"seed_{seed}", ramp, result)
        other = {"returns": [40.0, 40 + 2 * seed], "second_half_returns": [1, 2], "hits": [4, 4]}
        write_run(folder / "none" / f"seed_{seed}", ramp if seed == 0 else ramp[:4000], other)
    write_run(folder / "none" / "seed_9", ramp[:10], None)

    text = report.write_report(folder)
    assert (folder / "table.md").read_text() == text
    speed, scores = text.split("Scores after")
    # 5/6 of the last 1,000 episodes must be at 60 for a mean of 50: the 2,834th is the first.
    full, none = (line for line in speed.splitlines() if line.startswith(("| full", "| no ")))
    assert full == (
        "| full plasticity | 4 | 2,834 ep, 28.3 min | 4,400 ep, 44.0 min | 4,900 ep, 49.0 min "
        "| - (0 of 4) | - (0 of 4) |"
    )
    assert none.startswith("| no plasticity | 5 | 2,834 ep, 28.3 min (4 of 5) | - (1 of 5) |")
    full, none = (line for line in scores.splitlines() if line.startswith(("| full", "| no ")))
    assert full.startswith("| full plasticity | 4 | 1,234 | 101.5 [100.5, 102.5] | 101.5 [")
    assert "| 11.0 [11.0, 11.0] |" in full
    assert none.startswith("| no plasticity | 4 | 1,234 | 41.5 [40.5, 42.5]")
    assert "| 60.0 [" in none
    assert "over 2 lifetimes of fixed seeds with sampled actions" in scores
    assert (folder / "curves.png").is_file()


def test_nothing_to_report(report: Any, tmp_path: Path) -> None:
    assert "nothing to report" in report.write_report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_interquartile_mean_and_bootstrap(report: Any) -> None:
    assert report.interquartile_mean(np.array([100.0, 1, 2, 3, -50])) == 2
    assert report.interquartile_mean(np.array([1.0, 2, 6])) == 3
    rng = np.random.default_rng(0)
    one, two = rng.normal(3, 1, size=50), rng.normal(0, 2, size=80)
    low, high = report.bootstrap([one, two], lambda a, b: a.mean() - b.mean())
    error = np.sqrt(one.var() / 50 + two.var() / 80)
    middle = one.mean() - two.mean()
    assert [low, high] == pytest.approx([middle - 1.96 * error, middle + 1.96 * error], abs=0.1)
    assert np.isnan(report.bootstrap([one[:1]], np.mean)).all()
