"""What the plastic connections do while they are trained, for every output of Stable-Baselines3's logger."""

import warnings
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Image
from torch import Tensor, nn

from plastic_rl.arguments import check_count
from plastic_rl.policies.plastic_modules import plastic_modules

# Nothing but TensorBoard and W&B shows pictures: the others would refuse the row.
_NO_PICTURES = ("stdout", "log", "json", "csv")
# Which core of a policy has which part of the state.
_CORES = {"actor": "core", "critic": "critic_core"}
# Small matrices are enlarged to about so many pixels.
_PIXELS = 256


class PlasticityCallback(BaseCallback):
    """Record the plasticity of a model's networks between two rollouts.

    Works with every logger of SB3 (stdout, csv, TensorBoard, and W&B by its ``sync_tensorboard``), every rule
    and every kind of alpha; what a network does not have is left out:

    ===========================  ====================================================================
    ``plasticity/eta``           learning rate of the trace, in (0, 1)
    ``plasticity/fan_out_mean``  with a modulating neuron: mean of abs(fan_out)
    ``plasticity/w_m_norm``      with a modulating neuron: norm of its weights w_m
    ``plasticity/b_m``           with a modulating neuron: its bias
    ``plasticity/alpha_mean``    mean of abs(alpha) over the connections
    ``plasticity/alpha_std``     its standard deviation
    ``plasticity/w_norm``        Frobenius norm of w
    ``plasticity/trace_norm``    Frobenius norm of the Hebbian trace, mean over the environments
    ``.../eligibility_norm``     of ``retroactive``: the same of its second trace
    ``plasticity/w``             picture: row i, column j is the connection from neuron i to neuron j;
                                 blue is negative, red positive
    ``plasticity/alpha``         the same for alpha
    ``plasticity/alpha_abs``     abs(alpha), from dark (zero) to bright
    ``plasticity/w_max``         the largest abs(w), which has the strongest colour in the picture
    ``plasticity/alpha_max``     the same for alpha
    ===========================  ====================================================================

    A second plastic network of the same model, such as a critic's own core, is recorded under
    ``plasticity/<its name>/``. A value is stored when the logger next writes, see ``log_interval`` of
    ``learn``. Gradient norm and speed are among what the algorithms record themselves (``train/grad_norm``,
    ``time/fps``).

    Args:
        log_freq: environment steps between two measurements, at least 1.
        image_freq: environment steps between two sets of pictures, at least 1; None for no pictures.

    Raises:
        ValueError: an argument is below 1.
    """

    def __init__(self, log_freq: int = 1000, image_freq: int | None = 100_000) -> None:
        super().__init__()
        self.log_freq = check_count("log_freq", log_freq)
        self.image_freq = None if image_freq is None else check_count("image_freq", image_freq)
        self._next_log = self._next_images = 0

    def _on_training_start(self) -> None:
        self._next_log = self._next_images = self.num_timesteps
        if not plastic_modules(self.model.policy):
            name = type(self.model.policy).__name__
            warnings.warn(f"PlasticityCallback records nothing: {name} has no plastic network", stacklevel=2)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        steps = self.num_timesteps
        if steps >= self._next_log:
            self._next_log = steps + self.log_freq
            for key, value in plasticity_values(self.model).items():
                self.logger.record(key, value)
        if self.image_freq is not None and steps >= self._next_images:
            self._next_images = steps + self.image_freq
            for key, pixels in plasticity_images(self.model).items():
                self.logger.record(key, Image(pixels, "HWC"), exclude=_NO_PICTURES)


def plasticity_values(model: Any) -> dict[str, float]:
    """The numbers that `PlasticityCallback` records, of a model as it is now."""
    values = {}
    modules = plastic_modules(model.policy)
    with torch.no_grad():
        for prefix, module in modules.items():
            eta = getattr(module, "eta", None)
            if eta is not None:
                values[f"{prefix}eta"] = float(eta)
            if module.alpha is not None:
                size = module.alpha.abs()
                values[f"{prefix}alpha_mean"] = size.mean().item()
                values[f"{prefix}alpha_std"] = size.std(correction=0).item()
                values[f"{prefix}alpha_max"] = size.max().item()
            if getattr(module, "fan_out", None) is not None:
                values[f"{prefix}fan_out_mean"] = module.fan_out.abs().mean().item()
                values[f"{prefix}w_m_norm"] = module.w_m.norm().item()
                values[f"{prefix}b_m"] = module.b_m.item()
            values[f"{prefix}w_norm"] = module.w.norm().item()
            values[f"{prefix}w_max"] = module.w.abs().max().item()
            for name in ("trace", "eligibility"):
                trace = _trace_of(module, model, name)
                if trace is not None and trace.numel():
                    values[f"{prefix}{name}_norm"] = trace.flatten(1).norm(dim=1).mean().item()
    return values


def plasticity_images(model: Any) -> dict[str, np.ndarray]:
    """The pictures (height, width, 3) uint8 that `PlasticityCallback` records, of a model as it is now."""
    images = {}
    for prefix, module in plastic_modules(model.policy).items():
        for name, matrix in (("w", module.w), ("alpha", module.alpha)):
            if matrix is None or matrix.dim() != 2:
                continue
            values = matrix.detach().cpu().numpy()
            values = values / (np.abs(values).max() or 1.0)
            images[f"{prefix}{name}"] = _painted(values / 2 + 0.5, "RdBu_r")
            if name == "alpha":
                images[f"{prefix}alpha_abs"] = _painted(np.abs(values), "cividis")
    return images


def _trace_of(module: nn.Module, model: Any, kind: str) -> Tensor | None:
    """The ``trace`` or ``eligibility`` (B, N, N) of a plastic network in the model's state; None for most."""
    for part, name in _CORES.items():
        core = getattr(model.policy, name, None)
        if isinstance(core, nn.Module) and any(module is inner for inner in core.modules()):
            trace = getattr(getattr(getattr(model, "_state", None), part, None), kind, None)
            return trace if isinstance(trace, Tensor) else None
    return None


def _painted(values: np.ndarray, colours: str) -> np.ndarray:
    """A matrix of values in [0, 1] as a picture (height, width, 3) uint8, in colours told apart by anyone."""
    enlarged = np.kron(values, np.ones((max(1, _PIXELS // max(values.shape)),) * 2, dtype=values.dtype))
    return colormaps[colours](enlarged, bytes=True)[..., :3]
