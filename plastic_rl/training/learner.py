"""One gradient step, as every algorithm of the package takes it."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor, nn


class GradientLearner(BaseAlgorithm):
    """The base of algorithms that train a policy by gradient with the policy's optimiser.

    Attributes:
        max_grad_norm: largest norm of the gradient; None leaves it as it is.
    """

    max_grad_norm: Any

    def gradient_step(self, loss: Tensor) -> float:
        """Change the policy's parameters by one step of its optimiser.

        Args:
            loss: a scalar.

        Returns:
            The norm of the gradient, before it was cut to ``max_grad_norm``.

        Raises:
            ValueError: the gradient is not finite; the parameters stay as they were.
        """
        optimizer = self.policy.optimizer
        optimizer.zero_grad()
        loss.backward()
        self.reduce_gradients()
        largest = float("inf") if self.max_grad_norm is None else self.max_grad_norm
        grad_norm = nn.utils.clip_grad_norm_(self.policy.parameters(), largest)
        if not torch.isfinite(grad_norm):
            raise ValueError(
                f"the gradient is {grad_norm.item()} after {self.num_timesteps} steps: the training has "
                "diverged. The parameters are those before this update; try a smaller learning_rate"
            )
        optimizer.step()
        return grad_norm.item()

    def reduce_gradients(self) -> None:
        """Called when every parameter has its gradient, before that is used: here several processes average.

        One process has nothing to do.
        """

    def _update_learning_rate(self, optimizers: list[torch.optim.Optimizer] | torch.optim.Optimizer) -> None:
        super()._update_learning_rate(optimizers)
        for group in self.policy.optimizer.param_groups:
            group["lr"] *= group.get("lr_scale", 1.0)
