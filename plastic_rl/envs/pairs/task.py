"""Paired associates for supervised learning: one of the pairs is asked for at the end of an episode."""

from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from plastic_rl.arguments import check_count
from plastic_rl.envs.pairs.rules import Pairs, PairsOptions
from plastic_rl.envs.tasks.task import Episodes


class PairsTask:
    """The pairs of `PlasticPairsEnv`, shown once each; then one of them is asked for, drawn at random.

    An `EpisodicTask` has one answer, at the end of an episode. So this asks once where the environment asks
    for every pair. The spaces and all that is seen up to that answer are the environment's, drawn by the same
    rules, so the share of right answers here is that of the environment's first question, and the levels are
    the same. The price: with K pairs there are K + 1 looks at cues for each answer, not 2.

    Args:
        n_pairs: K, at least 1; an integer, as all episodes have the same length.
        cue_size: at least 1.
        n_answers: at least 2.
        blank_steps: at least 0.
        cues: "drawn" or "fixed".
        answer_delay: 0 or 1.

    Raises:
        ValueError: an argument is outside of its range.
    """

    def __init__(
        self,
        n_pairs: int = 8,
        cue_size: int = 16,
        n_answers: int = 4,
        blank_steps: int = 0,
        cues: Literal["drawn", "fixed"] = "drawn",
        answer_delay: Literal[0, 1] = 1,
    ):
        self.n_pairs, self.cue_size = check_count("n_pairs", n_pairs), cue_size
        self._rules = Pairs(
            PairsOptions(
                n_pairs=self.n_pairs,
                cue_size=cue_size,
                n_answers=n_answers,
                blank_steps=blank_steps,
                cues=cues,
                answer_delay=answer_delay,
            ),
            n_asked=1,
        )
        self.episode_length = self._rules.longest
        self.observation_space = self._rules.observation_space()
        self.action_space = spaces.Discrete(n_answers)

    def sample_episodes(self, batch: int, rng: np.random.Generator) -> Episodes:
        """Draw episodes: observations (T, B, cue_size + n_answers + 2), targets (B,) below n_answers.

        The last observation is that at which the answer is wanted.
        """
        life = self._rules.draw(rng, batch)
        observations = np.ascontiguousarray(life.observations[:, :-1].swapaxes(0, 1))
        return Episodes(observations, life.targets[:, -2])

    def score(self, episodes: Episodes, actions: NDArray[Any]) -> NDArray[Any]:
        """1 where the answer is right, otherwise 0; (B,)."""
        return (np.asarray(actions) == episodes.targets).astype(np.float32)

    def metrics(self, episodes: Episodes, actions: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """`accuracy`, which is the score."""
        return {"accuracy": self.score(episodes, actions)}
