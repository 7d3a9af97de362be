"""Remembering photographs and restoring a missing half: a task of Miconi, Stanley & Clune (ICML 2018)."""

import os
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from plastic_rl.arguments import check_choice, check_count
from plastic_rl.envs.arguments import check_images
from plastic_rl.envs.sampling import draw_distinct, draw_halves
from plastic_rl.envs.tasks.completion import CompletionTask
from plastic_rl.envs.tasks.episodic import EpisodicTaskEnv
from plastic_rl.envs.tasks.vector import EpisodicTaskVectorEnv

SIDE = 32
"""Pixels per side of a CIFAR-10 image."""


class ImageCompletionTask(CompletionTask):
    """Grey CIFAR-10 images, then one of them with half of its pixels erased.

    Args:
        split: "train" or "test", the images of CIFAR-10 that are shown.
        n_images: how many different ones are shown in an episode; at least 1.
        show_steps: how long an image is shown; at least 1.
        blank_steps: how long nothing is shown after each; at least 0.
        n_passes: how often each is shown, every time in a fresh order; at least 1.
        probe_steps: how long the probe is shown; at least 1.
        erase: "half" for the upper or the lower half, drawn for each episode, or "random" for a random half
            of the pixels.
        data: where CIFAR-10 is, as for `plastic_rl.envs.datasets.cifar10`; or the images themselves: an
            object with `train` and `test`, each (n, 3, 32, 32) uint8, or one such array for either split.

    Raises:
        ValueError: an argument is outside of its range, or the data has the wrong shape.
        FileNotFoundError: the data is not there.
    """

    def __init__(
        self,
        split: Literal["train", "test"] = "train",
        n_images: int = 3,
        show_steps: int = 20,
        blank_steps: int = 3,
        n_passes: int = 3,
        probe_steps: int = 3,
        erase: Literal["half", "random"] = "half",
        data: Any = None,
    ):
        check_choice("split", split, ("train", "test"))
        check_choice("erase", erase, ("half", "random"))
        super().__init__(
            SIDE * SIDE,
            check_count("n_images", n_images),
            show_steps=show_steps,
            blank_steps=blank_steps,
            n_passes=n_passes,
            probe_steps=probe_steps,
        )
        self.split = split
        self.erase = erase
        if data is None or isinstance(data, str | os.PathLike):
            from plastic_rl.envs.datasets import cifar10

            data = cifar10(data)
        self.images = check_images(data, split, ("n", 3, SIDE, SIDE))
        if n_images > len(self.images):
            raise ValueError(
                f"n_images must be at most the {len(self.images)} images of split {split!r}, got {n_images}"
            )

    def _draw_items(self, batch: int, rng: np.random.Generator) -> NDArray[np.float32]:
        chosen = draw_distinct(rng, batch, len(self.images), self.n_items)
        return grey(self.images[chosen.ravel()]).reshape(batch, self.n_items, self.n_elements)

    def _draw_erasures(self, batch: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        if self.erase == "random":
            return draw_halves(self.n_elements, batch, rng)
        is_upper = np.arange(self.n_elements) < self.n_elements // 2
        return is_upper == rng.integers(2, size=(batch, 1), dtype=bool)


def grey(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn colour images into what a network sees: the mean of the channels, centred and scaled.

    Args:
        images: (n, 3, 32, 32), from 0 to 255.

    Returns:
        (n, 1024) float32: every image has the mean 0 and its largest absolute value is 1. An image of one
        grey is 0 everywhere.
    """
    # In whole numbers: rounding would turn an image of one grey into noise.
    pixels = images.reshape(len(images), 3, -1).sum(axis=1, dtype=np.int32)
    centred = pixels.shape[1] * pixels - pixels.sum(axis=1, keepdims=True, dtype=np.int32)
    largest = np.abs(centred).max(axis=1, keepdims=True)
    return np.divide(centred, np.maximum(largest, 1), dtype=np.float32)


class PlasticImageCompletionEnv(EpisodicTaskEnv):
    """Photographs, seen a few times, one of which must be restored from a half.

    ## Description
    Every episode shows other images. What has to be learned is not the images but how to store one of them
    and to call it up again. From Miconi, Stanley & Clune, "Differentiable plasticity: training plastic neural
    networks with backpropagation" (ICML 2018).

    ## Action Space
    `Box(-1, 1, (1024,), float32)`: the completed image, row by row. Only the action of the last step counts.

    ## Observation Space
    `Box(-1, 1, (1024,), float32)`: the image that is being shown, row by row, in grey, with its mean taken
    away, divided by its largest absolute value; 0 everywhere while none is shown; at the end the probe, in
    which 0 stands for an erased pixel.

    ## Rewards
    0, and on the last step minus the mean squared error over all pixels: 0 for the image itself.

    ## Starting State
    `n_images` different images of CIFAR-10. They are shown in `n_passes` passes, in every pass each of them
    once, in an order drawn anew: `show_steps` steps of the image, then `blank_steps` of zeros. One of them,
    with half of it erased, is shown for the last `probe_steps` steps.

    ## Episode End
    Terminates after `n_passes * n_images * (show_steps + blank_steps) + probe_steps` steps: 210 by default.

    ## Information
    `target`: the whole image, (1024,). On the last step also the squared error summed over all pixels
    (`squared_error`) and over the erased ones (`erased_squared_error`).

    ## Arguments
    Those of `ImageCompletionTask`, by keyword, and `render_mode`: "rgb_array" or None. The defaults are the
    paper's. CIFAR-10 has to be there: see `data`; nothing is downloaded here.

    ## Version History
    - v0: first version.
    """

    state_attributes = ()

    def __init__(self, *, render_mode: str | None = None, **task_arguments: Any):
        super().__init__(ImageCompletionTask(**task_arguments), render_mode)


class PlasticImageCompletionVectorEnv(EpisodicTaskVectorEnv):
    """The batched form of `PlasticImageCompletionEnv`: its arguments, `num_envs` and `max_episode_steps`."""

    state_attributes = ()

    def __init__(
        self,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        **task_arguments: Any,
    ):
        task = ImageCompletionTask(**task_arguments)
        super().__init__(task, num_envs, max_episode_steps=max_episode_steps, render_mode=render_mode)
