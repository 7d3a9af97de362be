"""What Optuna tunes of the plastic agents in RL-Zoo (``train -optimize``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from plastic_rl.runs.plain_yaml import merge

if TYPE_CHECKING:
    import optuna

ALGORITHMS = {"plastic_a2c": "PlasticA2C", "plastic_ppo": "PlasticPPO"}
"""What the plastic agents are called in RL-Zoo, and their classes in ``plastic_rl``."""

_TUNED_POLICY_KWARGS = ("hidden_size", "eta")


def sample_plastic(
    trial: optuna.Trial,
    n_actions: int,
    n_envs: int,
    additional_args: Mapping[str, Any],
    policy_kwargs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Draw the hyper-parameters of one trial; the first four arguments are those of every sampler of RL-Zoo.

    ``n_steps`` is not drawn: how far back an action can be held responsible is a property of the task. Nor
    are ``rule`` and ``alpha``, which say what is studied. ``eta`` is drawn where the network has one.

    Args:
        trial: what the values are drawn from.
        n_actions: unused.
        n_envs: unused.
        additional_args: unused.
        policy_kwargs: those of the file. They are kept, but for ``hidden_size`` and ``eta``.

    Returns:
        Arguments that both algorithms have, ``policy_kwargs`` among them.
    """
    from plastic_rl.ops.plastic_rnn import get_rule  # imports torch, which the help can do without

    given = policy_kwargs or {}
    drawn = {
        "learning_rate": trial.suggest_float("learning_rate", 3e-5, 3e-3, log=True),
        "one_minus_gamma": trial.suggest_float("one_minus_gamma", 0.001, 0.2, log=True),
        "one_minus_gae_lambda": trial.suggest_float("one_minus_gae_lambda", 0.001, 0.2, log=True),
        "ent_coef": trial.suggest_float("ent_coef", 1e-4, 0.2, log=True),
        "vf_coef": trial.suggest_float("vf_coef", 0.05, 1.0, log=True),
        "max_grad_norm": trial.suggest_float("max_grad_norm", 0.1, 5.0, log=True),
        "hidden_size": trial.suggest_categorical("hidden_size", [50, 100, 200]),
    }
    if given.get("alpha") != "none" and "eta" in get_rule(given.get("rule", "hebb")).parameters:
        drawn["eta"] = trial.suggest_float("eta", 0.001, 0.3, log=True)
    hyperparams = convert_plastic(drawn)
    trial.set_user_attr("gamma", hyperparams["gamma"])
    trial.set_user_attr("gae_lambda", hyperparams["gae_lambda"])
    return {**hyperparams, "policy_kwargs": merge(given, hyperparams["policy_kwargs"])}


def convert_plastic(sampled_params: dict[str, Any]) -> dict[str, Any]:
    """Turn the parameters of a trial, as Optuna stores them, into arguments of the algorithm."""
    hyperparams = dict(sampled_params)
    # Near 1 only the distance from 1 has a useful logarithmic scale.
    for name in ("gamma", "gae_lambda"):
        hyperparams[name] = 1 - hyperparams.pop(f"one_minus_{name}")
    tuned = {name: hyperparams.pop(name) for name in _TUNED_POLICY_KWARGS if name in hyperparams}
    return {**hyperparams, "policy_kwargs": tuned}
