"""Reuse of a trained core in another model: other observations and actions, the same way of learning."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from plastic_rl.ops.plastic_rnn import UnknownRuleError
from plastic_rl.policies.actor_critic import PlasticPolicy
from plastic_rl.saving import ModelFileError, read_content
from plastic_rl.saving.archive import AnyPath
from plastic_rl.saving.budget import Budget
from plastic_rl.saving.model import complete, described
from plastic_rl.saving.states import check_network


class CoreTransfer(NamedTuple):
    """Names of a policy's parameters: those that were copied, and those that stayed as they were."""

    copied: tuple[str, ...]
    fresh: tuple[str, ...]


def load_core(
    path: AnyPath,
    policy: PlasticPolicy,
    *,
    custom_objects: dict[str, Any] | None = None,
    trust: bool = False,
) -> CoreTransfer:
    """Copy what a saved model's core has learned into a policy's core.

    Copied are w, alpha, eta, the parameters of the rule (w_m, b_m, fan_out) and those of a gated cell
    (w_gates, b_u). The linear drive into the core belongs to the observations and stays as it is, as do
    features extractor, layers after the core and heads. A critic with a core of its own gets the saved
    critic's, or the shared one where the saved model has one core. The optimiser's moments of what was copied
    are cleared.

    Args:
        path: what ``save`` of a ``PlasticA2C`` model on any environment wrote; ``.zip`` may be left out.
        policy: changed in place; left as it was when anything is wrong.
        custom_objects: settings that take the place of the file's, by name, and those that it lacks, such as
            a ``policy_class`` of yours.
        trust: whether a file with pickled objects, as Stable-Baselines3 writes them, is read: it can run any
            code.

    Returns:
        The names of the copied and of the other parameters.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or holds another kind of model, its core has a rule that is not
            registered, or another cell, hidden_size, rule, form of alpha, activation or bound on the trace.
    """
    saved = _load_policy(path, custom_objects or {}, trust)
    pairs: dict[str, tuple[Any, Any]] = {"core": (saved.core, policy.core)}
    if policy.critic_core is not None:
        pairs["critic_core"] = (saved.critic_core or saved.core, policy.critic_core)
    for source, target in pairs.values():
        _check_same_kind(path, source, target)

    copied = []
    for prefix, (source, target) in pairs.items():
        learned = dict(source.named_parameters())
        for name, parameter in target.named_parameters():
            if name.startswith("drive."):
                continue
            with torch.no_grad():
                parameter.copy_(learned[name])
            policy.optimizer.state.pop(parameter, None)
            copied.append(f"{prefix}.{name}")
    fresh = tuple(name for name, _ in policy.named_parameters() if name not in copied)
    return CoreTransfer(tuple(copied), fresh)


def _load_policy(path: AnyPath, given: dict[str, Any], trust: bool) -> PlasticPolicy:
    """The policy of a saved model, on the CPU, built without the model's buffers, seeds and environment."""
    try:
        content = read_content(path, given, trust)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no saved model at {path}") from error
    complete(str(path), content, given)
    settings, state = content.settings, content.states.get("policy")
    policy_class = settings.get("policy_class")
    if state is None or not (isinstance(policy_class, type) and issubclass(policy_class, PlasticPolicy)):
        raise ModelFileError(f"the policy in {path} is {policy_class!r}, which has no plastic core")
    budget = Budget(sum(tensor.nbytes for tensor in state.values()), len(state))
    try:
        # Building the networks draws random weights, which are then overwritten.
        with described(str(path)), torch.random.fork_rng(devices=[]), budget:
            policy = policy_class(
                settings["observation_space"],
                settings["action_space"],
                lambda _: 1e-3,
                use_sde=settings["use_sde"],
                **settings["policy_kwargs"],
            )
            check_network("policy", state, policy)
    except UnknownRuleError as error:
        raise ValueError(f"{path} cannot be used: {error}") from error
    policy.load_state_dict(state)
    return policy


def _check_same_kind(path: AnyPath, saved: Any, own: Any) -> None:
    theirs, ours = _kind(saved, f"the core in {path}"), _kind(own, "this model's core")
    different = [name for name in ours if theirs.get(name) != ours[name]]
    if different:
        raise ValueError(
            f"the core in {path} has {', '.join(f'{name}={theirs.get(name)!r}' for name in different)}, "
            f"this model's has {', '.join(f'{name}={ours[name]!r}' for name in different)}"
        )


def _kind(core: Any, where: str) -> dict[str, Any]:
    """What two cores must have in common for the weights of one to mean the same in the other."""
    if not hasattr(core, "kind"):
        raise ValueError(f"{where} is a {type(core).__name__}: only a recurrent core can be copied")
    return core.kind()
