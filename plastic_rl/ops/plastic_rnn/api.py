"""The public face of the plastic operator: checks what comes in, chooses a backend, runs it."""

from __future__ import annotations

import torch
from torch import Tensor

from plastic_rl.arguments import check_count
from plastic_rl.ops.plastic_rnn import backends, checks, library
from plastic_rl.ops.plastic_rnn.cells import zeros
from plastic_rl.ops.plastic_rnn.types import Backend, PlasticParams, PlasticState


def initial_state(params: PlasticParams, batch_size: int) -> PlasticState:
    """The state at the start of an episode: zeros.

    Returns:
        hidden (B, N), trace (B, N, N), cell (B, N) and eligibility (B, N, N); parts that the network does not
        have are empty, (B, 0) and (B, 0, 0).

    Raises:
        ValueError: batch_size below 1, or parameters that do not fit their rule.
    """
    checks.check_params(params)
    return zeros(params, check_count("batch_size", batch_size))


def plastic_rnn(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState | None = None,
    episode_starts: Tensor | None = None,
    *,
    clamp: tuple[Tensor, Tensor] | None = None,
    repeats: Tensor | None = None,
    backend: Backend = "auto",
) -> tuple[Tensor, PlasticState]:
    """Run a plastic recurrent network over a sequence (Miconi, Stanley & Clune, ICML 2018, Eq. 1 to 3).

    Gradients flow to ``x``, to every tensor of ``params`` and to the incoming ``state``, and back from the
    outgoing one, so calls chain. Truncating back-propagation through time is the caller's ``state.detach()``.
    Inside ``torch.autocast`` it runs in float32. ``torch.compile`` and ``torch.export`` take it as one node,
    whose backward pass runs it once more, and the backend ``reference`` as the nodes that it is made of.

    Args:
        x: (T, B, N), input drive of every neuron. Of a gated cell (T, B, G N), N for each of its parts: r, z,
            n of a ``gru`` and i, f, g, o of an ``lstm``, the order of ``torch.nn.GRU`` and ``torch.nn.LSTM``.
        params: weights, plasticity, cell and rule, shared by the batch.
        state: from before the first step; None starts from zeros.
        episode_starts: (T, B), bool or 0 and 1, true where an episode starts: the state of that row is
            zeroed before step t.
        clamp: values (T, B, N) and bool mask (T, B, N); where the mask is true the neuron takes the value,
            which is a constant. In a gated cell it is the hidden state that is held.
        repeats: (T,), integers of at least 1: step t stands for so many steps in a row with the same input
            and clamp, of which only the first can start an episode. More than 1 only where the mask is true
            for every neuron of every row: there ``numba`` takes them all at the cost of two.
        backend: ``reference`` (torch, any device and dtype), ``numba`` (float32 on the CPU, fused),
            ``triton`` (float32 on CUDA, fused) or ``auto``.

    Returns:
        y: (T, B, N), the activations, or the hidden states of a gated cell.
        state: from after the last step.

    Raises:
        ValueError: a wrong shape, dtype, device or a non-finite value, named.
        RuntimeError: an explicit backend that cannot run here, with the reason.
    """
    if checks.autocasts(x):
        with torch.autocast(x.device.type, enabled=False):
            starts, x = episode_starts, _full(x)
            return plastic_rnn(x, params, state, starts, clamp=clamp, repeats=repeats, backend=backend)
    if torch.compiler.is_compiling():
        return library.sequence(x, params, state, episode_starts, clamp, repeats, backend)
    chosen = backends.choose_backend(backend, x, params)
    checks.check_sequence(x, params, state, episode_starts, clamp, repeats)
    if state is None:
        state = zeros(params, x.shape[1])
    if episode_starts is not None:
        episode_starts = episode_starts.bool()
    return chosen.sequence(x, params, state, episode_starts, clamp, repeats)


def plastic_rnn_step_(
    x: Tensor,
    params: PlasticParams,
    state: PlasticState,
    episode_start: Tensor | None = None,
    *,
    clamp: tuple[Tensor, Tensor] | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Take one step without gradients and update ``state`` in place: the form for acting.

    Args:
        x: (B, N), input drive, or (B, G N) of a gated cell.
        params: weights, plasticity, cell and rule.
        state: overwritten.
        episode_start: (B,), true where an episode starts: that row is zeroed before the step.
        clamp: values (B, N) and mask (B, N).
        backend: as in ``plastic_rnn``.

    Returns:
        y: (B, N), the activations, in memory of their own.

    Raises:
        ValueError: a wrong shape, dtype or device, named. Values are not looked at: acting must be quick.
        RuntimeError: an explicit backend that cannot run here, with the reason.
    """
    if checks.autocasts(x):
        with torch.autocast(x.device.type, enabled=False):
            return plastic_rnn_step_(_full(x), params, state, episode_start, clamp=clamp, backend=backend)
    if torch.compiler.is_compiling():
        return library.step_(x, params, state, episode_start, clamp, backend)
    chosen = backends.choose_backend(backend, x, params)
    checks.check_step(x, params, state, episode_start, clamp)
    if episode_start is not None and episode_start.dtype != torch.bool:
        episode_start = episode_start.bool()
    return chosen.step(x, params, state, episode_start, clamp)


def _full(x: Tensor) -> Tensor:
    """The drive as it was before autocast made it narrower: what is added to a trace is small beside it."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
