"""Where in a network the plastic connections are."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def plastic_modules(network: nn.Module) -> dict[str, Any]:
    """The plastic networks inside a network, by the prefix of their keys: ``plasticity/`` for the first.

    They are known by what they have: a matrix ``w`` and plasticity ``alpha``, which may be None.
    """
    found = {
        name: module
        for name, module in network.named_modules()
        if isinstance(getattr(module, "w", None), Tensor) and hasattr(module, "alpha")
    }
    return {
        f"plasticity/{name}/" if i else "plasticity/": module
        for i, (name, module) in enumerate(found.items())
    }
