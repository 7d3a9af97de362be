"""Which code runs the operator: the table of backends, and the choice."""

from __future__ import annotations

import functools
import logging

import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn.numba import NumbaBackend
from plastic_rl.ops.plastic_rnn.protocols import OperatorBackend, Refusal
from plastic_rl.ops.plastic_rnn.reference import ReferenceBackend
from plastic_rl.ops.plastic_rnn.triton import TritonBackend
from plastic_rl.ops.plastic_rnn.types import Backend, PlasticParams

logger = logging.getLogger(__name__)


# In the order in which "auto" asks them.
BACKENDS: dict[str, OperatorBackend] = {
    "numba": NumbaBackend(),
    "triton": TritonBackend(),
    "reference": ReferenceBackend(),
}


def backend_names() -> tuple[str, ...]:
    """What the argument ``backend`` takes."""
    return ("auto", *BACKENDS)


def choose_backend(backend: Backend, x: Tensor, params: PlasticParams) -> OperatorBackend:
    """The backend that runs for tensors like x; what ``auto`` takes is logged once.

    Raises:
        ValueError: no such backend, or not for this device, dtype or rule.
        RuntimeError: a package is missing.
    """
    if backend == "auto":
        return _first(x, params)
    chosen = BACKENDS.get(backend)
    if chosen is None:
        raise ValueError(f"backend must be one of {', '.join(backend_names())}, got {backend!r}")
    refusal = chosen.can_run(x, params)
    if refusal is not None:
        raise refusal.error(f"backend {backend!r} {refusal.reason}{refusal.remedy}")
    return chosen


def _first(x: Tensor, params: PlasticParams) -> OperatorBackend:
    refusals: tuple[tuple[str, Refusal], ...] = ()
    for name, backend in BACKENDS.items():
        refusal = backend.can_run(x, params)
        if refusal is None:
            _say(name, x.dtype, x.device.type, refusals)
            return backend
        refusals = (*refusals, (name, refusal))
    raise RuntimeError(f"no backend takes {x.dtype} on {x.device}")


@functools.cache
def _say(name: str, dtype: torch.dtype, device: str, refusals: tuple[tuple[str, Refusal], ...]) -> None:
    where = "the CPU" if device == "cpu" else device
    avoidable = [f"{other!r}, which {why.reason}" for other, why in refusals if why.avoidable]
    if avoidable:
        logger.warning("plastic_rnn: backend %r, many times slower than %s", name, "; ".join(avoidable))
    else:
        logger.info("plastic_rnn: backend %r for %s on %s", name, dtype, where)
