"""What goes on inside an agent at a step, beside what ``predict`` tells."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from plastic_rl.analysis.lesions import ClampedCore
from plastic_rl.policies import PlasticPolicy, PlasticRNN
from plastic_rl.policies.state import PolicyState, as_tensors


class Probe:
    """Looks into the policy of a model that plays B environments from the start of their episodes.

    Args:
        model: any Stable-Baselines3 model.
        n_envs: B.
        parts: what is wanted, some of ``values``, ``gates``, ``states``; what a policy does not have is left
            out.
    """

    def __init__(self, model: BaseAlgorithm, n_envs: int, parts: Collection[str]) -> None:
        self.policy: Any = model.policy
        self.n_envs = n_envs
        self.parts = parts
        self._critic: Any = None

    @torch.no_grad()
    def look(self, observations: Any, state: Any, starts: np.ndarray) -> dict[str, np.ndarray]:
        """Values and gates of the step that comes next, (B, ...) by column.

        observations: (B, ...), as the policy takes them
        state: what ``predict`` returned, None before the first step
        starts: (B,), true where an episode starts
        """
        policy = self.policy
        found: dict[str, np.ndarray] = {}
        if not isinstance(policy, ActorCriticPolicy) or not {"values", "gates"} & set(self.parts):
            return found
        policy.set_training_mode(False)
        obs, _ = policy.obs_to_tensor(observations)
        if isinstance(policy, PlasticPolicy):
            begins = torch.as_tensor(starts, device=policy.device)
            memory = policy.initial_memory(self.n_envs)
            if state is not None:
                memory = as_tensors(state, like=memory)
            if "gates" in self.parts:
                found |= self._gates(obs, memory, begins)
            if "values" in self.parts:
                found["value"] = self._value(obs, memory, begins)
        elif "values" in self.parts and not isinstance(policy, RecurrentActorCriticPolicy):
            found["value"] = policy.predict_values(obs).squeeze(1).cpu().numpy()
        return found

    def _value(self, obs: Any, memory: Any, begins: Tensor) -> np.ndarray:
        policy = self.policy
        critic = self._critic
        if critic is None and policy.critic_core is not None:
            critic = policy.critic_core.initial_state(self.n_envs)
        _, y_vf, after = policy.run_cores(obs, PolicyState(memory, critic), begins)
        self._critic = after.critic
        return policy.values(y_vf).squeeze(1).cpu().numpy()

    def _gates(self, obs: Any, memory: Any, begins: Tensor) -> dict[str, np.ndarray]:
        core: Any = self.policy.core
        clamp = None
        if isinstance(core, ClampedCore):
            core, clamp = core.core, core.clamp
        if not isinstance(core, PlasticRNN) or not core.runs_plainly():
            return {}
        features = self.policy.extract_features(obs)
        of_actor = features[0] if isinstance(features, tuple) else features
        gates = core.gates(of_actor, memory, begins, clamp)
        return {f"gate/{name}": values.cpu().numpy() for name, values in gates.items()}

    def state_columns(self, state: Any) -> dict[str, np.ndarray]:
        """The activities in what ``predict`` returned as the state, (B, N) by column, without traces."""
        if state is None:
            return {}
        if isinstance(self.policy, RecurrentActorCriticPolicy):
            # Layers first there, environments second.
            pairs = zip(("hidden", "cell"), state, strict=True)
            return {name: part.transpose(1, 0, 2).reshape(self.n_envs, -1).copy() for name, part in pairs}
        fields = getattr(state, "_fields", ())
        parts = dict(zip(fields, state, strict=True)) if fields else {}
        return {
            name: part.copy()
            for name, part in parts.items()
            if name not in ("trace", "eligibility") and isinstance(part, np.ndarray) and part.size
        }
