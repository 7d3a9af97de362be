"""Learning to name handwritten characters from one look at each: few-shot classification on Omniglot."""

import os
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from plastic_rl.arguments import check_choice, check_count, check_flag, check_scale
from plastic_rl.envs.arguments import check_images
from plastic_rl.envs.sampling import draw_distinct
from plastic_rl.envs.tasks.distortions import mirrored, warped
from plastic_rl.envs.tasks.episodic import EpisodicTaskEnv
from plastic_rl.envs.tasks.render import draw_classification
from plastic_rl.envs.tasks.task import Episodes
from plastic_rl.envs.tasks.vector import EpisodicTaskVectorEnv

SIDE = 31
"""Pixels per side of an image."""

SPLITS = ("train", "validation", "test")


class OmniglotTask:
    """A few characters shown with their labels, then another drawing of one of them to be labelled.

    Args:
        split: "train", "validation" or "test": three sets of characters that have none in common.
        n_way: N, the different characters of an episode; at least 2.
        k_shot: K, the drawings shown of each; at least 1.
        class_split: "paper" draws `n_test` and `n_validation` characters from all alphabets and leaves the
            others for training; "alphabets" tests on the alphabets of Omniglot's evaluation folder and
            validates on whole alphabets of its background folder, drawn until there are `n_validation`
            characters.
        split_seed: what the draw of the split depends on; at least 0.
        n_validation: characters set aside from the training ones, for choices that must not be made on the
            test characters; at least 0. With 0 the training characters are the paper's 1,523.
        n_test: see `class_split`; at least 0.
        shuffle_labels: shows labels that say nothing about the query's: a control, in which no agent can be
            better than chance.
        data: where Omniglot is, as for `plastic_rl.envs.datasets.omniglot`; or the drawings themselves: an
            object with `images` (characters, drawings, 31, 31) uint8, ink bright, and for
            `class_split="alphabets"` also `alphabets` and `background`, one entry for each character; or
            such an array of images.

    Attributes:
        characters: (C,) the numbers of this split's characters in the data.

    Raises:
        ValueError: an argument is outside of its range, or the data has the wrong shape or too few
            characters.
        FileNotFoundError: the data is not there.
    """

    def __init__(
        self,
        split: Literal["train", "validation", "test"] = "train",
        n_way: int = 5,
        k_shot: int = 1,
        class_split: Literal["paper", "alphabets"] = "paper",
        split_seed: int = 0,
        n_validation: int = 100,
        n_test: int = 100,
        shuffle_labels: bool = False,
        data: Any = None,
    ):
        check_choice("split", split, SPLITS)
        check_choice("class_split", class_split, ("paper", "alphabets"))
        self.n_way = check_count("n_way", n_way, least=2)
        self.k_shot = check_count("k_shot", k_shot)
        self.shuffle_labels = check_flag("shuffle_labels", shuffle_labels)
        check_count("split_seed", split_seed, least=0)
        check_count("n_validation", n_validation, least=0)
        check_count("n_test", n_test, least=0)

        if data is None or isinstance(data, str | os.PathLike):
            from plastic_rl.envs.datasets import omniglot

            data = omniglot(data)
        self.images = check_images(data, "images", ("characters", "drawings", SIDE, SIDE))
        rng = np.random.default_rng(split_seed)
        if class_split == "paper":
            parts = _split_characters(len(self.images), n_validation, n_test, rng)
        else:
            parts = _split_alphabets(data, len(self.images), n_validation, rng)
        self.characters = parts[split]
        if n_way > len(self.characters):
            raise ValueError(
                f"n_way must be at most the {len(self.characters)} characters of split {split!r}, got {n_way}"
            )
        if k_shot >= self.images.shape[1]:
            raise ValueError(
                f"k_shot must be less than the {self.images.shape[1]} drawings of a character, got {k_shot}"
            )

        self.split = split
        self.episode_length = n_way * k_shot + 1
        self.action_space = spaces.Discrete(n_way)
        self.observation_space = spaces.Dict(
            image=spaces.Box(0, 1, (SIDE * SIDE,), np.float32), label=spaces.Box(0, 1, (n_way,), np.float32)
        )

    def sample_episodes(
        self,
        batch: int,
        rng: np.random.Generator,
        *,
        pool_classes: int | None = None,
        pool_drawings: int = 4,
        mirror: bool = False,
        warp: float = 0.0,
    ) -> Episodes:
        """Draw episodes: images (T, B, 961), labels (T, B, N) one-hot, targets (B,) integers below N.

        Args:
            batch: number of episodes B.
            rng: where everything random comes from.
            pool_classes: if given, the whole batch is drawn from so many turned characters, at least N. Each
                episode on its own is distributed as ever, but the same drawings come up in many of them, and
                a network looks at each just once: training gets by with a fraction of the convolutions. For
                scores, draw without: episodes that share drawings are not independent.
            pool_drawings: drawings of each of them, from K + 1 to all.
            mirror: half of the characters are mirror images, which makes others of them. For training.
            warp: how much each drawing is stretched, sheared, turned and shifted, from 0 (not at all) to less
                than 1; what it bounds is said in `plastic_rl.envs.tasks.distortions.warped`. For training.

        Raises:
            ValueError: an argument is outside of its range.
        """
        n, k, n_drawings = self.n_way, self.k_shot, self.images.shape[1]
        check_flag("mirror", mirror)
        if check_scale("warp", warp) >= 1:
            raise ValueError(f"warp must be at least 0 and less than 1, got {warp!r}")
        if pool_classes is None:
            members = draw_distinct(rng, batch, len(self.characters), n)
            rotations = rng.integers(4, size=(batch, n))
            drawings = draw_distinct(rng, batch * n, n_drawings, k + 1).reshape(batch, n, k + 1)
        else:
            _check_pool(pool_classes, (n, len(self.characters)), pool_drawings, (k + 1, n_drawings))
            pool = draw_distinct(rng, 1, len(self.characters), pool_classes)[0]
            pool_rotations = rng.integers(4, size=pool_classes)
            pooled = draw_distinct(rng, pool_classes, n_drawings, pool_drawings)
            members = draw_distinct(rng, batch, pool_classes, n)
            drawings = draw_distinct(rng, batch * n, pool_drawings, k + 1).reshape(batch, n, k + 1)
        labels = rng.permuted(np.tile(np.arange(n), (batch, 1)), axis=1)

        # Step by step: which of the episode's classes is shown, and which of its drawings.
        order = rng.permuted(np.tile(np.arange(n * k), (batch, 1)), axis=1)
        query = rng.integers(n, size=(batch, 1))
        classes = np.hstack([order // k, query]).T
        shots = np.hstack([order % k, np.full_like(query, k)]).T

        episode = np.arange(batch)
        member, drawing = members[episode, classes], drawings[episode, classes, shots]
        if pool_classes is None:
            images = self._rotated(self.characters[member], drawing, rotations[episode, classes])
            if mirror:
                images = mirrored(images, rng.integers(2, size=(batch, n), dtype=bool)[episode, classes])
            images = warped(images, warp, rng)
        else:
            # Every drawing of the pool is turned once, however many episodes it comes up in.
            turned = self._rotated(self.characters[pool][:, None], pooled, pool_rotations[:, None])
            if mirror:
                turned = mirrored(turned, rng.integers(2, size=(pool_classes, 1), dtype=bool))
            images = warped(turned, warp, rng)[member, drawing]
        told = rng.permuted(labels, axis=1) if self.shuffle_labels else labels
        one_hot = np.zeros((n * k + 1, batch, n), np.float32)
        one_hot[:-1] = np.eye(n, dtype=np.float32)[told[episode, classes[:-1]]]
        flat = images.reshape(*images.shape[:2], -1)
        return Episodes({"image": flat, "label": one_hot}, labels[episode, classes[-1]])

    def _rotated(
        self, characters: NDArray[np.intp], drawings: NDArray[np.intp], rotations: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Drawings turned by so many right angles, (..., 31, 31) from 0 to 1; the arguments broadcast."""
        characters, drawings, rotations = np.broadcast_arrays(characters, drawings, rotations)
        turned = np.empty((rotations.size, SIDE, SIDE), np.float32)
        for quarter in range(4):
            rows = np.flatnonzero(rotations.ravel() == quarter)
            upright = self.images[characters.ravel()[rows], drawings.ravel()[rows]]
            turned[rows] = np.rot90(upright, quarter, axes=(1, 2))
        turned /= 255
        return turned.reshape(*characters.shape, SIDE, SIDE)

    def score(self, episodes: Episodes, actions: NDArray[Any]) -> NDArray[Any]:
        """1 where the label is right, otherwise 0; (B,)."""
        return (np.asarray(actions) == episodes.targets).astype(np.float32)

    def metrics(self, episodes: Episodes, actions: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """`accuracy`, which is the score."""
        return {"accuracy": self.score(episodes, actions)}

    def frame(
        self, observations: dict[str, NDArray[Any]], action: NDArray[Any] | None, target: int
    ) -> NDArray[np.uint8]:
        """The drawings shown so far with their labels, and the query with the answer and the truth."""
        images, labels = observations["image"], observations["label"]
        has_query = len(images) == self.episode_length
        n_shown = len(images) - has_query
        return draw_classification(
            [image.reshape(SIDE, SIDE) for image in images[:n_shown]],
            [int(label.argmax()) for label in labels[:n_shown]],
            self.n_way,
            self.k_shot,
            query=images[-1].reshape(SIDE, SIDE) if has_query else None,
            answer=int(action) if has_query and action is not None else None,
            truth=int(target) if has_query else None,
            title=f"step {len(images)} of {self.episode_length}",
        )


def _check_pool(
    classes: int, class_range: tuple[int, int], drawings: int, drawing_range: tuple[int, int]
) -> None:
    for name, value, (least, most) in (
        ("pool_classes", classes, class_range),
        ("pool_drawings", drawings, drawing_range),
    ):
        if check_count(name, value, least=least) > most:
            raise ValueError(f"{name} must be at most {most} here, got {value}")


def _split_characters(
    count: int, n_validation: int, n_test: int, rng: np.random.Generator
) -> dict[str, NDArray[np.intp]]:
    if n_validation + n_test > count:
        raise ValueError(
            f"n_validation + n_test must be at most the {count} characters of the data, "
            f"got {n_validation} + {n_test}"
        )
    # The test characters come first, so that they do not depend on n_validation.
    order = rng.permutation(count)
    test, validation, train = np.split(order, [n_test, n_test + n_validation])
    return {"train": np.sort(train), "validation": np.sort(validation), "test": np.sort(test)}


def _split_alphabets(
    data: Any, count: int, n_validation: int, rng: np.random.Generator
) -> dict[str, NDArray[np.intp]]:
    alphabets, background = (np.asarray(getattr(data, name, ())) for name in ("alphabets", "background"))
    if not len(alphabets) == len(background) == count:
        raise ValueError(
            f"class_split='alphabets' needs data with an entry in alphabets and background for each of the "
            f"{count} characters, got {len(alphabets)} and {len(background)}"
        )
    background = background.astype(bool)
    is_validation = np.zeros(count, dtype=bool)
    for alphabet in rng.permutation(np.unique(alphabets[background])):
        if is_validation.sum() >= n_validation:
            break
        is_validation |= background & (alphabets == alphabet)
    return {
        "train": np.flatnonzero(background & ~is_validation),
        "validation": np.flatnonzero(is_validation),
        "test": np.flatnonzero(~background),
    }


class PlasticOmniglotEnv(EpisodicTaskEnv):
    """Handwritten characters, shown once with a label, then one that has to be labelled.

    ## Description
    Every episode brings other characters under freshly drawn labels, so that only what was shown within it
    tells the answer. From Miconi, Stanley & Clune, "Differentiable plasticity: training plastic neural
    networks with backpropagation" (ICML 2018); the data is from Lake, Salakhutdinov &
    Tenenbaum, "Human-level concept learning through probabilistic program induction" (Science 2015).

    ## Action Space
    `Discrete(n_way)`: the query's label. Only the action of the last step counts.

    ## Observation Space
    A `Dict`:

    | key | shape | content |
    |---|---|---|
    | image | (961,) | 31 x 31 pixels, row by row: 1 ink, 0 paper |
    | label | (n_way,) | the drawing's label, one-hot; 0 everywhere with the query |

    ## Rewards
    0, and on the last step 1 if the label is right. Guessing brings 1 / n_way.

    ## Starting State
    `n_way` different characters, each turned by 0, 90, 180 or 270 degrees, labelled in random order. `k_shot`
    drawings of each are shown in random order, one a step; then, as the query, one more of one of them.

    ## Episode End
    Terminates after `n_way * k_shot + 1` steps.

    ## Information
    `target`: the query's label. On the last step also `accuracy`, which is the reward.

    ## Arguments
    Those of `OmniglotTask`, by keyword, and `render_mode`: "rgb_array" or None. The defaults are the paper's
    5-way 1-shot task, on training characters. Omniglot has to be there: see `data`; nothing is downloaded.

    ## Version History
    - v0: first version.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 2}  # noqa: RUF012
    state_attributes = ()

    def __init__(self, *, render_mode: str | None = None, **task_arguments: Any):
        super().__init__(OmniglotTask(**task_arguments), render_mode)


class PlasticOmniglotVectorEnv(EpisodicTaskVectorEnv):
    """The batched form of `PlasticOmniglotEnv`: its arguments, `num_envs` and `max_episode_steps`."""

    metadata: dict[str, Any] = {**EpisodicTaskVectorEnv.metadata, "render_fps": 2}  # noqa: RUF012
    state_attributes = ()

    def __init__(
        self,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        **task_arguments: Any,
    ):
        task = OmniglotTask(**task_arguments)
        super().__init__(task, num_envs, max_episode_steps=max_episode_steps, render_mode=render_mode)
