"""What commands say of a model and do with it, asked of the model itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from plastic_rl.training.distributed import processes_of


@dataclass(frozen=True, kw_only=True)
class Description:
    """How a model is trained, as far as commands need to know.

    Attributes:
        batches: what an update is taken on, in words: ``"16 environments"``.
        log_interval: updates between two rows of the log.
        whole_episodes: whether it is trained on whole episodes of its environment's task, drawn and answered
            in batches, with all of the reward on the last step.
        resumes_exactly: whether a saved model goes on with the random numbers that come next; otherwise it is
            seeded anew when its training is resumed, so that it does not see the same episodes again.
        decimals: of a mean return.
    """

    batches: str
    log_interval: int
    whole_episodes: bool = False
    resumes_exactly: bool = False
    decimals: int = 2


def describe(model: Any) -> Description:
    """The answer of the model's own ``describe()``, or that of an on-policy algorithm where it has none."""
    if hasattr(model, "describe"):
        return model.describe()
    processes = processes_of(model)
    n_envs = model.n_envs if processes.alone else model.total_envs
    # About 2,000 steps between two rows, however short the rollouts are.
    rows = max(1, 2000 // (model.n_steps * n_envs))
    return Description(batches=f"{n_envs} environments{processes}", log_interval=rows)
