"""How far an agent without memory can get on CartPole without velocities.

    python -m benchmarks.science.memoryless [--seeds 0 1 2] [--velocities]

Searches among networks that push right with a probability that depends on what is seen now, by the
cross-entropy method: of many networks the best tenth tells where to draw the next ones from. What the search
finds is a lower bound of what is possible, but one that no gradient and no value estimate stands behind; with
`--velocities`, where no memory is needed, the same search must find 500.
"""

import argparse

import gymnasium as gym
import numpy as np

HIDDEN = 16
NETWORKS, EPISODES, GENERATIONS = 128, 16, 80
# Cart position, its velocity, pole angle, its velocity: brought to the same size.
SCALE = np.array([1.0, 1.0, 10.0, 1.0])


def push_right(weights: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The probability of action 1. weights: (P, D), seen: (P, E, F), returns: (P, E)."""
    n, size = weights.shape[0], seen.shape[-1]
    first, rest = np.split(weights, [size * HIDDEN], axis=1)
    bias, second, offset = np.split(rest, [HIDDEN, 2 * HIDDEN], axis=1)
    hidden = np.tanh(seen @ first.reshape(n, size, HIDDEN) + bias[:, None])
    drive = np.einsum("peh,ph->pe", hidden, second) + offset
    return 1 / (1 + np.exp(-np.clip(drive, -50, 50)))


def mean_returns(weights: np.ndarray, episodes: int, seed: int, seen: list[int]) -> np.ndarray:
    """The mean return of every network, (P,)."""
    shape = (len(weights), episodes)
    env = gym.make_vec("CartPole-v1", len(weights) * episodes, vectorization_mode="vector_entry_point")
    rng = np.random.default_rng(seed)
    obs, _ = env.reset(seed=seed)
    returns, running = np.zeros(shape), np.ones(shape, dtype=bool)
    while running.any():
        p = push_right(weights, (obs * SCALE)[:, seen].reshape(*shape, len(seen)))
        obs, rewards, terminated, truncated, _ = env.step((rng.random(shape) < p).ravel().astype(np.int64))
        returns += running * rewards.reshape(shape)
        running &= ~(terminated | truncated).reshape(shape)
    env.close()
    return returns.mean(1)


def search(seed: int, seen: list[int]) -> float:
    """The mean return, over fresh episodes, of the network that the search ends with."""
    rng = np.random.default_rng(seed)
    size = (len(seen) + 2) * HIDDEN + 1
    mean, spread = np.zeros(size), np.full(size, 2.0)
    for generation in range(GENERATIONS):
        weights = mean + spread * rng.normal(size=(NETWORKS, size))
        scores = mean_returns(weights, EPISODES, int(rng.integers(2**31)), seen)
        best = weights[np.argsort(-scores)[: NETWORKS // 10]]
        mean = (mean + best.mean(0)) / 2
        # A little is added, ever less, so that the search does not stop early.
        spread = (spread + best.std(0)) / 2 + 0.03 * (1 - generation / GENERATIONS)
    return float(mean_returns(mean[None], 1000, int(rng.integers(2**31)), seen)[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--velocities", action="store_true")
    arguments = parser.parse_args()
    seen = [0, 1, 2, 3] if arguments.velocities else [0, 2]
    for seed in arguments.seeds:
        print(f"seed {seed}: mean return {search(seed, seen):.1f}", flush=True)


if __name__ == "__main__":
    main()
