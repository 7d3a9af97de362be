"""What the image networks of `supervised_results.py` make of unseen images.

    python -m benchmarks.science.supervised_images [runs/supervised/images] [--output docs/figures] [--seed 0]

Draws reconstructions and the matrices w and alpha of the network `full`, and prints what the squared error is
of answers that need no network: zero (grey), the mean training image, and a mirrored copy of the half that is
shown. They answer the same test episodes that the networks are scored on. Needs CIFAR-10.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks.science.supervised_results import EXPERIMENTS, TEST_SEED, scored_batches
from plastic_rl import ImageCompletionTask, SupervisedMetaLearner
from plastic_rl.analysis.plots import plastic_matrices, reconstructions, weight_matrices
from plastic_rl.analysis.tables import with_interval
from plastic_rl.envs import Episodes
from plastic_rl.envs.tasks.completion import erased
from plastic_rl.envs.tasks.image_completion import SIDE, grey


def simple_answers(episodes: Episodes, mean_image: np.ndarray) -> dict[str, np.ndarray]:
    """Answers by name, (B, 1024); where the probe shows something they all repeat it."""
    assert isinstance(episodes.observations, np.ndarray)
    probes, hidden = episodes.observations[-1], erased(episodes)
    upside_down = probes.reshape(-1, SIDE, SIDE)[:, ::-1].reshape(probes.shape)
    return {
        "zero": probes,
        "mean training image": np.where(hidden, mean_image, probes),
        "mirrored half": np.where(hidden, upside_down, probes),
    }


def answers(model: SupervisedMetaLearner, episodes: Episodes) -> np.ndarray:
    """What a network completes, (B, 1024)."""
    with torch.no_grad():
        return model.policy.answers(model.policy(torch.as_tensor(episodes.observations)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs/supervised/images"))
    parser.add_argument("--output", type=Path, default=Path("docs/figures"))
    parser.add_argument("--seed", type=int, default=0, help="of the training run that is drawn")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)

    train, test = ImageCompletionTask("train"), ImageCompletionTask("test")
    mean_image = grey(train.images).mean(axis=0)
    errors: dict[str, list[np.ndarray]] = {}
    for episodes in scored_batches(test, EXPERIMENTS["images"].test_episodes):
        for name, answer in simple_answers(episodes, mean_image).items():
            errors.setdefault(name, []).append(test.metrics(episodes, answer)["erased_squared_error"])
    for name, parts in errors.items():
        print(f"{name}: squared error of the erased half {with_interval([np.concatenate(parts)])}")

    few = test.sample_episodes(8, np.random.default_rng(TEST_SEED))
    assert isinstance(few.observations, np.ndarray)
    for variant in ("full", "homogeneous"):
        path = arguments.folder / f"{variant}_{arguments.seed}.zip"
        if not path.is_file():
            print(f"{path} is missing: no picture of it")
            continue
        model = SupervisedMetaLearner.load(path, device="cpu")
        title = f"Unseen images, network {variant}, seed {arguments.seed}"
        picture = arguments.output / f"images_{variant}.png"
        reconstructions(few.observations[-1], answers(model, few), few.targets, picture, title=title)
        print(f"Stored {picture}")
        if variant == "full":
            matrices = plastic_matrices(model.policy)
            weight_matrices(matrices, arguments.output / "images_matrices.png", title="Image completion")
            print(f"Stored {arguments.output / 'images_matrices.png'}")


if __name__ == "__main__":
    main()
