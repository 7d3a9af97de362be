"""How far the networks of image completion get on erasures and images that their training did not have.

    python -m benchmarks.science.supervised_erasures [runs/supervised] [--seeds 0 1 2]

Networks of `supervised_results.py`, trained on photographs with a half erased (experiment `images`) and with
random pixels erased (`images-random`), complete unseen photographs (CIFAR-10) and drawings (Omniglot, with a
margin of one pixel) of either erasure, 500 episodes each. Beside them stands what grey in their place has.
Needs both sets of images.
"""

import argparse
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import plastic_rl  # noqa: F401 (registers the environments)
from benchmarks.science.supervised_results import BATCH, EXPERIMENTS, TEST_SEED, scored_batches
from plastic_rl import SupervisedMetaLearner
from plastic_rl.analysis.tables import markdown_table, with_interval
from plastic_rl.envs.datasets import omniglot
from plastic_rl.envs.tasks.image_completion import SIDE
from plastic_rl.training.evaluation import evaluate_episodes

ERASURES = ("half", "random")
# Experiments, and what is erased in their trainings.
TRAININGS = {"images": "half", "images-random": "random"}
MEASURE = "squared_error"


def drawings(images: np.ndarray) -> np.ndarray:
    """Drawings (characters, drawings, 31, 31) as CIFAR-10 has its images, (n, 3, 32, 32); ink is bright."""
    margin = SIDE - images.shape[-1]
    padded = np.pad(images.reshape(-1, 1, *images.shape[-2:]), ((0, 0), (0, 0), (0, margin), (0, margin)))
    return np.repeat(padded, 3, axis=1)


def grey(env: gym.Env, episodes: int) -> np.ndarray:
    """The squared error of grey in place of what is missing, (episodes,)."""
    task = env.get_wrapper_attr("task")
    errors = []
    for drawn in scored_batches(task, episodes):
        assert isinstance(drawn.observations, np.ndarray)
        errors.append(task.metrics(drawn, drawn.observations[-1])[MEASURE])
    return np.concatenate(errors)


def table(models: dict[str, list[SupervisedMetaLearner]], envs: dict[str, gym.Env], episodes: int) -> str:
    """Markdown: a row for what is completed, a column for grey, one for each training.

    models: by their column, one for each seed
    envs: by their row
    """
    rows = []
    for name, env in envs.items():
        cells = [with_interval([grey(env, episodes)])]
        for trained in models.values():
            scores = [
                evaluate_episodes(model, env, episodes, batch_size=BATCH, seed=TEST_SEED)[MEASURE]
                for model in trained
            ]
            cells.append(", ".join(f"{score.mean:.1f}" for score in scores))
        rows.append((name, *cells))
    return markdown_table(["completed", "grey", *models], rows) + "\n"


def main() -> None:
    """Print the table of what there is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs/supervised"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    arguments = parser.parse_args()
    models = {}
    for experiment, erase in TRAININGS.items():
        paths = [arguments.folder / experiment / f"full_{seed}.zip" for seed in arguments.seeds]
        missing = [path for path in paths if not path.is_file()]
        if missing:
            print(
                f"{missing[0]} is missing: train it with supervised_results --experiments {experiment} "
                "--variants full"
            )
            continue
        models[f"trained with {erase}"] = [SupervisedMetaLearner.load(path, device="cpu") for path in paths]
    sets: dict[str, Any] = {"photographs": None, "drawings": drawings(omniglot().images)}
    envs = {
        f"{name}, {erase}": gym.make("PlasticImageCompletion-v0", split="test", erase=erase, data=data)
        for name, data in sets.items()
        for erase in ERASURES
    }
    print(table(models, envs, EXPERIMENTS["images"].test_episodes))


if __name__ == "__main__":
    main()
