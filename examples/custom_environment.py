"""An environment written from scratch that needs a memory, and an agent that learns to have one.

    python examples/custom_environment.py

A phrasebook says what three words mean, and in every episode it is another one. It is read out once: word,
meaning, word, meaning. Then come questions: a word, and on the next step the agent has to answer. What it
learns in training cannot be the meanings, only how to keep those of the present episode. It is trained with
plastic connections and, for comparison, without: the same network as a plain recurrent one.
"""

import argparse
from typing import Any

import gymnasium as gym
import numpy as np

import plastic_rl
from plastic_rl.training.evaluation import evaluate

EVALUATION_SEED = 1_000_000  # environments are seeded from here on; training uses small numbers


class Phrasebook(gym.Env):
    """Words with their meanings, then questions; a right answer pays 1.

    Observations are one-hot: a word, a meaning, or 0 everywhere where an answer is due. Actions at other
    steps have no effect.
    """

    words, questions = 3, 3
    length = 2 * (words + questions)

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(0, 1, (2 * self.words,), np.float32)
        self.action_space = gym.spaces.Discrete(self.words)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Write a new phrasebook, and the questions about it."""
        super().reset(seed=seed)
        order = self.np_random.permutation(self.words)
        asked = self.np_random.integers(self.words, size=self.questions)
        meaning = self.np_random.permutation(self.words)
        self.observations = np.zeros((self.length + 1, 2 * self.words), np.float32)
        self.answers = np.full(self.length, -1)
        for t, word in zip(range(0, self.length, 2), [*order, *asked], strict=True):
            self.observations[t, word] = 1
            if t < 2 * self.words:
                self.observations[t + 1, self.words + meaning[word]] = 1
            else:
                self.answers[t + 1] = meaning[word]
        self.steps = 0
        return self.observations[0], {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Answer, or wait for the next page."""
        reward = float(action == self.answers[self.steps])
        self.steps += 1
        return self.observations[self.steps], reward, self.steps == self.length, False, {}


def train(alpha: str, seed: int, timesteps: int) -> plastic_rl.PlasticA2C:
    """Train one agent; one rollout is one episode."""
    settings: dict[str, Any] = {
        "n_steps": Phrasebook.length,  # credit goes back to the page where the word was explained
        "gamma": 0.0,  # an answer is paid at once and changes nothing that follows
        "learning_rate": 3e-3,
        "use_rms_prop": False,
        "policy_kwargs": {"hidden_size": 64, "alpha": alpha, "eta": 0.2, "alpha_init": 0.3},
    }
    env = plastic_rl.make_vec_env(Phrasebook, n_envs=32, seed=seed)
    return plastic_rl.PlasticA2C("MlpPolicy", env, **settings, seed=seed, device="cpu").learn(timesteps)


def main() -> None:
    """Train both, print their scores before and after."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timesteps", type=int, default=300_000, help="per training")
    parser.add_argument("--episodes", type=int, default=500, help="to evaluate on")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    unseen = plastic_rl.make_vec_env(Phrasebook, n_envs=32, seed=EVALUATION_SEED)
    chance = Phrasebook.questions / Phrasebook.words
    print(f"Right answers to {Phrasebook.questions} questions; by chance {chance:.2f}")
    for name, alpha in {"plastic": "full", "not plastic": "none"}.items():
        scores = []
        # A training of 0 steps: the agent as it starts.
        for timesteps in (0, args.timesteps):
            result = evaluate(train(alpha, args.seed, timesteps), unseen, args.episodes)
            scores.append("{:.2f} [{:.2f}, {:.2f}]".format(result.mean, *result.interval))
        print(f"{name:11}  before {scores[0]}  after {scores[1]}", flush=True)


if __name__ == "__main__":
    main()
