"""What a file may make this program allocate while its model is built: not much more than it holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from plastic_rl.saving.errors import ModelFileError

# Initialisation takes a few times what it leaves behind, and small networks have parts of fixed size.
_TIMES, _BYTES, _TENSORS = 16, 2**26, 2**12

_FACTORIES: set[Callable[..., Any]] = {
    *(torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.randint),
    *(torch.eye, torch.arange, torch.linspace),
    *(torch.Tensor.new_empty, torch.Tensor.new_zeros, torch.Tensor.new_ones, torch.Tensor.new_full),
}


class Budget(TorchFunctionMode):
    """Inside, torch makes no more tensors than a model of this size needs.

    A file of a few bytes can describe a network of terabytes. It is stopped before that is allocated.

    Args:
        n_bytes: of the tensors in the file.
        n_tensors: their number.
        n_envs: how many environments a state is made for; each has at most what the parameters have.

    Raises:
        ModelFileError: inside, as soon as more is asked for.
    """

    def __init__(self, n_bytes: int, n_tensors: int, n_envs: int = 1) -> None:
        super().__init__()
        self.bytes_left = n_bytes * (_TIMES + 4 * n_envs) + _BYTES
        self.tensors_left = n_tensors * _TIMES + _TENSORS

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FACTORIES:
            self._pay(func, args, kwargs)
        return func(*args, **kwargs)

    def _pay(self, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> None:
        sizes = {key: value for key, value in kwargs.items() if key not in ("generator", "out", "pin_memory")}
        planned = func(*args, **{**sizes, "device": "meta"})
        self.bytes_left -= planned.numel() * planned.element_size()
        self.tensors_left -= 1
        if min(self.bytes_left, self.tensors_left) < 0:
            raise ModelFileError("the model that it describes is much larger than what it holds")
