"""Who needs memory: four algorithms on environments that hide what must be remembered.

    python -m benchmarks.science.memory [--envs CartPoleNoVel-v1 ...] [--algorithms A2C ...] [--seeds 0 1 2]
                                [--folder runs/memory]

Needs `pip install -e ".[envs,zoo]"`. Every run trains with the settings of `zoo_configs/`, all algorithms of
an environment for the same number of environment steps, then plays 100 episodes with the most probable
actions. What a run found is written to a file of its own: a second call trains only what is missing, or what
other settings were used for. At the end the table (`table.md`) and the learning curves (`curves.png`) of all
runs in the folder are written.

The environments come from other packages as they are: RL-Zoo's CartPole and Pendulum with the velocities
set to 0, and POPGym's RepeatPrevious, where the agent names the suit of the card of three steps ago.
Observations and rewards are normalized where the settings ask for it.
"""

import argparse
import os
import time
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter

import plastic_rl
from benchmarks.science.curve import CurveCallback
from benchmarks.science.sweep import Result, Run, markdown_table, read_runs, train_missing
from plastic_rl.analysis.plots.style import CURVES, DASHES, draw_levels, picture
from plastic_rl.runs.hyperparams import RunConfig, algorithm_class, load_config
from plastic_rl.runs.statistics import normalized, normalized_like
from plastic_rl.training.evaluation import evaluate

EPISODES = 100
# Far from the seeds of the training, whose environments count on from them.
EVALUATION_SEED = 10_000
# Points of a learning curve.


@dataclass(frozen=True)
class Task:
    """An environment, the module that registers it, and known returns."""

    module: str
    title: str
    levels: dict[str, float]


@dataclass(frozen=True)
class Learner:
    """An algorithm of the command line and what is changed of its settings."""

    algo: str
    policy_kwargs: dict[str, Any]


TASKS = {
    "CartPoleNoVel-v1": Task(
        "rl_zoo3.import_envs",
        "CartPole without velocities",
        {"most": 500.0, "search without memory": 51.4},  # memoryless.py
    ),
    "PendulumNoVel-v1": Task("rl_zoo3.import_envs", "Pendulum without velocity", {}),
    # 48 answers of +-1/48. Without memory the best is to name any other suit than the one that is seen:
    # 13 of the 51 cards left are of it.
    "popgym-RepeatPreviousEasy-v0": Task(
        "popgym", "Repeat the suit of 3 steps ago", {"most": 1.0, "best without memory": 2 * 13 / 51 - 1}
    ),
}
LEARNERS = {
    "A2C": Learner("a2c", {}),
    "PlasticA2C full": Learner("plastic_a2c", {"alpha": "full"}),
    "PlasticA2C homogeneous": Learner("plastic_a2c", {"alpha": "homogeneous"}),
    "PlasticA2C none": Learner("plastic_a2c", {"alpha": "none"}),
    "PlasticPPO": Learner("plastic_ppo", {}),
    "RecurrentPPO": Learner("recurrent_ppo", {}),
}


def settings(env_id: str, learner: Learner) -> RunConfig:
    overrides = {"policy_kwargs": learner.policy_kwargs} if learner.policy_kwargs else {}
    return load_config(env_id, learner.algo, overrides=overrides)


def trained_with(config: RunConfig) -> dict[str, Any]:
    """What a stored run must have been trained with, not to be trained again."""
    normalize = {} if config.normalize is None else {"normalize": config.normalize}
    return {"n_envs": config.n_envs, "n_timesteps": config.n_timesteps, **config.hyperparams, **normalize}


def train_and_play(config: RunConfig, seed: int) -> Result:
    """One run: what it scored, how it learned, and how long that took."""
    # By a function: POPGym's environments do not have the render mode that an id is made with.
    make = partial(gym.make, config.env_id)
    env = plastic_rl.make_vec_env(make, config.n_envs, seed)
    env = normalized(env, config.normalize, config.hyperparams["gamma"])
    model = algorithm_class(config.algo)(env=env, seed=seed, device="cpu", **config.kwargs())
    callback = CurveCallback(config.n_timesteps)
    wall, processor = time.perf_counter(), time.process_time()
    model.learn(config.n_timesteps, callback=callback)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    env.close()
    env = normalized_like(env, plastic_rl.make_vec_env(make, 10, EVALUATION_SEED + seed))
    returns = evaluate(model, env, EPISODES, deterministic=True).returns
    env.close()
    return {
        "returns": returns.tolist(),
        "curve": callback.curve,
        "steps": model.num_timesteps,
        "wall_seconds": wall,
        "processor_seconds": processor,
        "weights": sum(parameter.numel() for parameter in model.policy.parameters()),
    }


def table(runs: dict[str, dict[str, list[Result]]]) -> str:
    """Markdown: per environment and algorithm the mean return of every seed, their spread and the time."""
    columns = ["environment", "algorithm", "weights", "seeds", "mean return", "spread over seeds"]
    rows = []
    for env_id, learners in runs.items():
        for name, records in learners.items():
            means = np.array([np.mean(record["returns"]) for record in records])
            spread = f"{means.std(ddof=1):.2f}" if len(means) > 1 else ""
            wall, cpu = (
                np.mean([record[key] for record in records]) / 60
                for key in ("wall_seconds", "processor_seconds")
            )
            each = ", ".join(f"{mean:.2f}" for mean in means)
            weights, mean = f"{records[0]['weights']:,}", f"{means.mean():.2f}"
            rows.append((env_id, name, weights, len(means), mean, spread, each, f"{wall:.1f}", f"{cpu:.1f}"))
    return markdown_table([*columns, "of each seed", "minutes", "CPU minutes"], rows) + "\n"


def draw(axes: Axes, task: Task, learners: dict[str, list[Result]]) -> None:
    """The median over seeds, and all of them as a band."""
    for name, records in learners.items():
        i = list(LEARNERS).index(name)
        count = min(len(record["curve"]) for record in records)
        steps = [step for step, _ in records[0]["curve"][:count]]
        returns = np.array([[value for _, value in record["curve"][:count]] for record in records])
        axes.fill_between(steps, returns.min(0), returns.max(0), color=CURVES[i], alpha=0.15, linewidth=0)
        axes.plot(steps, np.median(returns, 0), color=CURVES[i], linestyle=DASHES[i], label=name)
    draw_levels(axes, task.levels, grey=True)
    axes.set_title(task.title, fontsize="medium")
    axes.set_xlabel("environment steps")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.tick_params(axis="x", labelsize="small")
    axes.grid(alpha=0.3)


def report(folder: Path) -> str:
    """Write the table and the figure of all runs in the folder, and return the table."""
    runs = read_runs(folder, dict.fromkeys(TASKS, LEARNERS))
    text = table(runs)
    (folder / "table.md").write_text(text)
    with picture(folder / "curves.png", (5 * len(runs), 4.2)) as figure:
        panels = figure.subplots(1, len(runs), squeeze=False)[0]
        for axes, (env_id, learners) in zip(panels, runs.items(), strict=True):
            draw(axes, TASKS[env_id], learners)
        panels[0].set_ylabel("return, mean of the last 100 episodes")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--envs", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--algorithms", nargs="+", choices=LEARNERS, default=list(LEARNERS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("runs/memory"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    for env_id in arguments.envs:
        import_module(TASKS[env_id].module)
        budgets = {settings(env_id, learner).n_timesteps for learner in LEARNERS.values()}
        if len(budgets) > 1:
            raise ValueError(f"n_timesteps differs between the algorithms on {env_id}: {sorted(budgets)}")
    runs = [
        Run(env_id, name, seed, trained_with(settings(env_id, LEARNERS[name])))
        for seed, env_id, name in product(arguments.seeds, arguments.envs, arguments.algorithms)
    ]
    train_missing(
        arguments.folder,
        runs,
        lambda run: train_and_play(settings(run.group, LEARNERS[run.name]), run.seed),
        lambda _, found: f"{np.mean(found['returns']):.2f} after {found['wall_seconds'] / 60:.1f} minutes",
    )
    print(report(arguments.folder))


if __name__ == "__main__":
    main()
