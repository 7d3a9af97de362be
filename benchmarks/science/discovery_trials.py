"""Target discovery, trial by trial: how trained agents find out within a lifetime which cue is the target.

    python -m benchmarks.science.discovery_trials [--output FIGURE]

The agents are those that `plastic-rl sweep benchmarks/science/discovery.yml` has trained here. Each
plays 256 fresh lifetimes with its most probable answers. The figure has the share of right answers in each
trial, the mean over seeds and all of them as a band, beside what exact inference has there.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from plastic_rl.analysis import record_lifetimes
from plastic_rl.analysis.plots.style import line_style, picture
from plastic_rl.envs.discovery.rules import DiscoveryOptions, best_right_answers
from plastic_rl.runs.sweep import read_sweep
from plastic_rl.training import PlasticPPO

ENV_ID = "PlasticTargetDiscovery-v0"
SWEEP = Path(__file__).with_name("discovery.yml")
FIGURE = Path(__file__).parents[2] / "docs" / "figures" / "discovery_trials.png"
LIFETIMES, SEED = 256, 20_000


def right_by_trial(model: PlasticPPO, seed: int, episodes: int = LIFETIMES) -> np.ndarray:
    """The share of right answers in each trial, (trials,)."""
    lives = record_lifetimes(model, ENV_ID, episodes=episodes, seed=seed, deterministic=True)
    # Rewards come at go signals alone, one in each trial.
    return lives.rewards.reshape(DiscoveryOptions().n_trials, -1, episodes).sum(1).mean(1)


def optimal_by_trial() -> np.ndarray:
    """The same of who infers as well as can be, (trials,)."""
    options = DiscoveryOptions()
    return np.diff([best_right_answers(options.n_cues, n) for n in range(options.n_trials + 1)])


def draw(path: Path, shares: dict[str, np.ndarray]) -> None:
    """Shares of right answers, (seeds, trials) of each network, against the trial."""
    with picture(path, (8.4, 5.2)) as figure:
        axes = figure.subplots()
        trials = np.arange(1, DiscoveryOptions().n_trials + 1)
        for i, (name, each) in enumerate(shares.items()):
            color, dashes = line_style(i)
            axes.fill_between(trials, each.min(0), each.max(0), color=color, alpha=0.15, linewidth=0)
            axes.plot(trials, each.mean(0), color=color, linestyle=dashes, label=name)
        axes.plot(trials, optimal_by_trial(), color="#595959", linestyle=":", label="exact inference")
        axes.axhline(0.5, color="#595959", linewidth=0.8)
        axes.set_xticks(trials[::2])
        axes.set_xlabel("trial of the lifetime")
        axes.set_ylabel("share of right answers")
        axes.grid(alpha=0.3)
        figure.legend(loc="outside lower center", ncols=3, frameon=False)


def main() -> None:
    """Play all trained agents, then write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, default=FIGURE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    shares: dict[str, list[np.ndarray]] = {}
    # In the order of the sweep's own figure.
    for name, group in read_sweep(SWEEP).by_condition()[ENV_ID].items():
        for run in group:
            path = run.folder / "model.zip"
            # What is kept of a run stands for its scores, not for its agent.
            if run.state() != "finished" or not path.is_file():
                continue
            share = right_by_trial(PlasticPPO.load(path, device="cpu"), SEED + run.seed)
            print(f"{name}, seed {run.seed}: {' '.join(f'{one:.2f}' for one in share)}")
            shares.setdefault(name, []).append(share)
    if not shares:
        parser.error(f"no trained agents: plastic-rl sweep {SWEEP} trains them")
    draw(arguments.output, {name: np.array(each) for name, each in shares.items()})


if __name__ == "__main__":
    main()
