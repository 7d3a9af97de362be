"""Whether a policy computes the same in training and in evaluation mode: tried, not guessed from its code."""

from __future__ import annotations

import copy
import random
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn

from plastic_rl.policies import PlasticPolicy

# Rows of the batch that is tried, and how often each mode looks at it.
_ROWS = 16
_DRAWS = 4

_Modules = tuple[weakref.ref[nn.Module], ...]
_tried: weakref.WeakKeyDictionary[PlasticPolicy, tuple[_Modules, str | None]] = weakref.WeakKeyDictionary()


def why_modes_differ(policy: PlasticPolicy) -> str | None:
    """What tells the policy's training mode from its evaluation mode; None where both are the same.

    Features, activations of the core and answers of the heads are computed in both modes for one batch of
    random observations, on a copy. They differ where the numbers do (batch normalization), and also where
    random numbers are drawn in either mode (dropout, noise): two passes are then two different functions. The
    answer is kept, and found anew when a module of the policy is exchanged.
    """
    modules = tuple(weakref.ref(module) for module in policy.modules())
    known = _tried.get(policy)
    if known is not None and known[0] == modules:
        return known[1]
    try:
        with _random_states_kept(policy.device), torch.no_grad():
            reason = _try_both(policy)
    except Exception as error:  # a user's layers may raise anything: what cannot be tried is not relied on
        reason = f"it could not be tried in both modes ({type(error).__name__}: {error})"
    _tried[policy] = modules, reason
    return reason


def _try_both(policy: PlasticPolicy) -> str | None:
    subject = _copy(policy)
    obs, actions, activations = _batch(subject)
    first: dict[str, Tensor] = {}
    for training in [False, True] * _DRAWS:
        subject.set_training_mode(training)
        for name in ("features", "core's activations", "heads"):
            before = _torch_random_state(policy.device)
            if name == "features":
                now = _flat(subject.extract_features(obs))
            elif name == "heads":
                now = _flat(subject.evaluate_activations(activations, activations, actions)[:2])
            else:
                now = _flat(subject.run_cores(obs, None, None)[:2])
            if not torch.equal(before, _torch_random_state(policy.device)):
                return f"its {name} are random in {'training' if training else 'evaluation'} mode"
            if not torch.equal(first.setdefault(name, now), now):
                return f"its {name} are not the same in training and in evaluation mode"
    return None


@contextmanager
def _random_states_kept(device: torch.device) -> Iterator[None]:
    """Put the random states of torch, NumPy and Python back at the end."""
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)  # noqa: NPY002


def _torch_random_state(device: torch.device) -> Tensor:
    own = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return torch.cat([torch.get_rng_state(), *own])


def _copy(policy: PlasticPolicy) -> PlasticPolicy:
    """A copy that can be run without a trace in the policy, its optimiser aside."""
    kept: dict[int, Any] = {
        id(policy.optimizer): policy.optimizer,
        # It keeps the last distribution, whose tensors have a history that cannot be copied.
        id(policy.action_dist): copy.copy(policy.action_dist),
    }
    for module in policy.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                kept[id(value)] = value.detach().clone()
    return copy.deepcopy(policy, kept)


def _batch(policy: PlasticPolicy) -> tuple[PyTorchObs, Tensor, Tensor]:
    """Observations and actions drawn from their spaces, and activations (K, N)."""
    space, action_space = copy.deepcopy(policy.observation_space), copy.deepcopy(policy.action_space)
    space.seed(0)
    action_space.seed(0)
    samples = [space.sample() for _ in range(_ROWS)]
    stacked = (
        {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
        if isinstance(samples[0], dict)
        else np.stack(samples)
    )
    obs, _ = policy.obs_to_tensor(stacked)
    actions = torch.as_tensor(np.stack([action_space.sample() for _ in range(_ROWS)]), device=policy.device)
    if not isinstance(action_space, spaces.Discrete):
        actions = actions.float()
    return obs, actions, torch.randn(_ROWS, policy.hidden_size, device=policy.device).tanh()


def _flat(parts: Tensor | tuple[Tensor, ...]) -> Tensor:
    """All numbers in one row."""
    return torch.cat([part.flatten() for part in (parts if isinstance(parts, tuple) else (parts,))])
