"""Where a trace beats a gate: plastic and plain networks on PlasticPairs-v0, by the number of pairs.

    python -m benchmarks.science.pairs [--n-pairs 8 16] [--weights 16000] [--networks ...] [--seeds 0 1 2]

Every run trains one network and then answers all questions of 256 fresh lifetimes with the most probable
actions. What it found is a small file of its own in the folder, by default `benchmarks/results/pairs`: a
second call trains only what is missing, or what other settings were used for. At the end the table
(`table.md`) of all runs in the folder is written, and the learning curves and the shares against numbers of
pairs: in `docs/figures`, or in the folder if it is another one.

The plastic networks have the settings of `zoo_configs/`, and as many neurons as the number of weights allows;
but with eight pairs, for which these were found, their trace is bounded at 1.
Plain networks stand in their place in the same algorithm, with one core step, the best of three learning
rates and, up to eight pairs, ten times the steps. RecurrentPPO is sb3-contrib's, with its own size.
"""

import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.ticker import StrMethodFormatter
from stable_baselines3.common.base_class import BaseAlgorithm

import plastic_rl
from benchmarks.science.curve import CurveCallback
from benchmarks.science.sweep import Result, Run, largest_size, make_parser, read_runs, train_missing
from plastic_rl.analysis.plots.style import CURVES, DASHES, draw_levels, picture
from plastic_rl.analysis.tables import bootstrap, markdown_table, with_interval
from plastic_rl.envs import reference_levels
from plastic_rl.runs.hyperparams import algorithm_class, load_config
from plastic_rl.training.evaluation import evaluate

ENV_ID = "PlasticPairs-v0"
FOLDER = Path(__file__).parents[1] / "results" / "pairs"
FIGURES = Path(__file__).parents[2] / "docs" / "figures"
# Its learning curves are a picture of their own, for the README.
FRONT_PAGE = "pairs_8"
LIFETIMES = 256
# Far from the seeds of the training, whose environments count on from them.
EVALUATION_SEED = 10_000
# Environment steps of the plastic networks.
STEPS = {2: 300_000, 4: 300_000, 8: 600_000, 16: 3_000_000, 32: 6_000_000, 64: 6_000_000}
PLAIN_STEPS = {2: 3_000_000, 4: 3_000_000, 8: 6_000_000, 16: 6_000_000, 32: 6_000_000, 64: 6_000_000}
WEIGHTS = (4_000, 16_000, 64_000)


@dataclass(frozen=True)
class Network:
    """What is compared: an algorithm of the command line, and what is changed of its settings.

    Attributes:
        steps: of the environment, by the number of pairs.
    """

    algo: str = "plastic_a2c"
    policy_kwargs: dict[str, Any] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=lambda: STEPS)


def _plain(cell: str) -> Network:
    policy_kwargs = {"cell": cell, "alpha": "none", "core_steps": 1, "core_lr_scale": 1.0}
    return Network(policy_kwargs=policy_kwargs, others={"learning_rate": "lin_0.003"}, steps=PLAIN_STEPS)


NETWORKS = {
    "rnn modulated": Network(),
    "gru modulated": Network(policy_kwargs={"cell": "gru"}),
    "rnn retroactive": Network(policy_kwargs={"rule": "retroactive"}),
    "rnn hebb": Network(policy_kwargs={"rule": "hebb"}),
    "gru none": _plain("gru"),
    "lstm none": _plain("lstm"),
    "rnn none": _plain("rnn"),
    "PPO, rnn modulated": Network(algo="plastic_ppo"),
    "RecurrentPPO": Network(algo="recurrent_ppo"),
}


def run_name(network: str, weights: int) -> str:
    """What a network of so many weights is called."""
    return network if NETWORKS[network].algo == "recurrent_ppo" else f"{network}, {weights:,}"


def network_of(name: str) -> tuple[str, int]:
    """The network and its number of weights, 0 where it has its own."""
    network = next(one for one in NETWORKS if name == one or name.startswith(f"{one}, "))
    size = name.removeprefix(network).strip(", ")
    return network, int(size.replace(",", "") or 0)


def _settings(network: Network, n_pairs: int, hidden_size: int | None) -> dict[str, Any]:
    overrides = dict(network.others)
    if hidden_size is not None:
        overrides |= {"n_steps": 4 * n_pairs}
        # With the usual bound on the trace, 2, one training of three broke with four and with sixteen pairs.
        bound = {} if n_pairs == 8 or "alpha" in network.policy_kwargs else {"trace_clip": 1.0}
        overrides["policy_kwargs"] = {**network.policy_kwargs, **bound, "hidden_size": hidden_size}
    config = load_config(ENV_ID, network.algo, overrides=overrides)
    run = {"algo": network.algo, "n_envs": config.n_envs, "n_timesteps": network.steps[n_pairs]}
    return {**run, **config.hyperparams}


@cache
def hidden_size_of(name: str, weights: int) -> int:
    """The largest number of neurons with no more than so many weights."""
    env = plastic_rl.make_vec_env(ENV_ID, 1, 0, env_kwargs={"render_mode": None})

    def count(hidden_size: int) -> int:
        options = _settings(NETWORKS[name], 8, hidden_size)["policy_kwargs"]
        policy = plastic_rl.PlasticPolicy(env.observation_space, env.action_space, lambda _: 0.0, **options)
        return sum(one.numel() for one in policy.parameters() if one.requires_grad)

    return largest_size(count, weights)


def settings(name: str, n_pairs: int) -> dict[str, Any]:
    """What a run is trained with, in plain values."""
    network, weights = network_of(name)
    return _settings(NETWORKS[network], n_pairs, hidden_size_of(network, weights) if weights else None)


def learn(run: Run) -> tuple[BaseAlgorithm, Result]:
    """A trained model, how it learned, and how long that took."""
    env_kwargs = {"n_pairs": n_pairs_of(run), "render_mode": None}
    given = dict(run.settings)
    algo, n_envs, steps = (given.pop(key) for key in ("algo", "n_envs", "n_timesteps"))
    kwargs = load_config(ENV_ID, algo, overrides=given).kwargs()
    env = plastic_rl.make_vec_env(ENV_ID, n_envs, run.seed, env_kwargs=env_kwargs)
    model = algorithm_class(algo)(env=env, seed=run.seed, device="cpu", **kwargs)
    callback = CurveCallback(steps)
    processor = time.process_time()
    model.learn(steps, callback=callback)
    processor = time.process_time() - processor
    return model, {
        "curve": [(steps, round(mean / n_pairs_of(run), 4)) for steps, mean in callback.curve],
        "steps": model.num_timesteps,
        "processor_seconds": round(processor, 1),
        "weights": sum(one.numel() for one in model.policy.parameters() if one.requires_grad),
    }


def n_pairs_of(run: Run) -> int:
    """The number of pairs that its group is called after."""
    return int(run.group.removeprefix("pairs_"))


def train(run: Run) -> Result:
    """One run: what it answered, how it learned, and how long that took."""
    model, learned = learn(run)
    env_kwargs = {"n_pairs": n_pairs_of(run), "render_mode": None}
    test = plastic_rl.make_vec_env(ENV_ID, 32, EVALUATION_SEED + run.seed, env_kwargs=env_kwargs)
    answered = evaluate(model, test, LIFETIMES, deterministic=True).returns / n_pairs_of(run)
    return {"answered": round(float(answered.mean()), 4), **learned}


def steps_to(curve: list[tuple[int, float]], share: float) -> str:
    """Environment steps until the training answered this share."""
    reached = [steps for steps, value in curve if value >= share]
    return f"{reached[0]:,}" if reached else "never"


def answered(records: list[Result]) -> np.ndarray:
    """What every seed answered, (seeds,)."""
    return np.array([record["answered"] for record in records])


def table(runs: dict[str, dict[str, list[Result]]]) -> str:
    """Markdown: per number of pairs and network what was answered, and what it took."""
    columns = ["pairs", "network", "weights", "environment steps", "answered", "each seed", "to .90", "CPU s"]
    rows = []
    for group, networks in runs.items():
        for name, records in networks.items():
            first = records[0]
            each = ", ".join(f"{share:.3f}" for share in answered(records))
            reached = ", ".join(steps_to(record["curve"], 0.9) for record in records)
            seconds = np.mean([record["processor_seconds"] for record in records])
            rows.append(
                (
                    group.removeprefix("pairs_"),
                    network_of(name)[0],
                    f"{first['weights']:,}",
                    f"{first['steps']:,}",
                    with_interval([answered(records)], form=".3f"),
                    each,
                    reached,
                    f"{seconds:,.0f}",
                )
            )
    return markdown_table(columns, rows) + "\n"


def _style(name: str) -> dict[str, Any]:
    network = network_of(name)[0]
    if NETWORKS[network].algo == "recurrent_ppo":
        return {"color": "#7f7f7f", "linestyle": "-"}
    i = list(NETWORKS).index(network)
    # There are more networks than colours: where a colour comes again, its dashes are others.
    dash = DASHES[(i + i // len(CURVES)) % len(DASHES)]
    return {"color": CURVES[i % len(CURVES)], "linestyle": dash}


def draw_curves(path: Path, runs: dict[str, dict[str, list[Result]]], weights: int = 16_000) -> None:
    """Training: the median over seeds, and all of them as a band, one panel per number of pairs."""
    columns = min(len(runs), 3)
    rows = -(-len(runs) // columns)
    with picture(path, (5.2 * columns, 1.4 + 3.4 * rows)) as figure:
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes in panels.flat[len(runs) :]:
            axes.set_axis_off()
        labels: dict[str, Any] = {}
        for axes, (group, networks) in zip(panels.flat, runs.items(), strict=False):
            n_pairs = int(group.removeprefix("pairs_"))
            for name, records in networks.items():
                network, size = network_of(name)
                if size not in (0, weights):
                    continue
                count = min(len(record["curve"]) for record in records)
                steps = [step for step, _ in records[0]["curve"][:count]]
                shares = np.array([[value for _, value in record["curve"][:count]] for record in records])
                style = _style(name)
                band = {"color": style["color"], "alpha": 0.15, "linewidth": 0}
                axes.fill_between(steps, shares.min(0), shares.max(0), **band)
                (labels[network],) = axes.plot(steps, np.median(shares, 0), **style)
            levels = reference_levels(ENV_ID, {"n_pairs": n_pairs})
            draw_levels(axes, {name: level / n_pairs for name, level in levels.items()}, grey=True)
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axes.set_title(f"{n_pairs} pairs", fontsize="medium")
            axes.set_xlabel("environment steps")
            axes.grid(alpha=0.3)
        for axes in panels[:, 0]:
            axes.set_ylabel("share of right answers")
        shown = [network for network in NETWORKS if network in labels]
        ncols = min(1 + columns, 3)
        lines = [labels[network] for network in shown]
        figure.legend(lines, shown, loc="outside lower center", ncols=ncols, frameon=False)


def draw_load(path: Path, runs: dict[str, dict[str, list[Result]]]) -> None:
    """Shares against numbers of pairs: means over seeds and their intervals, one panel per size."""
    sizes = [
        size for size in WEIGHTS if any(network_of(n)[1] == size for group in runs.values() for n in group)
    ]
    with picture(path, (2.4 + 4.0 * len(sizes), 4.2)) as figure:
        panels = figure.subplots(1, len(sizes), squeeze=False, sharey=True)[0]
        labels: dict[str, Any] = {}
        for axes, size in zip(panels, sizes, strict=True):
            for network in NETWORKS:
                name = run_name(network, size)
                found = {int(g.removeprefix("pairs_")): r[name] for g, r in runs.items() if name in r}
                if not found:
                    continue
                means = [float(answered(records).mean()) for records in found.values()]
                ends = np.array([bootstrap([answered(records)], np.mean) for records in found.values()])
                bars = np.nan_to_num(np.abs(ends.T - means))
                line = axes.errorbar(
                    list(found), means, yerr=bars, marker="o", markersize=4, capsize=3, **_style(name)
                )
                labels[network] = line
            counts = {n: reference_levels(ENV_ID, {"n_pairs": n})["counts only"] / n for n in STEPS}
            (labels["counts only"],) = axes.plot(
                list(counts), list(counts.values()), color="#595959", linestyle=":"
            )
            axes.axhline(1 / 4, color="#595959", linewidth=0.8)
            axes.set_xscale("log", base=2)
            axes.set_xticks(list(STEPS), [str(n) for n in STEPS])
            axes.set_title(f"{size:,} weights", fontsize="medium")
            axes.set_xlabel("pairs in a lifetime")
            axes.grid(alpha=0.3)
        panels[0].set_ylabel("share of right answers")
        figure.legend(list(labels.values()), list(labels), loc="outside lower center", ncols=3, frameon=False)


def main() -> None:
    """Train what is missing, then write table and figures."""
    parser = make_parser(__doc__, NETWORKS, FOLDER)
    parser.add_argument("--n-pairs", type=int, nargs="+", default=[8], choices=STEPS)
    parser.add_argument("--weights", type=int, nargs="+", default=[16_000], choices=WEIGHTS)
    arguments = parser.parse_args()
    figures = FIGURES if arguments.folder == FOLDER else arguments.folder
    torch.set_num_threads(1)
    wanted = {
        run.path(arguments.folder): run
        for seed in arguments.seeds
        for n_pairs in arguments.n_pairs
        for weights in arguments.weights
        for network in arguments.networks
        for name in [run_name(network, weights)]
        for run in [Run(f"pairs_{n_pairs}", name, seed, settings(name, n_pairs))]
    }
    train_missing(
        arguments.folder,
        wanted.values(),
        train,
        lambda _, result: f"{result['answered']:.3f} in {result['processor_seconds']} CPU s",
    )
    names = list(dict.fromkeys(run_name(network, weights) for weights in WEIGHTS for network in NETWORKS))
    runs = read_runs(arguments.folder, {f"pairs_{n_pairs}": names for n_pairs in STEPS})
    text = table(runs)
    (arguments.folder / "table.md").write_text(text)
    draw_curves(figures / "pairs_curves.png", runs)
    if FRONT_PAGE in runs:
        draw_curves(figures / "pairs_networks.png", {FRONT_PAGE: runs[FRONT_PAGE]})
    draw_load(figures / "pairs_load.png", runs)
    print(text)


if __name__ == "__main__":
    main()
