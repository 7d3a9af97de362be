"""Remembering random bit patterns after a few looks: a task of Miconi, Stanley & Clune (ICML 2018)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from plastic_rl.arguments import check_count
from plastic_rl.envs.sampling import draw_halves
from plastic_rl.envs.tasks.completion import CompletionTask, erased
from plastic_rl.envs.tasks.episodic import EpisodicTaskEnv
from plastic_rl.envs.tasks.task import Episodes
from plastic_rl.envs.tasks.vector import EpisodicTaskVectorEnv


class PatternMemoryTask(CompletionTask):
    """Random patterns of -1 and 1, then one of them with half of its bits erased, at random.

    Args:
        n_bits: the size of a pattern; at least 2. With an odd number the smaller half is erased.
        n_patterns: how many are shown in an episode; at least 1.
        show_steps: how long a pattern is shown; at least 1.
        blank_steps: how long nothing is shown after each; at least 0.
        n_passes: how often each is shown, every time in a fresh order; at least 1.
        probe_steps: how long the probe is shown; at least 1.

    Raises:
        ValueError: an argument is outside of its range.
    """

    def __init__(
        self,
        n_bits: int = 1000,
        n_patterns: int = 5,
        show_steps: int = 10,
        blank_steps: int = 3,
        n_passes: int = 3,
        probe_steps: int = 6,
    ):
        super().__init__(
            check_count("n_bits", n_bits, least=2),
            check_count("n_patterns", n_patterns),
            show_steps=show_steps,
            blank_steps=blank_steps,
            n_passes=n_passes,
            probe_steps=probe_steps,
        )

    def _draw_items(self, batch: int, rng: np.random.Generator) -> NDArray[np.float32]:
        bits = rng.integers(2, size=(batch, self.n_items, self.n_elements), dtype=np.int8)
        return (2 * bits - 1).astype(np.float32)

    def _draw_erasures(self, batch: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        return draw_halves(self.n_elements, batch, rng)

    def metrics(self, episodes: Episodes, actions: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """`bit_error` and the squared errors of `CompletionTask`, each (B,).

        `bit_error` is the share of the erased bits whose sign is wrong; an answer of exactly 0 is half wrong,
        so that saying nothing gives the error of guessing, 0.5.
        """
        wrong = np.abs(np.sign(actions) - episodes.targets) / 2
        bit_error = np.mean(wrong, axis=-1, where=erased(episodes))
        return {"bit_error": bit_error, **super().metrics(episodes, actions)}

    def _judge(self, episodes: Episodes, actions: NDArray[Any]) -> tuple[NDArray[np.bool_] | None, str]:
        bit_error = self.metrics(episodes, actions)["bit_error"][0]
        is_wrong = np.sign(actions[0]) != episodes.targets[0]
        return is_wrong, f"answer: {100 * bit_error:.1f} % of the erased bits wrong"


class PlasticPatternMemoryEnv(EpisodicTaskEnv):
    """Random bit patterns, seen a few times, one of which must be restored from half of its bits.

    ## Description
    Every episode brings patterns that were never there before, so they cannot be learned between episodes:
    they have to be stored within one. From Miconi, Stanley & Clune, "Differentiable plasticity: training
    plastic neural networks with backpropagation" (ICML 2018).

    ## Action Space
    `Box(-1, 1, (n_bits,), float32)`: the completed pattern. Only the action of the last step counts.

    ## Observation Space
    `Box(-1, 1, (n_bits,), float32)`: the pattern that is being shown; 0 everywhere while none is; at the end
    the probe, in which 0 stands for an erased bit.

    ## Rewards
    0, and on the last step minus the mean squared error over all bits: 0 for the pattern itself, -1 for
    zeros, about -0.5 for the probe as it is.

    ## Starting State
    `n_patterns` patterns, each bit -1 or 1 with equal chances. They are shown in `n_passes` passes, in every
    pass each of them once, in an order drawn anew: `show_steps` steps of the pattern, then `blank_steps` of
    zeros. One of them, with half of its bits erased at random, is shown for the last `probe_steps` steps.

    ## Episode End
    Terminates after `n_passes * n_patterns * (show_steps + blank_steps) + probe_steps` steps: 201 by default.

    ## Information
    `target`: the whole pattern, (n_bits,). On the last step also `bit_error`, the share of the erased bits
    whose sign is wrong (0.5 for guessing; an exact 0 is half wrong), and the squared error summed over all
    bits (`squared_error`) and over the erased ones (`erased_squared_error`).

    ## Arguments
    Those of `PatternMemoryTask`, by keyword, and `render_mode`: "rgb_array" or None.

    | | n_bits | n_patterns | show_steps | blank_steps | n_passes | probe_steps |
    |---|---|---|---|---|---|---|
    | the paper's task, the default | 1000 | 5 | 10 | 3 | 3 | 6 |
    | its small one, for comparison with LSTMs: 14 steps | 50 | 2 | 3 | 1 | 1 | 6 |
    | the numbers of the code released with it | 1000 | 5 | 6 | 4 | 2 | 6 |

    ## Version History
    - v0: first version.
    """

    state_attributes = ()

    def __init__(self, *, render_mode: str | None = None, **task_arguments: Any):
        super().__init__(PatternMemoryTask(**task_arguments), render_mode)


class PlasticPatternMemoryVectorEnv(EpisodicTaskVectorEnv):
    """The batched form of `PlasticPatternMemoryEnv`: its arguments, `num_envs` and `max_episode_steps`."""

    state_attributes = ()

    def __init__(
        self,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        **task_arguments: Any,
    ):
        task = PatternMemoryTask(**task_arguments)
        super().__init__(task, num_envs, max_episode_steps=max_episode_steps, render_mode=render_mode)
