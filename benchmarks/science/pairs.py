"""Where a trace beats a gate: plastic and plain networks on PlasticPairs-v0, by the number of pairs.

    python -m benchmarks.science.pairs [--n-pairs 8 16] [--networks ...] [--seeds 0 1 2] [--folder FOLDER]

Every run trains one network and then answers all questions of 256 fresh lifetimes with the most probable
actions. What it found is a small file of its own in the folder, by default `benchmarks/results/pairs`: a
second call trains only what is missing, or what other settings were used for. At the end the table
(`table.md`) and the learning curves (`curves.png`) of all runs in the folder are written.

The plastic networks have the settings of `zoo_configs/`. LSTM, GRU and the plain tanh network stand in the
place of the plastic core in the same algorithm, with the better one of two learning rates and five times the
steps. RecurrentPPO is sb3-contrib's.
"""

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.ticker import StrMethodFormatter
from torch import Tensor, nn

import plastic_rl
from benchmarks.science.curve import CurveCallback
from benchmarks.science.sweep import Result, Run, read_runs, train_missing
from examples.own_core import LstmPolicy
from plastic_rl.analysis.plots.style import CURVES, DASHES, draw_levels, picture
from plastic_rl.analysis.tables import markdown_table
from plastic_rl.envs import reference_levels
from plastic_rl.ops.plastic_rnn import zero_rows
from plastic_rl.policies import RecurrentCore
from plastic_rl.runs.hyperparams import algorithm_class, load_config
from plastic_rl.training.evaluation import evaluate

ENV_ID = "PlasticPairs-v0"
FOLDER = Path(__file__).parents[1] / "results" / "pairs"
LIFETIMES = 256
# Far from the seeds of the training, whose environments count on from them.
EVALUATION_SEED = 10_000
# Environment steps of the plastic networks.
STEPS = {2: 300_000, 4: 300_000, 8: 600_000, 16: 3_000_000, 32: 6_000_000}


class GruState(NamedTuple):
    """What a GRU carries from step to step: hidden (B, N)."""

    hidden: Tensor


class GruCore(nn.Module):
    """A `torch.nn.GRU` as a `plastic_rl.policies.RecurrentCore`."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.gru = nn.GRU(input_size, hidden_size)

    def initial_state(self, batch_size: int) -> GruState:
        """Zeros for so many environments."""
        return GruState(next(self.parameters()).detach().new_zeros(batch_size, self.hidden_size))

    def forward(
        self, features: Tensor, state: GruState, episode_starts: Tensor | None = None
    ) -> tuple[Tensor, GruState]:
        """Run a sequence, with gradients. features: (T, B, F), episode_starts: (T, B)."""
        n_steps = len(features)
        if episode_starts is None:
            episode_starts = torch.zeros(features.shape[:2], dtype=torch.bool)
        borders = sorted({0, *episode_starts.any(dim=1).nonzero().flatten().tolist()})
        parts = []
        for begin, end in zip(borders, [*borders[1:], n_steps], strict=True):
            (hidden,) = zero_rows(state, episode_starts[begin])
            y, hidden = self.gru(features[begin:end], hidden[None])
            state = GruState(hidden[0])
            parts.append(y)
        return torch.cat(parts), state

    def step(
        self, features: Tensor, state: GruState, episode_start: Tensor | None = None
    ) -> tuple[Tensor, GruState]:
        """One step without gradients. features: (B, F), episode_start: (B,)."""
        with torch.no_grad():
            hidden = state.hidden if episode_start is None else zero_rows(state, episode_start).hidden
            hidden = torch.gru_cell(features, hidden, *self.gru.all_weights[0])
        return hidden, GruState(hidden)

    def scaled_parameters(self) -> Iterable[nn.Parameter]:
        """None: all of a GRU learns at the same rate."""
        return ()


class GruPolicy(plastic_rl.PlasticPolicy):
    """`PlasticPolicy` with a GRU of `hidden_size` units in the place of the plastic core."""

    def _make_core(self) -> RecurrentCore:
        return GruCore(self.features_dim, self.hidden_size)


@dataclass(frozen=True)
class Network:
    """What is compared: an algorithm of the command line, and what is changed of its settings.

    Attributes:
        more_steps: factor to the steps of the plastic networks.
        policy: instead of that of the settings.
    """

    algo: str = "plastic_a2c"
    policy_kwargs: dict[str, Any] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    more_steps: float = 1
    policy: type | None = None


PLAIN = {"others": {"learning_rate": "lin_0.003"}, "more_steps": 5}
NETWORKS = {
    "plastic, modulated": Network(),
    "plastic, hebb": Network(policy_kwargs={"rule": "hebb"}, more_steps=5),
    "plain tanh": Network(policy_kwargs={"alpha": "none"}, **PLAIN),  # type: ignore[arg-type]
    "LSTM": Network(policy=LstmPolicy, **PLAIN),  # type: ignore[arg-type]
    "GRU": Network(policy=GruPolicy, **PLAIN),  # type: ignore[arg-type]
    "PlasticPPO, modulated": Network(algo="plastic_ppo"),
    "RecurrentPPO": Network(algo="recurrent_ppo"),
}


def settings(network: Network, n_pairs: int) -> dict[str, Any]:
    """What a run is trained with, in plain values."""
    size = {} if n_pairs <= 8 else {"hidden_size": 100}
    lifetime = {"n_steps": 4 * n_pairs} if network.algo != "recurrent_ppo" else {}
    overrides = {**lifetime, **network.others}
    if network.algo != "recurrent_ppo":
        overrides["policy_kwargs"] = {**size, **network.policy_kwargs}
    config = load_config(ENV_ID, network.algo, overrides=overrides)
    steps = int(STEPS[n_pairs] * network.more_steps)
    return {"algo": network.algo, "n_envs": config.n_envs, "n_timesteps": steps, **config.hyperparams}


def train(run: Run) -> Result:
    """One run: what it answered, how it learned, and how long that took."""
    network, n_pairs = NETWORKS[run.name], int(run.group.removeprefix("pairs_"))
    env_kwargs = {"n_pairs": n_pairs, "render_mode": None}
    given = settings(network, n_pairs)
    overrides = {key: given[key] for key in given if key not in ("algo", "n_envs", "n_timesteps")}
    kwargs = load_config(ENV_ID, network.algo, overrides=overrides).kwargs()
    if network.policy is not None:
        kwargs["policy"] = network.policy
        kwargs["policy_kwargs"] = {"hidden_size": kwargs["policy_kwargs"]["hidden_size"]}
    env = plastic_rl.make_vec_env(ENV_ID, given["n_envs"], run.seed, env_kwargs=env_kwargs)
    model = algorithm_class(network.algo)(env=env, seed=run.seed, device="cpu", **kwargs)
    callback = CurveCallback(given["n_timesteps"])
    processor = time.process_time()
    model.learn(given["n_timesteps"], callback=callback)
    processor = time.process_time() - processor
    test = plastic_rl.make_vec_env(ENV_ID, 32, EVALUATION_SEED + run.seed, env_kwargs=env_kwargs)
    answered = evaluate(model, test, LIFETIMES, deterministic=True).returns / n_pairs
    return {
        "answered": round(float(answered.mean()), 4),
        "curve": [(steps, round(mean / n_pairs, 4)) for steps, mean in callback.curve],
        "steps": model.num_timesteps,
        "processor_seconds": round(processor, 1),
        "weights": sum(parameter.numel() for parameter in model.policy.parameters()),
    }


def steps_to(curve: list[tuple[int, float]], share: float) -> str:
    """Environment steps until the training answered this share."""
    reached = [steps for steps, value in curve if value >= share]
    return f"{reached[0]:,}" if reached else "never"


def table(runs: dict[str, dict[str, list[Result]]]) -> str:
    """Markdown: per number of pairs and network what every seed answered, and what it took."""
    columns = ["pairs", "network", "weights", "environment steps", "answered, each seed", "to .90", "CPU s"]
    rows = []
    for group, networks in runs.items():
        for name, records in networks.items():
            first = records[0]
            each = ", ".join(f"{record['answered']:.3f}" for record in records)
            reached = ", ".join(steps_to(record["curve"], 0.9) for record in records)
            seconds = np.mean([record["processor_seconds"] for record in records])
            numbers = f"{first['weights']:,}", f"{first['steps']:,}"
            rows.append((group.removeprefix("pairs_"), name, *numbers, each, reached, f"{seconds:,.0f}"))
    return markdown_table(columns, rows) + "\n"


def draw(folder: Path, runs: dict[str, dict[str, list[Result]]]) -> None:
    """Curves: the median over seeds, and all of them as a band, one panel per number of pairs."""
    with picture(folder / "curves.png", (5.2 * len(runs), 4.2)) as figure:
        panels = figure.subplots(1, len(runs), squeeze=False, sharey=True)[0]
        for axes, (group, networks) in zip(panels, runs.items(), strict=True):
            n_pairs = int(group.removeprefix("pairs_"))
            for name, records in networks.items():
                i = list(NETWORKS).index(name)
                count = min(len(record["curve"]) for record in records)
                steps = [step for step, _ in records[0]["curve"][:count]]
                shares = np.array([[value for _, value in record["curve"][:count]] for record in records])
                style = {"color": CURVES[i % len(CURVES)], "linestyle": DASHES[i % len(DASHES)]}
                axes.fill_between(
                    steps, shares.min(0), shares.max(0), color=style["color"], alpha=0.15, linewidth=0
                )
                axes.plot(steps, np.median(shares, 0), label=name, **style)
            levels = reference_levels(ENV_ID, {"n_pairs": n_pairs})
            draw_levels(axes, {name: level / n_pairs for name, level in levels.items()}, grey=True)
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axes.set_title(f"{n_pairs} pairs", fontsize="medium")
            axes.set_xlabel("environment steps")
            axes.grid(alpha=0.3)
        panels[0].set_ylabel("share of right answers")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)


def main() -> None:
    """Train what is missing, then write table and curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--n-pairs", type=int, nargs="+", default=[8], choices=STEPS)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS, metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    wanted = [
        Run(f"pairs_{n_pairs}", name, seed, settings(NETWORKS[name], n_pairs))
        for n_pairs in arguments.n_pairs
        for name in arguments.networks
        for seed in arguments.seeds
    ]
    train_missing(
        arguments.folder,
        wanted,
        train,
        lambda _, result: f"{result['answered']:.3f} in {result['processor_seconds']} CPU s",
    )
    runs = read_runs(arguments.folder, {f"pairs_{n_pairs}": list(NETWORKS) for n_pairs in STEPS})
    text = table(runs)
    (arguments.folder / "table.md").write_text(text)
    draw(arguments.folder, runs)
    print(text)


if __name__ == "__main__":
    main()
