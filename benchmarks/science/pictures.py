"""The pictures of the environments in docs/environments.md, one of each.

    PLASTIC_RL_DATA=... python -m benchmarks.science.pictures [--output docs/figures]

Needs Omniglot and CIFAR-10 (`plastic-rl data fetch`). Nothing here is trained. In the maze the way to the
goal is taken from `info`, and so are most answers to the pairs and in target discovery; the others are
answered by methods that fit on a line: the drawing that shares most ink with the query (Omniglot), and the
sum of the outer products of all that was seen (patterns, images).
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

import plastic_rl  # noqa: F401

Answer = Callable[[list[Any]], Any]


def completed(seen: list[np.ndarray]) -> np.ndarray:
    """The last pattern, completed from an outer-product memory of those before it, (E,) from -1 to 1."""
    shown, probe = np.stack(seen[:-1]), seen[-1]
    recalled = (shown @ probe) @ shown
    recalled /= np.abs(recalled).max()
    return np.where(probe == 0, recalled, probe)


def signs(seen: list[np.ndarray]) -> np.ndarray:
    """The same for patterns of -1 and 1."""
    return np.sign(completed(seen)).astype(np.float32)


def most_alike(seen: list[dict[str, np.ndarray]]) -> int:
    """The label of the drawing that shares most ink with the last one."""
    shown, query = np.stack([step["image"] for step in seen[:-1]]), seen[-1]["image"]
    alike = shown @ query / np.linalg.norm(shown, axis=1)
    return int(seen[alike.argmax()]["label"].argmax())


def answered(env_id: str, answer: Answer, seed: int, **env_kwargs: Any) -> np.ndarray:
    """The last picture of an episode, (H, W, 3) uint8; `answer` takes all observations of the episode."""
    env = gym.make(env_id, render_mode="rgb_array", **env_kwargs)
    observation, _ = env.reset(seed=seed)
    space = env.action_space
    neutral = np.zeros(space.shape) if isinstance(space, gym.spaces.Box) else 0
    length = env.get_wrapper_attr("task").episode_length
    seen = [observation]
    for _ in range(length - 1):
        seen.append(env.step(neutral)[0])
    env.step(answer(seen))
    return np.asarray(env.render())


def walked(seed: int, hits: int) -> np.ndarray:
    """The maze one step before so many hits, (H, W, 3) uint8, of a walk towards the goal with detours."""
    env = gym.make("PlasticMaze-v0", render_mode="rgb_array")
    _, info = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    picture = np.asarray(env.render())
    while info["hits"] < hits:
        picture = np.asarray(env.render())
        down, right = np.subtract(info["goal"], info["position"])
        towards = [action for action, ahead in enumerate((-down, right, down, -right)) if ahead > 0]
        info = env.step(rng.choice(towards) if rng.random() < 0.8 else rng.integers(4))[4]
    return picture


def recalled(seed: int, steps: int) -> np.ndarray:
    """The pairs after so many steps, (H, W, 3) uint8; those that were shown first are forgotten."""
    env = gym.make("PlasticPairs-v0", render_mode="rgb_array")
    _, info = env.reset(seed=seed)
    for _ in range(steps):
        info = env.step(info.get("target", 0) if info["pair"] > 2 else 0)[4]
    return np.asarray(env.render())


def discovered(seed: int, steps: int) -> np.ndarray:
    """Target discovery after so many steps, (H, W, 3) uint8; first all answers are yes, then right."""
    env = gym.make("PlasticTargetDiscovery-v0", render_mode="rgb_array")
    _, info = env.reset(seed=seed)
    for _ in range(steps):
        info = env.step(info.get("answer", 0) if info["trial"] > 3 else 1)[4]
    return np.asarray(env.render())


def main() -> None:
    """Draw them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[2] / "docs" / "figures")
    output = parser.parse_args().output
    pictures = {
        "maze": walked(seed=0, hits=3),
        "pairs": recalled(seed=1, steps=27),
        "target_discovery": discovered(seed=2, steps=69),
        "pattern_memory": answered("PlasticPatternMemory-v0", signs, seed=0),
        "image_completion": answered("PlasticImageCompletion-v0", completed, seed=0),
        "omniglot": answered("PlasticOmniglot-v0", most_alike, seed=0),
    }
    output.mkdir(parents=True, exist_ok=True)
    for name, pixels in pictures.items():
        path = output / f"env_{name}.png"
        Image.fromarray(pixels).save(path, optimize=True)
        print(
            f"{path.name}: {pixels.shape[1]} x {pixels.shape[0]} pixels, {path.stat().st_size / 1000:.0f} kB"
        )


if __name__ == "__main__":
    main()
