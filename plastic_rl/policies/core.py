"""What a recurrent core is: the part of a policy that remembers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class RecurrentCore(Protocol):
    """What ``PlasticPolicy._make_core`` returns: a ``torch.nn.Module`` from features to activations.

    The core holds no state. Its state is any tuple of tensors, a NamedTuple best of all, with one row for
    each of B environments in each of them: it is carried, cut off from the graph, indexed by environment and
    handed out as NumPy arrays without anyone looking into it. An LSTM as a core: ``examples/own_core.py``.

    What a core may have besides: ``eta``, a scalar tensor or None, is logged as ``train/eta``; a method
    ``recorder`` lets its rollouts serve as the training's forward pass (see `CoreRecorder`); a method
    ``kind`` lets its weights be taken over by ``load_core`` (see `PlasticRNN.kind`).
    """

    def initial_state(self, batch_size: int) -> Any:
        """The state at the start of an episode, zeros without gradients: (B, ...) in each tensor."""
        ...

    def forward(
        self, features: Tensor, state: Any, episode_starts: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Run a sequence, with gradients to the features and to the core's parameters.

        features: (T, B, F)
        state: before the first step
        episode_starts: (T, B), true where the state of that row is zeroed before the step
        returns: activations (T, B, N), state after the last step
        """
        ...

    def step(self, features: Tensor, state: Any, episode_start: Tensor | None = None) -> tuple[Tensor, Any]:
        """One step of `forward` without gradients; the state given stays as it is.

        features: (B, F)
        episode_start: (B,)
        returns: activations (B, N), new state
        """
        ...

    def scaled_parameters(self) -> Iterable[nn.Parameter]:
        """The parameters whose learning rate is multiplied by the policy's ``core_lr_scale``."""
        ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """``nn.Module``'s, which runs `forward`."""
        ...


class CoreRecorder(Protocol):
    """Runs a core step by step, one rollout after the other, and gives the steps a gradient afterwards.

    Attributes:
        activations: (T * B, N), of the steps taken, without gradients.
        state: the state after the last step taken, a copy.
    """

    @property
    def activations(self) -> Tensor: ...  # noqa: D102

    @property
    def state(self) -> Any: ...  # noqa: D102

    def start(self, state: Any) -> None:
        """Begin a rollout from this state; it is copied."""
        ...

    def step(self, features: Tensor, episode_start: Tensor) -> Tensor:
        """Take one step without gradients: activations (B, N). features: (B, F), episode_start: (B,)."""
        ...

    def replay(self, features: Tensor) -> Tensor:
        """The activations (T * B, N) with gradients to features and parameters. features: (T * B, F)."""
        ...


def rate_groups(module: nn.Module, scaled: Iterable[nn.Parameter], scale: float) -> list[dict[str, Any]]:
    """An optimiser's groups: all of a module's parameters, and those whose rate is a multiple of the others'.

    Args:
        module: whose parameters are trained.
        scaled: some of them.
        scale: their ``lr_scale``; the others have 1.
    """
    scaled = list(scaled)
    of_scaled = {id(parameter) for parameter in scaled}
    others = [parameter for parameter in module.parameters() if id(parameter) not in of_scaled]
    return [{"params": others, "lr_scale": 1.0}, {"params": scaled, "lr_scale": scale}]


def check_core(core: Any) -> None:
    """Make sure that this can be a policy's core.

    Raises:
        ValueError: it is no module, or lacks one of a `RecurrentCore`'s methods, named.
    """
    methods = ("initial_state", "forward", "step", "scaled_parameters")
    missing = [name for name in methods if not callable(getattr(core, name, None))]
    if missing or not isinstance(core, nn.Module):
        lacks = f" without {', '.join(missing)}" if missing else ""
        raise ValueError(
            "_make_core must return a torch.nn.Module with the methods of a RecurrentCore "
            f"({', '.join(methods)}), got {type(core).__name__}{lacks}"
        )
