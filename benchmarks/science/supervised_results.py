"""The paper's supervised tasks: how far plastic networks and others get on data that training has not seen.

    python -m benchmarks.science.supervised_results [--experiments patterns patterns-50 images ...]
                                            [--variants full ...] [--seeds 0 1 2] [--scale 1.0]
                                            [--folder runs/supervised]

All but the patterns need the data (see `plastic-rl data check`). Every run trains with the settings of
`zoo_configs/supervised.yml` and what is changed of them below; the baselines of `images` stop after the
minutes that `full` took with the same seed. A run is written to a file of its own: a second call trains only
what is missing. At the end the table (`table.md`) and the figures of all runs in the folder are written.

Curves are measured on fresh validation episodes. Final scores are of test episodes, which nothing was chosen
on; where a task has no data, fresh episodes are both.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter
from stable_baselines3.common.callbacks import BaseCallback

import plastic_rl  # noqa: F401 (registers the environments)
from benchmarks.science.sweep import Result, Run, read_runs, train_missing
from plastic_rl import SupervisedMetaLearner
from plastic_rl.analysis.plots.style import draw_levels, line_style, picture
from plastic_rl.analysis.tables import markdown_table
from plastic_rl.envs import Episodes, EpisodicTask
from plastic_rl.runs.hyperparams import load_config
from plastic_rl.training.evaluation import evaluate_episodes

SMALL = {"n_bits": 50, "n_patterns": 2, "show_steps": 3, "blank_steps": 1, "n_passes": 1, "probe_steps": 6}

TEST_SEED, BATCH = 2, 20
"""How test episodes are drawn, and how many at a time."""


@dataclass(frozen=True)
class Experiment:
    """A task, the measure that counts, and the networks that are compared on it."""

    env_id: str
    title: str
    metric: str
    curve_episodes: int
    test_episodes: int
    variants: dict[str, dict[str, Any]]
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    validation: dict[str, Any] = field(default_factory=dict)
    test: dict[str, Any] = field(default_factory=dict)
    levels: dict[str, float] = field(default_factory=dict)
    # Networks that train for the time that `full` took, instead of for a number of episodes.
    equal_time: tuple[str, ...] = ()
    log_scale: bool = False


def recurrent(policy: str, learning_rate: float, **policy_kwargs: Any) -> dict[str, Any]:
    """A network without plasticity. The gradient's norm is bounded, without which the plain one diverges."""
    return {
        "policy": policy,
        "learning_rate": learning_rate,
        "max_grad_norm": 1.0,
        "policy_kwargs": policy_kwargs,
    }


def small_plastic(alpha: str) -> dict[str, Any]:
    """The autoassociative network on the small patterns, found with `full`."""
    return {
        "n_timesteps": 2000 * 14,
        "learning_rate": "lin_0.01",
        "policy_kwargs": {"alpha": alpha, "w_lr_scale": 0.03},
    }


OMNIGLOT = Experiment(
    "PlasticOmniglot-v0",
    "Omniglot, 5-way 1-shot, unseen characters",
    "accuracy",
    1000,
    10_000,
    {"full": {}},
    validation={"split": "validation"},
    test={"split": "test"},
    levels={"paper": 0.983},
)

EXPERIMENTS = {
    "patterns": Experiment(
        "PlasticPatternMemory-v0",
        "Pattern memory, 1,000 bits",
        "bit_error",
        20,
        100,
        {"full": {}},
        levels={"chance": 0.5, "1 %": 0.01},
        log_scale=True,
    ),
    "patterns-50": Experiment(
        "PlasticPatternMemory-v0",
        "Pattern memory, 50 bits",
        "bit_error",
        200,
        2000,
        {
            "full": small_plastic("full"),
            "homogeneous": small_plastic("homogeneous"),
            "none": small_plastic("none"),
            "LSTM": {**recurrent("LSTMPolicy", 3e-4), "batch_size": 16, "n_timesteps": 5_000 * 14},
            "RNN": {**recurrent("RNNPolicy", 1e-4), "batch_size": 16, "n_timesteps": 5_000 * 14},
        },
        env_kwargs=SMALL,
        levels={"chance": 0.5, "1 %": 0.01},
        log_scale=True,
    ),
    "images": Experiment(
        "PlasticImageCompletion-v0",
        "Image completion, unseen images",
        "squared_error",
        40,
        500,
        {
            "full": {},
            "homogeneous": {"policy_kwargs": {"alpha": "homogeneous"}},
            "LSTM": recurrent("LSTMPolicy", 3e-4),
            "RNN": recurrent("RNNPolicy", 1e-4),
        },
        # There are no validation images: the curves are of training images, the scores of test images.
        test={"split": "test"},
        levels={"paper, homogeneous": 26.0, "paper, independent": 15.0},
        equal_time=("homogeneous", "LSTM", "RNN"),
    ),
    "images-random": Experiment(
        "PlasticImageCompletion-v0",
        "Image completion, random pixels erased",
        "squared_error",
        40,
        500,
        {"full": {}},
        env_kwargs={"erase": "random"},
        test={"split": "test"},
    ),
    "omniglot": OMNIGLOT,
    "omniglot-alphabets": replace(
        OMNIGLOT,
        title="Omniglot, 5-way 1-shot, unseen alphabets",
        env_kwargs={"class_split": "alphabets"},
        levels={},
    ),
    "omniglot-5-shot": replace(
        OMNIGLOT,
        title="Omniglot, 5-way 5-shot, unseen characters",
        # 10,000 batches, of six drawings of a character where one shot needs two.
        variants={
            "full": {
                "n_timesteps": 10_000 * 256 * 26,
                "sample_kwargs": {"pool_classes": 32, "pool_drawings": 6},
            }
        },
        env_kwargs={"k_shot": 5},
        levels={},
    ),
    "omniglot-20-way": replace(
        OMNIGLOT,
        title="Omniglot, 20-way 1-shot, unseen characters",
        # 20,000 batches.
        variants={"full": {"n_timesteps": 20_000 * 256 * 21}},
        env_kwargs={"n_way": 20},
        levels={},
    ),
}


def scored_batches(task: EpisodicTask, episodes: int) -> Iterator[Episodes]:
    """The episodes that test scores are of, drawn as `evaluate_episodes` draws them."""
    rng = np.random.default_rng(TEST_SEED)
    for first in range(0, episodes, BATCH):
        yield task.sample_episodes(min(BATCH, episodes - first), rng)


class CurveCallback(BaseCallback):
    """Measures on validation episodes, ever more rarely, and stops when the time is up."""

    def __init__(self, env: gym.Env, episodes: int, episode_length: int, budget: float | None) -> None:
        super().__init__()
        self._env, self._episodes, self._length, self._budget = env, episodes, episode_length, budget
        self._next = 0
        self.curve: list[dict[str, float]] = []
        self.seconds = 0.0

    def _on_training_start(self) -> None:
        self._measure()
        self._begin = time.perf_counter()

    def _on_step(self) -> bool:
        seconds = self.seconds + time.perf_counter() - self._begin
        if self.num_timesteps // self._length >= self._next:
            # The measurement is no part of the training's time.
            self.seconds = seconds
            self._measure()
            self._begin = time.perf_counter()
        return self._budget is None or seconds < self._budget

    def _on_training_end(self) -> None:
        self.seconds += time.perf_counter() - self._begin
        self._measure()

    def _measure(self) -> None:
        episodes = self.num_timesteps // self._length
        scores = evaluate_episodes(self.model, self._env, self._episodes, batch_size=BATCH, seed=1)  # type: ignore[arg-type]
        values = {name: score.mean for name, score in scores.items()}
        self.curve.append({"episodes": episodes, "seconds": self.seconds, **values})
        self._next = max(episodes + 1, int(episodes * 1.25), 10)


def train_and_test(
    experiment: Experiment,
    overrides: dict[str, Any],
    seed: int,
    scale: float,
    budget: float | None,
    model_path: Path,
) -> Result:
    """One run: what it scored before, while and after it learned, and how long that took."""
    # A seed draws its own split into training and test characters.
    split = {"split_seed": seed} if experiment.env_id == "PlasticOmniglot-v0" else {}
    make = {**experiment.env_kwargs, **split}
    config = load_config(experiment.env_id, overrides=overrides)
    model = SupervisedMetaLearner(
        env=gym.make(experiment.env_id, **make), seed=seed, device="cpu", **config.kwargs()
    )
    validation = gym.make(experiment.env_id, **make, **experiment.validation)
    length = validation.get_wrapper_attr("task").episode_length
    callback = CurveCallback(validation, experiment.curve_episodes, length, budget)
    timesteps = 10**12 if budget is not None else int(config.n_timesteps * scale)
    model.learn(timesteps, callback=callback, log_interval=0)
    model_path.parent.mkdir(parents=True, exist_ok=True)
    model.save(model_path)
    test = gym.make(experiment.env_id, **make, **experiment.test)
    scores = evaluate_episodes(model, test, experiment.test_episodes, batch_size=BATCH, seed=TEST_SEED)
    return {
        "episodes": model.num_timesteps // length,
        "seconds": callback.seconds,
        "weights": sum(parameter.numel() for parameter in model.policy.parameters()),
        "curve": callback.curve,
        "test": {name: {"mean": score.mean, "interval": score.interval} for name, score in scores.items()},
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def reached(run: dict[str, Any], metric: str, level: float) -> int | None:
    """After how many episodes the measure was first below the level and stayed there."""
    below = None
    for point in run["curve"]:
        if point[metric] >= level:
            below = None
        elif below is None:
            below = point["episodes"]
    return below


def table(experiments: dict[str, dict[str, list[Result]]]) -> str:
    """Markdown: per experiment and network every test measure, seed by seed, and the time."""
    rows = []
    for name, variant, runs in (
        (name, variant, runs) for name, variants in experiments.items() for variant, runs in variants.items()
    ):
        minutes = np.median([run["seconds"] for run in runs]) / 60
        episodes = int(np.median([run["episodes"] for run in runs]))
        for metric in runs[0]["test"]:
            scores = [run["test"][metric] for run in runs]
            each = ", ".join(
                f"{score['mean']:.4g} [{score['interval'][0]:.4g}, {score['interval'][1]:.4g}]"
                for score in scores
            )
            median = np.median([score["mean"] for score in scores])
            network = (EXPERIMENTS[name].title, variant, f"{runs[0]['weights']:,}")
            rows.append((*network, f"{episodes:,}", f"{minutes:.1f}", metric, f"{median:.4g}", each))
    columns = ("task", "network", "weights", "episodes", "minutes", "measure", "median")
    return markdown_table([*columns, "of each seed (95 % interval)"], rows) + "\n"


def draw(axes: Axes, experiment: Experiment, variants: dict[str, list[Result]]) -> None:
    """Every seed as a line."""
    for variant, runs in variants.items():
        i = list(experiment.variants).index(variant)
        for j, run in enumerate(runs):
            episodes = [max(1, point["episodes"]) for point in run["curve"]]
            values = [max(1e-5, point[experiment.metric]) for point in run["curve"]]
            label = variant if j == 0 else None
            color, dashes = line_style(i)
            axes.plot(episodes, values, color=color, linestyle=dashes, label=label, linewidth=1.2)
    draw_levels(axes, experiment.levels, grey=True)
    axes.set_xscale("log")
    if experiment.log_scale:
        axes.set_yscale("log")
    axes.set_title(experiment.title, fontsize="medium")
    axes.set_xlabel("training episodes")
    axes.set_ylabel(experiment.metric.replace("_", " "))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def report(folder: Path) -> str:
    """Write the table and the figures of all runs in the folder, and return the table."""
    experiments = read_runs(folder, {name: experiment.variants for name, experiment in EXPERIMENTS.items()})
    if not experiments:
        raise FileNotFoundError(f"there is no run in {folder}")
    text = table(experiments)
    (folder / "table.md").write_text(text)
    for name, variants in experiments.items():
        with picture(folder / f"{name}.png", (6.0, 4.2)) as figure:
            draw(figure.subplots(), EXPERIMENTS[name], variants)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--experiments", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    parser.add_argument("--variants", nargs="+", help="default: all of the experiment")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of episodes")
    parser.add_argument("--folder", type=Path, default=Path("runs/supervised"))
    arguments = parser.parse_args()
    if not arguments.scale > 0:
        parser.error(f"--scale must be above 0, got {arguments.scale}")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    folder = arguments.folder

    def train(run: Run) -> Result:
        experiment, budget = EXPERIMENTS[run.group], None
        if run.name in experiment.equal_time:
            full = replace(run, name="full").path(folder)
            if not full.is_file():
                parser.error(f"{run.name} takes the time of full: run that first, with seed {run.seed}")
            budget = json.loads(full.read_text())["seconds"]
        model_path = run.path(folder).with_suffix(".zip")
        return train_and_test(experiment, run.settings, run.seed, arguments.scale, budget, model_path)

    def describe(run: Run, result: Result) -> str:
        metric = EXPERIMENTS[run.group].metric
        score, minutes = result["test"][metric]["mean"], result["seconds"] / 60
        return f"{metric} {score:.4g} after {result['episodes']:,} episodes, {minutes:.1f} minutes"

    runs = (
        Run(name, variant, seed, EXPERIMENTS[name].variants[variant])
        for name, seed in product(arguments.experiments, arguments.seeds)
        for variant in arguments.variants or EXPERIMENTS[name].variants
    )
    train_missing(folder, runs, train, describe)
    print(report(arguments.folder))


if __name__ == "__main__":
    main()
