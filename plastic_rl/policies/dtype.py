"""Policies compute in single precision, as Stable-Baselines3's buffers and preprocessing do."""

from __future__ import annotations

import torch


def check_default_dtype() -> None:
    """Refuse a session in which torch makes tensors of another precision than float32.

    Raises:
        ValueError: ``torch.set_default_dtype`` has set another one.
    """
    if torch.get_default_dtype() is not torch.float32:
        raise ValueError(
            f"torch's default dtype must be torch.float32 for a policy, got {torch.get_default_dtype()}: "
            "call torch.set_default_dtype(torch.float32)"
        )
