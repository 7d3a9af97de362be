"""The sweeps in benchmarks/science: what they compare."""

from pathlib import Path

import pytest

import plastic_rl
from plastic_rl.runs.hyperparams import load_config
from plastic_rl.runs.sweep import read_sweep

SCIENCE = Path(__file__).parents[2] / "benchmarks" / "science"


def test_the_maze_compares_networks_of_the_kinds_that_their_names_say():
    (conditions,) = read_sweep(SCIENCE / "maze_conditions.yml").by_condition().values()
    own = ("rule", "alpha", "eta", "core_lr_scale", "cell", "hidden_size")
    env = plastic_rl.make_vec_env("PlasticMaze-v0", 2, env_kwargs={"render_mode": None})
    sizes, others = {}, set()
    for name, (run, *more) in conditions.items():
        assert len(more) == 4
        model = plastic_rl.PlasticA2C(env=env, device="cpu", **run.config.kwargs())
        sizes[name] = sum(one.numel() for one in model.policy.parameters() if one.requires_grad)
        kwargs = {k: v for k, v in run.config.hyperparams["policy_kwargs"].items() if k not in own}
        others.add(str({**run.config.hyperparams, "learning_rate": 0, "policy_kwargs": kwargs}))
    assert len(others) == 1
    assert sizes["LSTM"] == pytest.approx(sizes["full plasticity"], rel=0.02)
    assert sizes["no plasticity"] < 0.6 * sizes["full plasticity"]
    assert conditions["simple neuromodulation"][0].config.hyperparams["policy_kwargs"]["rule"] == "modulated"


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
