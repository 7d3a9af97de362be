"""A sweep's file: the runs it stands for, what it may not say, states by what folders hold."""

import json
from pathlib import Path

import pytest

from plastic_rl.runs import folder as runs
from plastic_rl.runs.lock import locked
from plastic_rl.runs.sweep import Sweep, read_sweep

FILE = """
envs: {PlasticMaze-v0: {size: 5}}
folder: FOLDER
seeds: [3, 5]
timesteps: 600
settings:
  full: {policy_kwargs: {hidden_size: 5, rule: hebb}}
  none: {algo: plastic_ppo, policy_kwargs: {hidden_size: 6}}
grid:
  n_steps: [5, 10]
  policy_kwargs.core_steps: [1, 2]
"""


@pytest.fixture
def read(tmp_path):
    def read(text: str = FILE) -> Sweep:
        path = tmp_path / "small.yml"
        path.write_text(text.replace("FOLDER", str(tmp_path / "out")))
        return read_sweep(path)

    return read


def test_settings_are_crossed_with_the_grid_environments_and_seeds(read, tmp_path):
    sweep = read()
    assert len(sweep.runs) == 2 * 2 * 2 * 2
    assert [run.seed for run in sweep.runs] == [3] * 8 + [5] * 8
    by_condition = sweep.by_condition()["PlasticMaze-v0"]
    first, *_, last = by_condition
    assert (first, last) == ("full, n_steps 5, core_steps 1", "none, n_steps 10, core_steps 2")
    run = by_condition[last][1]
    assert run.folder == tmp_path / "out" / "PlasticMaze-v0" / "none__n_steps_10__core_steps_2" / "seed_5"
    assert (run.config.algo, run.config.n_timesteps, run.env_kwargs) == ("plastic_ppo", 600, {"size": 5})
    assert run.config.hyperparams["n_steps"] == 10
    kwargs = run.config.hyperparams["policy_kwargs"]
    assert (kwargs["hidden_size"], kwargs["core_steps"]) == (6, 2)
    assert by_condition[first][0].config.algo == "plastic_a2c"
    assert by_condition[first][0].config.hyperparams["policy_kwargs"]["hidden_size"] == 5


def test_a_sweep_can_be_short(read):
    sweep = read("envs: [PlasticPairs-v0, PlasticPatternMemory-v0]")
    assert [(run.config.env_id, run.config.algo, run.condition, run.seed) for run in sweep.runs] == [
        ("PlasticPairs-v0", "plastic_a2c", "default", 0),
        ("PlasticPatternMemory-v0", "supervised", "default", 0),
    ]
    assert sweep.folder == Path("runs/sweeps/small")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "envs: [PlasticMaze-v0]\nseed: 3",
            "unknown key 'seed' in the file: choose from folder, results, envs",
        ),
        ("- 1", "the file must be a mapping"),
        ("a: [", "is not YAML"),
        ("seeds: 3", "envs must be a list of ids, or a mapping from ids to their arguments, got None"),
        ("envs: [PlasticMaze-v0]\nseeds: 0", "seeds must be a list of seeds, or how many of them"),
        ("envs: [PlasticMaze-v0]\nseeds: [-1]", "seeds must be a list of seeds"),
        (
            "envs: [PlasticMaze-v0]\nsettings: {fast: {learnin_rate: 1}}",
            "settings 'fast': unknown key 'learnin_rate' among the given hyper-parameters",
        ),
        ("envs: [PlasticMaze-v0]\nalgo: ppo", "unknown algorithm 'ppo'"),
        ("envs: [PlasticMaze-v0]\nsettings: [1]", "settings must map names to hyper-parameters"),
        ("envs: [PlasticMaze-v0]\nsettings: {0.1: {}}", "names that are text, got 0.1: put it in quotes"),
        ("envs: [PlasticMaze-v0]\ngrid: {n_steps: 3}", "grid must map hyper-parameters to lists"),
        ("envs: [PlasticMaze-v0]\ngrid: {n_steps: [0]}", "n_steps must be an integer of at least 1, got 0"),
        ("envs: [PlasticMaze-v0]\nevaluate: {episode: 3}", "unknown key 'episode' in evaluate"),
        (
            "envs: [PlasticMaze-v0]\nevaluate: {episodes: 0}",
            "evaluate.episodes must be an integer of at least 1",
        ),
        ("envs: [PlasticMaze-v0]\ntable: {levels: high}", "table.levels must be a list of numbers"),
        (
            "envs: [PlasticMaze-v0]\ntable: {against: [hours]}",
            "table.against must be a list of episodes or minutes",
        ),
        ("envs: [PlasticMaze-v0]\ntable: {at: 100}", "table.at must be a list of numbers of episodes"),
        (
            "envs: [PlasticMaze-v0]\ntable: {window: 100, at: [50]}",
            "table.at must be an integer of at least 100, got 50",
        ),
        ("envs: [PlasticMaze-v0]\nseeds: [1, 1]", "two runs would lie in"),
        ("envs: [PlasticMaze-v0]\nsettings: {a b: {}, a_b: {}}", "two runs would lie in"),
        ("envs: [PlasticMaze-v0]\nsettings: {..: {}}", "the name '..' of settings has no letter or digit"),
    ],
)
def test_what_is_wrong_is_named(read, text, words):
    with pytest.raises(ValueError, match=r"small\.yml") as error:
        read(text)
    assert words in str(error.value)


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="no sweep file"):
        read_sweep(tmp_path / "none.yml")


def test_states_by_what_a_folder_holds(read):
    run = read().runs[0]
    assert run.state() == "missing"
    runs.create_folder(run.folder, run.record())
    assert run.state() == "stopped"
    (run.folder / "failure.txt").write_text("why\n")
    assert run.state() == "failed"
    with locked(run.folder):
        assert run.state() == "running"
    assert run.state() == "failed"
    result = {"steps": 599, "measures": {"return": {"mean": 1.0}}}
    (run.folder / "result.json").write_text(json.dumps(result))
    assert run.state() == "failed"
    (run.folder / "result.json").write_text(json.dumps({**result, "steps": 600}))
    assert run.state() == "finished"
    assert run.score() == 1.0
    with pytest.raises(ValueError, match=r"seed 3 has no score 'reward'$"):
        run.score("reward")
    (run.folder / "result.json").write_text("{}")
    with pytest.raises(ValueError, match=r"result.json is damaged, remove it: KeyError|'steps'"):
        run.state()


def test_runs_of_other_settings_are_not_mixed_in(read):
    run = read().runs[0]
    runs.create_folder(run.folder, run.record())
    run.check_settings()
    for old, new, name in (
        ("n_steps: [5", "n_steps: [6", None),
        ("size: 5}}\nf", "size: 7}}\nf", "env_kwargs"),
    ):
        other = read(FILE.replace(old, new)).runs[0]
        if name is None:
            other.check_settings()  # another name, another folder
            continue
        with pytest.raises(ValueError, match=f"was trained with another {name}"):
            other.check_settings()
