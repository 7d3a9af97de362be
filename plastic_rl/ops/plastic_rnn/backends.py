"""Which code runs the operator."""

from __future__ import annotations

import functools
import importlib.util
import logging
from types import ModuleType

import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn import reference
from plastic_rl.ops.plastic_rnn.rules import is_registered
from plastic_rl.ops.plastic_rnn.types import BACKENDS, RULES, Backend, Rule

logger = logging.getLogger(__name__)


def choose_backend(backend: Backend, x: Tensor, rule: Rule = "hebb") -> str:
    """The backend that runs for this input, ``reference`` or ``numba``; what ``auto`` takes is logged once.

    Raises:
        ValueError: no such backend, or not for this device, dtype or rule.
        RuntimeError: numba is asked for and not installed.
    """
    if backend == "auto":
        return _choose(x.device.type, x.dtype, rule if is_registered(rule) else None)
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "numba":
        if x.device.type != "cpu" or x.dtype != torch.float32:
            raise ValueError(
                f"backend 'numba' takes float32 on the CPU, got {x.dtype} on {x.device}: "
                "use 'reference' or 'auto'"
            )
        if is_registered(rule):
            raise ValueError(
                f"backend 'numba' is compiled for the rules {', '.join(RULES)}, got {rule!r}: "
                "use 'reference' or 'auto'"
            )
        if not _numba_installed():
            raise RuntimeError("backend 'numba' needs the package numba: python -m pip install numba")
    return backend


@functools.cache
def _choose(device: str, dtype: torch.dtype, registered_rule: Rule | None) -> str:
    if device == "cpu" and dtype == torch.float32:
        if registered_rule is not None:
            logger.warning(
                "plastic_rnn: backend 'reference', many times slower, for the rule %r: only %s are compiled",
                registered_rule,
                ", ".join(RULES),
            )
            return "reference"
        if _numba_installed():
            logger.info("plastic_rnn: backend 'numba' for %s on the CPU", dtype)
            return "numba"
        logger.warning(
            "plastic_rnn: backend 'reference', many times slower, because numba is not installed: "
            "python -m pip install numba"
        )
        return "reference"
    logger.info("plastic_rnn: backend 'reference' for %s on %s", dtype, device)
    return "reference"


def _numba_installed() -> bool:
    return importlib.util.find_spec("numba") is not None


@functools.cache
def load(backend: str) -> ModuleType:
    """The module of a backend, with ``plastic_rnn`` and ``plastic_rnn_step_`` as in ``reference``."""
    if backend == "reference":
        return reference
    from plastic_rl.ops.plastic_rnn.numba import (
        autograd,
    )  # compiles nothing, but numba itself is slow to import

    return autograd
