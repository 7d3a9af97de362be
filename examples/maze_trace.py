"""Look into an agent's memory while it finds the goal of a maze and returns to it.

    python examples/maze_trace.py

Trains an agent in the maze for a minute or two. Then it plays lifetimes with its Hebbian trace left alone,
and the same ones with the trace wiped before every step: what it loses is what the trace was good for. Three
files show the rest: `trace.png`, the trace at some moments of one lifetime and what it adds to the weights;
`trace.gif`, that lifetime around its first hit, with the trace beside it; `lifetime.png`, the reward per step
over all lifetimes, which rises as the agent learns.
"""

import argparse
from pathlib import Path

import numpy as np

import plastic_rl
from plastic_rl.analysis.lesions import wipe
from plastic_rl.analysis.lifetime import Lifetimes, record_lifetimes
from plastic_rl.analysis.playback import save_gif
from plastic_rl.analysis.plots import (
    lifetime_curves,
    neuron_order,
    plastic_matrices,
    trace_animation,
    trace_snapshots,
)
from plastic_rl.training.evaluation import mean_interval

ENV_ID = "PlasticMazePrevAction-v0"
BEFORE, AFTER = 30, 90  # animated steps around the first hit


def train(seed: int, timesteps: int) -> plastic_rl.PlasticA2C:
    """Train as `plastic-rl train --config ungated` does: who has gates hardly misses the trace."""
    env = plastic_rl.make_vec_env(ENV_ID, n_envs=32, seed=seed)
    given = plastic_rl.hyperparams(ENV_ID, config="ungated")
    model = plastic_rl.PlasticA2C(env=env, **given, seed=seed, device="cpu")
    return model.learn(timesteps)


def one_lifetime(model: plastic_rl.PlasticA2C) -> Lifetimes:
    """The first lifetime with at least five hits, or the last one tried, with traces and frames."""
    for seed in range(20):
        if record_lifetimes(model, ENV_ID, episodes=1, seed=seed).hits.sum() >= 5:
            break
    return record_lifetimes(model, ENV_ID, episodes=1, seed=seed, keep_traces=True, keep_frames=True)


def moments(lives: Lifetimes) -> dict[str, int]:
    """Steps at which to look at the trace, by caption. A hit is in the trace two steps after it."""
    last = len(lives.rewards)
    hits = np.flatnonzero(lives.hits[:, 0])
    steps = {
        f"hit {number + 1}, step {hits[number] + 1}": hits[number] + 2 for number in range(len(hits))[:3]
    }
    steps = {caption: step for caption, step in steps.items() if step < last}
    before = [("before the first hit", hits[0])] if len(hits) else []
    return {**dict(before), **steps, f"the end, step {last}": last}


def main() -> None:
    """Train, play, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timesteps", type=int, default=2_500_000, help="of the training")
    parser.add_argument("--lifetimes", type=int, default=64, help="to play, each of 250 steps")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--output", type=Path, default=Path("maze_trace"), help="folder of the pictures")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)

    model = train(args.seed, args.timesteps)
    conditions = {"trace left alone": [], "trace wiped": [wipe()]}
    groups = {
        name: record_lifetimes(model, ENV_ID, episodes=args.lifetimes, lesions=lesions)
        for name, lesions in conditions.items()
    }
    for name, lives in groups.items():
        low, high = mean_interval(lives.returns)
        print(f"{name}: mean return {lives.returns.mean():.1f}, 95 % interval {low:.1f} to {high:.1f}")
    print("for comparison:", plastic_rl.reference_levels(ENV_ID))
    lifetime_curves(groups, args.output / "lifetime.png")

    lives = one_lifetime(model)
    assert lives.traces is not None
    traces = lives.traces[:, 0]
    order = neuron_order(traces[-1])
    snapshots = {caption: traces[step] for caption, step in moments(lives).items()}
    alpha = plastic_matrices(model.policy)["alpha"]
    trace_snapshots(snapshots, args.output / "trace.png", alpha, order, "The Hebbian trace in one lifetime")
    begin = max(0, int(lives.first_hits[0]) - BEFORE)
    save_gif(trace_animation(lives, order)[begin : begin + BEFORE + AFTER], args.output / "trace.gif")
    print(f"pictures in {args.output}: {', '.join(sorted(path.name for path in args.output.iterdir()))}")


if __name__ == "__main__":
    main()
