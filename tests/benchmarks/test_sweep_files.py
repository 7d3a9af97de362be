"""The sweeps in benchmarks/science: what they compare."""

from pathlib import Path

import gymnasium as gym
import pytest

import plastic_rl
from plastic_rl.runs.hyperparams import load_config
from plastic_rl.runs.sweep import read_sweep

SCIENCE = Path(__file__).parents[2] / "benchmarks" / "science"


def test_the_maze_compares_networks_of_one_size_of_the_kinds_that_their_names_say():
    (conditions,) = read_sweep(SCIENCE / "maze_conditions.yml").by_condition().values()
    own = ("rule", "alpha", "eta", "core_lr_scale", "cell", "hidden_size")
    env = plastic_rl.make_vec_env("PlasticMaze-v0", 2, env_kwargs={"render_mode": None})
    sizes, others = [], set()
    for name, (run, *more) in conditions.items():
        assert len(more) == 4
        kwargs = run.config.hyperparams["policy_kwargs"]
        rule = "none" if kwargs.get("alpha") == "none" else kwargs["rule"]
        assert name == f"{kwargs.get('cell', 'rnn')} {rule}"
        model = plastic_rl.PlasticA2C(env=env, device="cpu", **run.config.kwargs())
        sizes.append(sum(one.numel() for one in model.policy.parameters() if one.requires_grad))
        shared = {k: v for k, v in kwargs.items() if k not in own}
        others.add(str({**run.config.hyperparams, "learning_rate": 0, "policy_kwargs": shared}))
    assert len(others) == 1
    assert max(sizes) < 1.02 * min(sizes)


@pytest.mark.parametrize(
    "name",
    [
        "maze_conditions",
        "maze_hidden",
        "maze_rates",
        "maze_starts",
        "memory",
        "popgym_losing",
        "ppo_defaults",
        "a2c_defaults",
        "recurrent_defaults",
        "heldout",
        "pairs_changes",
        "pairs_blanks",
        "discovery",
    ],
)
def test_what_is_kept_was_trained_with_these_settings(name: str):
    sweep = read_sweep(SCIENCE / f"{name}.yml")
    for run in sweep.runs:
        run.check_settings()
    assert sweep.of("finished")


def test_memory_gives_all_algorithms_the_same_steps():
    pytest.importorskip("popgym")
    pytest.importorskip("rl_zoo3")
    for env_id, conditions in read_sweep(SCIENCE / "memory.yml").by_condition().items():
        assert len({run.config.n_timesteps for group in conditions.values() for run in group}) == 1
        configs = {name: group[0].config for name, group in conditions.items()}
        for alpha in ("full", "homogeneous", "none"):
            assert configs[f"PlasticA2C {alpha}"].hyperparams["policy_kwargs"]["alpha"] == alpha
        default = load_config("no entry").hyperparams
        assert configs["PlasticA2C full"].hyperparams != default, f"no settings for {env_id}"


def test_popgym_is_all_of_it_with_one_setting_for_all_tasks():
    pytest.importorskip("popgym")
    from benchmarks.science.popgym_tasks import tasks

    seen = []
    for name, others in (("popgym_easy.yml", 6), ("popgym_harder.yml", 5)):
        sweep = read_sweep(SCIENCE / name).by_condition()
        seen += [env_id.partition("Popgym")[2] for env_id in sweep]
        settings = [
            {condition: (run.config.algo, run.config.hyperparams) for condition, (run, *_) in runs.items()}
            for runs in sweep.values()
        ]
        assert all(one == settings[0] for one in settings)
        assert len(settings[0]) == others
        kinds = {str(hyperparams.get("policy_kwargs")) + algo for algo, hyperparams in settings[0].values()}
        assert len(kinds) == others
    assert sorted(seen) == [task.removeprefix("popgym-") for task in tasks()]


def test_popgym_shows_the_action_before_and_where_an_episode_begins():
    pytest.importorskip("popgym")
    import benchmarks.science.popgym_tasks  # noqa: F401 (registers them)

    env = gym.make("PopgymRepeatFirstEasy-v0")
    assert env.observation_space.shape == (4 + 4 + 2,)
    seen = [env.reset(seed=3)[0]]
    for action in (2, 1):
        seen.append(env.step(action)[0])
    assert [int(one[4:8].argmax()) for one in seen] == [0, 2, 1]
    assert [one[8:].tolist() for one in seen] == [[0, 1], [1, 0], [1, 0]]
    assert all(one in env.observation_space for one in seen)


@pytest.mark.parametrize(
    "task", ["MineSweeperEasy", "PositionOnlyPendulumHard", "VelocityOnlyCartpoleMedium"]
)
def test_popgym_trains(task):
    pytest.importorskip("popgym")
    import benchmarks.science.popgym_tasks  # noqa: F401 (registers them)

    env = plastic_rl.make_vec_env(f"Popgym{task}-v0", 2, seed=0)
    model = plastic_rl.PlasticPPO("MlpPolicy", env, n_steps=8, n_epochs=1, device="cpu", seed=0)
    model.learn(64)
    assert model.num_timesteps == 64
