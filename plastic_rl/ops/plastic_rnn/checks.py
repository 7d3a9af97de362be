"""What the operator refuses, with one line that says why; and whether autocast changes what it is given."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from plastic_rl.arguments import check_count
from plastic_rl.ops.plastic_rnn.cells import drive_size, get_cell, state_shapes
from plastic_rl.ops.plastic_rnn.rules import ACTIVATIONS, get_rule
from plastic_rl.ops.plastic_rnn.types import PlasticParams, PlasticState

Clamp = tuple[Tensor, Tensor]


def check_sequence(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState | None,
    episode_starts: Tensor | None,
    clamp: Clamp | None,
    repeats: Tensor | None,
) -> None:
    """Check shapes, dtypes, devices and values of a sequence's arguments; raise ValueError."""
    if x.dim() != 3 or 0 in x.shape:
        raise ValueError(f"x must be (T, B, N) with every size at least 1, got {_shape(x)}")
    check_layout(x, params, state, episode_starts, clamp)
    _check_values(x, params, state, episode_starts, clamp)
    if repeats is not None:
        _check_repeats(repeats, x, clamp)


def check_step(
    x: Tensor, params: PlasticParams, state: PlasticState, episode_start: Tensor | None, clamp: Clamp | None
) -> None:
    """Check shapes, dtypes and devices of a step's arguments, and no values: acting must be quick."""
    if x.dim() != 2 or 0 in x.shape:
        raise ValueError(f"x must be (B, N) with every size at least 1, got {_shape(x)}")
    check_layout(x, params, state, episode_start, clamp)


def check_layout(
    x: Tensor, params: PlasticParams, state: PlasticState | None, starts: Tensor | None, clamp: Clamp | None
) -> None:
    """Check everything but values. x: (..., B, N) or (..., B, G N), the rest is measured against it."""
    if not x.dtype.is_floating_point:
        raise ValueError(f"x must have a floating dtype, got {x.dtype}")
    check_params(params)
    batch, n = x.shape[-2], params.n
    if drive_size(params) != x.shape[-1]:
        _refuse_width(x, params)
    # Acting comes by here at every step: names are put together only where something is wrong.
    dtype, device = x.dtype, x.device
    for name, tensor in params.tensors().items():
        if tensor.dtype != dtype or tensor.device != device:
            _check_like(f"params.{name}", tensor, x)
    if state is not None:
        for (name, shape), part in zip(state_shapes(params, batch).items(), state, strict=True):
            if part.shape != shape or part.dtype != dtype or part.device != device:
                _check_shape(f"state.{name}", part, shape)
                _check_like(f"state.{name}", part, x)
    if starts is not None:
        _check_shape("episode_starts", starts, x.shape[:-1])
        _check_device("episode_starts", starts, x)
    if clamp is not None:
        values, mask = clamp
        _check_shape("clamp values", values, (*x.shape[:-1], n))
        _check_shape("clamp mask", mask, (*x.shape[:-1], n))
        _check_like("clamp values", values, x)
        _check_device("clamp mask", mask, x)
        if mask.dtype != torch.bool:
            raise ValueError(f"clamp mask must be bool, got {mask.dtype}")


# The kinds of devices that it knows, once for all: torch 2.8 compiles no function that asks for them.
_AUTOCASTING = frozenset(
    kind
    for kind in ("cpu", "cuda", "hpu", "maia", "mps", "mtia", "xla", "xpu")
    if torch.amp.is_autocast_available(kind)
)


def autocasts(tensor: Tensor) -> bool:
    """Whether ``torch.autocast`` is on for the tensor's device; never on one that it does not know."""
    kind = tensor.device.type
    return kind in _AUTOCASTING and torch.is_autocast_enabled(kind)


def check_params(params: PlasticParams) -> None:
    """Check that the tensors are those that the rule uses, with the right shapes; raise ValueError."""
    w, alpha = params.w, params.alpha
    if w.dim() != 2 or w.shape[0] != w.shape[1] or w.shape[0] == 0:
        raise ValueError(f"params.w must be (N, N) with N at least 1, got {_shape(w)}")
    rule, cell = get_rule(params.rule, "params.rule"), get_cell(params.cell, "params.cell")
    if params.activation not in ACTIVATIONS:
        raise ValueError(
            f"params.activation must be one of {', '.join(ACTIVATIONS)}, got {params.activation!r}"
        )
    if type(params.core_steps) is not int or params.core_steps < 1:  # quicker than what says so
        check_count("params.core_steps", params.core_steps)
    if alpha is not None and alpha.dim() != 0 and alpha.shape != w.shape:
        raise ValueError(f"params.alpha must be {_shape(w)}, () or None, got {_shape(alpha)}")
    used = rule.parameters if params.plastic else ()
    n = w.shape[0]
    _check_given("w_gates", params.w_gates, (n, cell.gates * n), cell.gates > 0, params)
    _check_given("b_u", params.b_u, (n,), cell.reset_bias, params)
    _check_given("eta", params.eta, (), "eta" in used, params)
    _check_given("w_m", params.w_m, (n,), "w_m" in used, params)
    _check_given("b_m", params.b_m, (), "b_m" in used, params)
    _check_given("fan_out", params.fan_out, (n,), "fan_out" in used, params)
    if params.plastic and rule.trace_clip and not 0 < params.trace_clip < math.inf:
        raise ValueError(f"params.trace_clip must be a finite number above 0, got {params.trace_clip!r}")


def _refuse_width(x: Tensor, params: PlasticParams) -> None:
    parts = get_cell(params.cell).parts
    if len(parts) == 1:
        raise ValueError(f"x has {x.shape[-1]} neurons, params.w has {params.n}: they must agree")
    raise ValueError(
        f"x must be (..., B, {drive_size(params)}) with cell {params.cell!r}, {params.n} for each of its "
        f"parts {', '.join(parts)}, got {_shape(x)}"
    )


def _check_given(
    name: str, tensor: Tensor | None, shape: tuple[int, ...], used: bool, params: PlasticParams
) -> None:
    if used == (tensor is not None):
        if tensor is not None and tensor.shape != shape:
            _check_shape(f"params.{name}", tensor, shape)
        return
    if name in ("w_gates", "b_u"):
        which = f"with cell {params.cell!r}"
    else:
        which = "without alpha" if params.alpha is None else f"with rule {params.rule!r}"
    raise ValueError(
        f"params.{name} must be {'given' if used else 'None'} {which}, got {_shape_or_none(tensor)}"
    )


def _check_values(
    x: Tensor, params: PlasticParams, state: PlasticState | None, starts: Tensor | None, clamp: Clamp | None
) -> None:
    _check_finite("x", x)
    for name, tensor in params.tensors().items():
        _check_finite(f"params.{name}", tensor)
    if params.eta is not None and not 0 < params.eta.item() < 1:
        raise ValueError(f"params.eta must lie strictly between 0 and 1, got {params.eta.item()!r}")
    if state is not None:
        for name, part in state._asdict().items():
            _check_finite(f"state.{name}", part)
    if starts is not None and starts.dtype != torch.bool and not ((starts == 0) | (starts == 1)).all():
        raise ValueError("episode_starts must be bool, or 0 and 1, got other values")
    if clamp is not None:
        _check_finite("clamp values (where the mask is true)", clamp[0].masked_fill(~clamp[1], 0))


def _check_repeats(repeats: Tensor, x: Tensor, clamp: Clamp | None) -> None:
    _check_shape("repeats", repeats, x.shape[:1])
    _check_device("repeats", repeats, x)
    if repeats.dtype.is_floating_point or repeats.dtype.is_complex or repeats.dtype == torch.bool:
        raise ValueError(f"repeats must have an integer dtype, got {repeats.dtype}")
    if repeats.min() < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats.min().item()}")
    repeated = repeats > 1
    free = repeated if clamp is None else repeated & ~clamp[1].flatten(1).all(1)
    if free.any():
        t = int(free.nonzero()[0])
        raise ValueError(
            f"repeats must be 1 where a neuron is not clamped, got repeats[{t}] = {repeats[t].item()}"
        )


def _check_finite(name: str, tensor: Tensor) -> None:
    if tensor.numel() == 0:
        return
    # The smallest and the largest value take no memory; NaN comes out as both. NumPy looks for them in this
    # thread: torch would wake threads that go on spinning, for milliseconds, on the cores that kernels need.
    values = tensor.detach()
    if values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64):
        array = values.numpy()
        low, high = float(array.min()), float(array.max())
    else:
        low, high = (bound.item() for bound in torch.aminmax(values))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name} must be finite, got values from {low} to {high}")


def _check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tensor.shape != shape:
        raise ValueError(f"{name} must be {tuple(shape)}, got {_shape(tensor)}")


def _check_like(name: str, tensor: Tensor, x: Tensor) -> None:
    if tensor.dtype != x.dtype:
        raise ValueError(f"{name} must have the dtype of x, {x.dtype}, got {tensor.dtype}")
    _check_device(name, tensor, x)


def _check_device(name: str, tensor: Tensor, x: Tensor) -> None:
    if tensor.device != x.device:
        raise ValueError(f"{name} must be on the device of x, {x.device}, got {tensor.device}")


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _shape_or_none(tensor: Tensor | None) -> str:
    return "None" if tensor is None else f"a tensor of shape {_shape(tensor)}"
