"""The optimiser that ``PlasticA2C`` uses where SB3's A2C uses RMSprop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class WarmRMSprop(torch.optim.RMSprop):
    """RMSprop whose running average of squared gradients starts at the first one instead of at zero.

    Starting at zero makes the first step 1 / sqrt(1 - alpha) times as long as the learning rate says: ten
    times at A2C's alpha of 0.99, and in every weight at once. A feed-forward network shrugs that off; an
    N x N recurrent matrix moves by N times the step in its leading direction and saturates the network for
    good.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Take one step; see ``torch.optim.RMSprop``."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and not self.state[parameter]:
                    self._init_state(group, parameter)
        return super().step(closure)

    def _init_state(self, group: dict[str, Any], parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        state = self.state[parameter]
        state["step"] = torch.zeros((), device=parameter.device)
        state["square_avg"] = parameter.grad.square()
        if group["momentum"] > 0:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        if group["centered"]:
            state["grad_avg"] = torch.zeros_like(parameter)
