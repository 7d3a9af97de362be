"""Where a trace beats a gate: plastic and plain networks on PlasticPairs-v0, by the number of pairs.

    python -m benchmarks.science.pairs [--n-pairs 8 16] [--weights 16000] [--networks ...] [--seeds 0 1 2]

Every run trains one network and then answers all questions of 256 fresh lifetimes with the most probable
actions. What it found is a small file of its own in the folder, by default `benchmarks/results/pairs`: a
second call trains only what is missing, or what other settings were used for. At the end the table
(`table.md`) of all runs in the folder is written, and the learning curves and the shares against numbers of
pairs, of some of the networks: in `docs/figures`, or in the folder if it is another one.

The plastic networks have the settings of `zoo_configs/` but for 32 environments and, with 64,000 weights, a
smaller rate for w and alpha, and as many neurons as the number of weights allows.
Plain networks stand in their place in the same algorithm, with one core step, the best of three learning
rates (the same one for PlasticA2C and PlasticPPO) and, up to eight pairs, ten times the steps. RecurrentPPO
is sb3-contrib's, with its own size.
"""

import time
from pathlib import Path

import torch
from stable_baselines3.common.base_class import BaseAlgorithm

import plastic_rl
from benchmarks.science.curve import CurveCallback
from benchmarks.science.pairs_networks import ENV_ID, NETWORKS, STEPS, WEIGHTS, run_name, settings
from benchmarks.science.pairs_report import capacity, draw_curves, draw_load, table
from benchmarks.science.sweep import Result, Run, make_parser, read_runs, train_missing
from plastic_rl.runs.hyperparams import algorithm_class, load_config
from plastic_rl.training.evaluation import evaluate

FOLDER = Path(__file__).parents[1] / "results" / "pairs"
FIGURES = Path(__file__).parents[2] / "docs" / "figures"
# Its learning curves are a picture of their own, for the README.
FRONT_PAGE = "pairs_8"
LIFETIMES = 256
# Far from the seeds of the training, whose environments count on from them.
EVALUATION_SEED = 10_000


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
    text = f"{table(runs)}\n{capacity(runs)}"
    (arguments.folder / "table.md").write_text(text)
    draw_curves(figures / "pairs_curves.png", runs)
    if FRONT_PAGE in runs:
        draw_curves(figures / "pairs_networks.png", {FRONT_PAGE: runs[FRONT_PAGE]})
    draw_load(figures / "pairs_load.png", runs)
    print(text)


if __name__ == "__main__":
    main()
