"""Tasks that show a few items and then ask for one of them, of which only a half is left."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from plastic_rl.arguments import check_count
from plastic_rl.envs.tasks.render import draw_completion
from plastic_rl.envs.tasks.task import Episodes


class CompletionTask(ABC):
    """Shows items in several passes, then a probe: one of the items with half of its elements set to 0.

    Every pass shows every item once, in an order drawn anew, each followed by a blank of zeros. An episode
    takes `n_passes * n_items * (show_steps + blank_steps) + probe_steps` steps. The target is the whole item.

    Subclasses draw the items and say which elements are erased.

    Args:
        n_elements: E, the size of an item, whose elements are from -1 to 1.
        n_items: how many are shown in an episode.
        show_steps: how long an item is shown; at least 1.
        blank_steps: how long nothing is shown after each; at least 0.
        n_passes: how often each is shown; at least 1.
        probe_steps: how long the probe is shown; at least 1.

    Raises:
        ValueError: an argument is outside of its range.
    """

    def __init__(
        self,
        n_elements: int,
        n_items: int,
        *,
        show_steps: int,
        blank_steps: int,
        n_passes: int,
        probe_steps: int,
    ):
        self.n_elements = n_elements
        self.n_items = n_items
        self.show_steps = check_count("show_steps", show_steps)
        self.blank_steps = check_count("blank_steps", blank_steps, least=0)
        self.n_passes = check_count("n_passes", n_passes)
        self.probe_steps = check_count("probe_steps", probe_steps)
        self.probe_start = n_passes * n_items * (show_steps + blank_steps)
        self.episode_length = self.probe_start + probe_steps
        self.observation_space = spaces.Box(-1, 1, (n_elements,), np.float32)
        self.action_space = spaces.Box(-1, 1, (n_elements,), np.float32)

    @abstractmethod
    def _draw_items(self, batch: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """The items of every episode, (B, n_items, E)."""

    @abstractmethod
    def _draw_erasures(self, batch: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Which elements of each probe are erased, (B, E)."""

    def sample_episodes(self, batch: int, rng: np.random.Generator) -> Episodes:
        """Draw episodes: observations (T, B, E) and targets (B, E), both float32 from -1 to 1."""
        items = self._draw_items(batch, rng)
        passes = np.tile(np.arange(self.n_items), (batch, self.n_passes, 1))
        order = rng.permuted(passes, axis=-1).reshape(batch, -1)
        episode = np.arange(batch)
        targets = items[episode, rng.integers(self.n_items, size=batch)]

        observations = np.zeros((self.episode_length, batch, self.n_elements), np.float32)
        slots = observations[: self.probe_start].reshape(
            -1, self.show_steps + self.blank_steps, *targets.shape
        )
        slots[:, : self.show_steps] = items[episode, order.T][:, None]
        observations[self.probe_start :] = np.where(self._draw_erasures(batch, rng), 0, targets)
        return Episodes(observations, targets)

    def score(self, episodes: Episodes, actions: NDArray[Any]) -> NDArray[Any]:
        """Minus the mean squared error of the answers, (B,)."""
        return -np.mean((actions - episodes.targets) ** 2, axis=-1)

    def metrics(self, episodes: Episodes, actions: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The squared errors of the answers, summed over all elements and over the erased ones, each (B,)."""
        squared = (actions - episodes.targets) ** 2
        return {
            "squared_error": squared.sum(axis=-1),
            "erased_squared_error": np.where(erased(episodes), squared, 0).sum(axis=-1),
        }

    def frame(
        self, observations: NDArray[Any], action: NDArray[Any] | None, target: NDArray[Any]
    ) -> NDArray[np.uint8]:
        """The items shown so far, a row for each pass, and under them probe, answer and truth."""
        seen, slot = len(observations), self.show_steps + self.blank_steps
        starts = range(0, min(seen, self.probe_start), slot)
        is_probe = seen > self.probe_start
        is_blank = (seen - 1) % slot >= self.show_steps
        wrong, caption = None, ""
        if is_probe and action is not None:
            wrong, caption = self._judge(Episodes(observations[-1:, None], target[None]), action[None])
        return draw_completion(
            [observations[start] for start in starts],
            (self.n_passes, self.n_items),
            highlight=None if is_probe or is_blank else len(starts) - 1,
            probe=observations[-1] if is_probe else None,
            answer=action if is_probe else None,
            wrong=wrong,
            truth=target if is_probe else None,
            title=f"step {seen} of {self.episode_length}",
            caption=caption,
        )

    def _judge(self, episodes: Episodes, actions: NDArray[Any]) -> tuple[NDArray[np.bool_] | None, str]:
        """What of the answer to one episode is painted as wrong, (E,) or None, and a line about it."""
        return None, f"answer: squared error {self.metrics(episodes, actions)['squared_error'][0]:.1f}"


def erased(episodes: Episodes) -> NDArray[np.bool_]:
    """Which elements have to be completed, (B, E): those that are 0 in the probe.

    A shown pixel that happens to be exactly 0 counts as well, as it does for a network that takes zeros for
    free neurons. Hardly any pixel is, and one that is has 0 for its target.
    """
    assert isinstance(episodes.observations, np.ndarray)
    return episodes.observations[-1] == 0
