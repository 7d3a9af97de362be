"""An agent that acts from an ONNX file, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


class OnnxAgent:
    """Acts as the model did that `plastic_rl.export_onnx` wrote to a file; needs onnxruntime, no torch.

    Its ``predict`` is that of Stable-Baselines3's models, so ``evaluate_policy(agent, env)`` takes it, too,
    with environments that give what the file's agent takes: those without `VecNormalize`, which is part of
    the file, and with images in the layout of the metadata's ``observation_space``.

    Args:
        path: of the file.

    Attributes:
        metadata: of the file, texts by key.
        observation_keys: the keys of a Dict observation, none of any other.
        takes_masks: whether it is told at every step which actions are allowed.

    Raises:
        ImportError: onnxruntime is not installed.
        OSError: the file cannot be read.
        ValueError: it is not one of `export_onnx`.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError('OnnxAgent needs onnxruntime: pip install "plastic-rl[onnx]"') from error
        content = Path(path).read_bytes()
        try:
            self.session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's have no common class
            raise ValueError(f"{path} is not an ONNX file: {error}") from error
        self.metadata = dict(self.session.get_modelmeta().custom_metadata_map)
        if "plastic_rl_version" not in self.metadata:
            raise ValueError(f"{path} does not hold an agent: plastic_rl.export_onnx writes such files")
        self._inputs = {one.name: one for one in self.session.get_inputs()}
        self._outputs = [one.name for one in self.session.get_outputs()]
        self.takes_masks = "action_mask" in self._inputs
        names = [name for name in self._inputs if name.startswith("observation.")]
        self.observation_keys = [name.removeprefix("observation.") for name in names]

    def initial_state(self, n_envs: int) -> dict[str, np.ndarray]:
        """Zeros, (n_envs, ...) for every part of the state by its name."""
        return {
            name.removeprefix("state."): np.zeros((n_envs, *value.shape[1:]), dtype=np.float32)
            for name, value in self._inputs.items()
            if name.startswith("state.")
        }

    def step(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: dict[str, np.ndarray],
        episode_start: np.ndarray,
        action_masks: np.ndarray | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """All outputs of one step by name, without the state, and the new state.

        observation: (B, ...), or a dictionary of those
        state: of `initial_state` or the step before
        episode_start: (B,), true where the state is zeroed first
        action_masks: (B, M), true where an action is allowed; where the agent takes one
        """
        feeds = {"episode_start": np.asarray(episode_start, dtype=bool)}
        if isinstance(observation, dict):
            feeds |= {f"observation.{key}": np.asarray(observation[key]) for key in self.observation_keys}
        else:
            feeds["observation"] = np.asarray(observation)
        feeds |= {f"state.{name}": part for name, part in state.items()}
        if self.takes_masks:
            if action_masks is None:
                raise ValueError("action_masks must be given: this agent was exported with them")
            feeds["action_mask"] = np.asarray(action_masks, dtype=bool)
        outputs = dict(zip(self._outputs, self.session.run(None, feeds), strict=True))
        prefix = "new_state."
        after = {name.removeprefix(prefix): outputs.pop(name) for name in self._outputs if prefix in name}
        return outputs, after

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Choose actions for B environments at once; the state goes in and comes out, by names.

        Args:
            observation: (B, ...), or a dictionary of those.
            state: what the previous call returned; None starts from zeros. It is not changed.
            episode_start: (B,), true where an episode starts: the state of that row is zeroed.
            deterministic: must be true: the file's action is the most probable one.
            action_masks: (B, M), true where an action is allowed; where the agent takes one.

        Returns:
            The actions, and the state to hand to the next call.

        Raises:
            ValueError: sampled actions are asked for, or masks are missing.
        """
        if not deterministic:
            raise ValueError(
                "deterministic must be True: to sample, draw from the logits, or mean and std, of step()"
            )
        first = next(iter(observation.values())) if isinstance(observation, dict) else observation
        n_envs = len(first)
        if state is None:
            state = self.initial_state(n_envs)
        if episode_start is None:
            episode_start = np.zeros(n_envs, dtype=bool)
        outputs, state = self.step(observation, state, episode_start, action_masks)
        return outputs["action"], state
