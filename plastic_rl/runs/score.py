"""The score that stands beside an agent that is handed on."""

from __future__ import annotations

from typing import Any

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm

from plastic_rl.runs.statistics import normalized_like
from plastic_rl.training.evaluation import evaluate
from plastic_rl.training.vec_env import has_batched_form, make_vec_env

_SEED = 1_000_000


def score(model: BaseAlgorithm, env_id: str, env_kwargs: dict[str, Any], episodes: int) -> dict[str, Any]:
    """The mean return over episodes of fixed seeds, actions sampled, with its 95 % interval, as plain values.

    Args:
        model: any Stable-Baselines3 model; observations are normalized as in its environments.
        env_id: where it plays.
        env_kwargs: the environment's arguments.
        episodes: how many, at least 2.
    """
    plain = {"render_mode": None, **env_kwargs} if has_batched_form(env_id, None) else env_kwargs
    env = make_vec_env(env_id, min(64, episodes), _SEED, env_kwargs=plain)
    env = normalized_like(model.get_env(), env)
    with th.random.fork_rng(devices=[]):
        th.manual_seed(_SEED)
        result = evaluate(model, env, episodes)
    env.close()
    return {
        "mean_return": round(result.mean, 2),
        "interval": [round(end, 2) for end in result.interval],
        "episodes": episodes,
        "seed": _SEED,
        "actions": "sampled",
    }
