"""What plasticity does within a lifetime in the maze: figures, an animation, the cost of losing the trace.

    python -m benchmarks.science.maze_science MODEL [--env-id PlasticMaze-v0] [--output science]
        [--episodes 256]

MODEL is a run's folder, a model file, or the id of an environment that a trained agent comes with the package
for. In the output folder it leaves

    lifetime.png    reward per step within a lifetime, around the first hit, and the steps from hit to hit
    matrices.png    the trained w and alpha
    trace.png       the trace of one lifetime as the agent finds the reward
    lifetime.gif    the same lifetime, maze and trace side by side
    ablation.md     what freezing and wiping the trace costs, and losing what the neurons hold

Actions are sampled, as in training, unless --deterministic is given. The lifetime shown is the one, of the
first 15 seeds, with the median return. Ablations share their starts and goals with the intact agent, so that
the intervals of the differences are those of pairs (percentile bootstrap over lifetimes).
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

import plastic_rl
from plastic_rl.analysis import plots
from plastic_rl.analysis.lesions import Lesion, forget, freeze, wipe, wipe_once
from plastic_rl.analysis.lifetime import Lifetimes, record_lifetimes
from plastic_rl.analysis.playback import save_gif
from plastic_rl.analysis.plots import trace_animation
from plastic_rl.analysis.plots.style import picture
from plastic_rl.analysis.tables import markdown_table
from plastic_rl.runs import folder as runs
from plastic_rl.training.evaluation import mean_interval

STEPS = 250
SHOWN_SEEDS = 15
BEST_RETURN = 7.52
"""Steps per hit of the best agent that knows the goal but must find out where it was dropped."""

INTACT = "intact"
EVERY_STEP = "wiped before every step"
ABLATIONS: dict[str, list[Lesion]] = {
    INTACT: [],
    EVERY_STEP: [wipe()],
    "frozen after the first hit": [freeze("first_hit")],
    "wiped once after the first hit": [wipe_once("first_hit")],
    "kept, h lost once after the first hit": [forget("first_hit")],
    "wiped before every step after the first hit": [wipe("first_hit")],
    "frozen at mid-lifetime": [freeze(STEPS // 2)],
    "wiped once at mid-lifetime": [wipe_once(STEPS // 2)],
    "kept, h lost once at mid-lifetime": [forget(STEPS // 2)],
    "wiped once and h lost once at mid-lifetime": [wipe_once(STEPS // 2), forget(STEPS // 2)],
    "wiped before every step from mid-lifetime on": [wipe(STEPS // 2)],
}


def load(model: str, env_id: str | None) -> tuple[plastic_rl.PlasticA2C, str]:
    """The agent, and the id of the environment that it was trained on."""
    if not Path(model).exists():
        return plastic_rl.load_pretrained(model, device="cpu"), env_id or model
    path = runs.find_model(model)
    if env_id is None:
        env_id = runs.read_config(path.parent).env_id
    return plastic_rl.PlasticA2C.load(path, device="cpu"), env_id


def lifetime_figure(recorded: dict[str, Lifetimes], path: Path) -> None:
    shown = {name: recorded[name] for name in (INTACT, EVERY_STEP)}
    with picture(path, (15, 4.2)) as figure:
        steps, hit, searches = figure.subplots(1, 3)
        plots.lifetime_curves(shown, steps, title="Learning within a lifetime")
        plots.first_hit_curves(shown, hit, title="Before and after the first hit")
        plots.search_time_curves(shown, searches, best=BEST_RETURN, title="The search and the returns")
        lifetimes = f"{shown[INTACT].rewards.shape[1]} lifetimes"
        figure.suptitle(f"{lifetimes}; mean and its 95 % interval, on the right median and quartiles")


def typical_lifetime(model: plastic_rl.PlasticA2C, env_id: str, deterministic: bool) -> tuple[int, Lifetimes]:
    """The seed of the lifetime with the median return, and that lifetime with its traces and pictures."""

    def record(seed: int, keep: bool) -> Lifetimes:
        return record_lifetimes(
            model,
            env_id,
            episodes=1,
            seed=seed,
            deterministic=deterministic,
            keep_traces=keep,
            keep_frames=keep,
        )

    returns = [float(record(seed, False).returns[0]) for seed in range(SHOWN_SEEDS)]
    seed = int(np.argsort(returns)[SHOWN_SEEDS // 2])
    return seed, record(seed, True)


def trace_figure(model: plastic_rl.PlasticA2C, lives: Lifetimes, order: np.ndarray, path: Path) -> None:
    assert lives.traces is not None
    first = int(lives.first_hits[0])
    moments = {f"step {max(first // 2, 1)}": max(first // 2, 1)}
    if first < len(lives.rewards):
        moments[f"step {first}:\njust before the first hit"] = first
        moments[f"step {first + 2}:\nhit and reward are in it"] = first + 2
    moments[f"step {len(lives.rewards)}:\n{int(lives.hits.sum())} hits"] = len(lives.rewards)
    traces = {caption: lives.traces[min(t, len(lives.rewards)), 0] for caption, t in moments.items()}
    alpha = plots.plastic_matrices(model.policy)["alpha"]
    title = f"One lifetime, return {lives.returns[0]:.1f}; neurons in the order of the last trace's structure"
    plots.trace_snapshots(traces, path, alpha, order, title)


def interval(values: np.ndarray) -> str:
    low, high = mean_interval(values)
    return f"{values.mean():.1f} [{low:.1f}, {high:.1f}]"


def ablation_table(recorded: dict[str, Lifetimes]) -> str:
    """Markdown: return, return in the second half, hits, the cost of each ablation; 95 % intervals."""
    intact = recorded[INTACT]
    columns = ("trace", "return", "return in the second half", "hits", "lost of the return", "lost, %")
    rows = []
    for name, lives in recorded.items():
        cells = [name, interval(lives.returns), interval(lives.second_half_returns)]
        cells.append(interval(lives.hits.sum(axis=0).astype(float)))
        if name != INTACT:
            lost = intact.returns - lives.returns
            cells += [interval(lost), f"{100 * lost.mean() / intact.returns.mean():.0f}"]
        else:
            cells += ["", ""]
        rows.append(cells)
    return markdown_table(columns, rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--env-id", help="default: the environment of the run")
    parser.add_argument("--output", type=Path, default=Path("science"))
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gif-steps", type=int, default=STEPS, help="steps that the animation shows")
    parser.add_argument("--deterministic", action="store_true", help="take the most probable actions")
    arguments = parser.parse_args()
    if arguments.gif_steps < 1:
        parser.error("--gif-steps must be at least 1")
    torch.set_num_threads(1)
    try:
        model, env_id = load(arguments.model, arguments.env_id)
        matrices = plots.plastic_matrices(model.policy)
        if "alpha" not in matrices:
            raise ValueError("the agent has no plasticity of every connection: there is no trace to look at")
    except (OSError, ValueError) as error:
        sys.exit(f"{arguments.model}: {error}")
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)

    recorded = {
        name: record_lifetimes(
            model,
            env_id,
            episodes=arguments.episodes,
            seed=arguments.seed,
            deterministic=arguments.deterministic,
            lesions=lesions,
        )
        for name, lesions in track(ABLATIONS.items(), "lifetimes", console=Console(stderr=True))
    }
    seed, lives = typical_lifetime(model, env_id, arguments.deterministic)
    assert lives.traces is not None
    order = plots.neuron_order(lives.traces[-1, 0])
    lifetime_figure(recorded, output / "lifetime.png")
    plots.weight_matrices(
        matrices, output / "matrices.png", order, f"{env_id}: trained weights and plasticity"
    )
    trace_figure(model, lives, order, output / "trace.png")
    save_gif(trace_animation(lives, order)[: arguments.gif_steps], output / "lifetime.gif")

    actions = "the most probable actions" if arguments.deterministic else "sampled actions"
    table = (
        f"{env_id}, {arguments.episodes} lifetimes, {actions}, seed {arguments.seed}; mean and 95 % interval "
        "(percentile bootstrap over lifetimes). What begins after the first hit begins when its reward has "
        "entered the trace.\n\n" + ablation_table(recorded)
    )
    (output / "ablation.md").write_text(table, encoding="utf-8")
    print(table)
    print(f"The lifetime shown has seed {seed} and return {lives.returns[0]:.1f}. All is stored in {output}.")


if __name__ == "__main__":
    main()
