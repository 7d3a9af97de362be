"""What the compiled functions of the numba backend hand to each other.

Matrices are packed, see ``packed``; ``width`` is N rounded up to whole vectors, filled up with zeros.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# So many steps in a row in which the clamp holds every neuron are taken together.
MOST_HELD = 8


class Weights(NamedTuple):
    """The matrices that a batch shares, packed; ``alpha`` is empty where a scalar replaces it."""

    w: np.ndarray
    alpha: np.ndarray
    plasticity: np.float32


class Rule(NamedTuple):
    """How neurons fire and how their trace changes. ``w_m`` and ``fan_out`` are padded."""

    code: int
    activation: int
    eta: np.float32
    b_m: np.float32
    bound: np.float32
    w_m: np.ndarray
    fan_out: np.ndarray


class Scratch(NamedTuple):
    """Working memory of the way back: one row per chunk of each array, see ``memory.staggered``.

    trace, grad: (chunks, packed)
    rows, touched, held_rows: (chunks, lanes * N)
    window: (chunks, steps, packed), empty where updates are undone
    """

    trace: np.ndarray
    grad: np.ndarray
    rows: np.ndarray
    touched: np.ndarray
    held_rows: np.ndarray
    window: np.ndarray


class Room(NamedTuple):
    """The working memory of one chunk: its rows of a ``Scratch``."""

    trace: np.ndarray
    grad: np.ndarray
    rows: np.ndarray
    touched: np.ndarray
    window: np.ndarray


class Backlog(NamedTuple):
    """Room for ``MOST_HELD`` updates of the trace that have been put off, the oldest first.

    decays, gains: (MOST_HELD, width)
    reads: (MOST_HELD, N), their presynaptic activations
    """

    decays: np.ndarray
    gains: np.ndarray
    reads: np.ndarray


class Step(NamedTuple):
    """A step on the way back: vectors of its update (``inverse`` is 1 / decay) and dL/dpre, (width,) each.

    now, before: (N,), the presynaptic activations of its update and of that of the step before
    """

    decay: np.ndarray
    gain: np.ndarray
    inverse: np.ndarray
    dpre: np.ndarray
    now: np.ndarray
    before: np.ndarray


class Way(NamedTuple):
    """The vectors of an environment's way back, (width,) each, the last two (N,).

    y, decay, gain, inverse: of the step that it has come to: hidden state, and the vectors of its update
    dgain, ddecay: dL/dg and dL/dd; overlap: what ddecay follows from where updates are undone
    dy, dh, du: the gradients of the candidate, of the hidden state and of the read-out; one vector where
        there are no gates
    carry, direct: what goes to the hidden state that is read, in all and past the connections
    c, dc: the cell state before the step, and the gradient of that after it
    earlier_decay, earlier_gain: of the update before
    now, before: the presynaptic activations of the update, and of the one before
    """

    y: np.ndarray
    decay: np.ndarray
    gain: np.ndarray
    inverse: np.ndarray
    dgain: np.ndarray
    ddecay: np.ndarray
    overlap: np.ndarray
    dy: np.ndarray
    dh: np.ndarray
    du: np.ndarray
    carry: np.ndarray
    direct: np.ndarray
    c: np.ndarray
    dc: np.ndarray
    earlier_decay: np.ndarray
    earlier_gain: np.ndarray
    now: np.ndarray
    before: np.ndarray


class Earlier(NamedTuple):
    """The trace (packed) before the step before, and decay and gain (width,) of that step's update."""

    trace: np.ndarray
    decay: np.ndarray
    gain: np.ndarray


class Inner(NamedTuple):
    """The inner steps of a step on the way back, where there are several.

    errors: (core_steps * width,), dL/dpre of each, one after the other
    reads: (core_steps, N), the activations that each reads
    """

    errors: np.ndarray
    reads: np.ndarray


class Later(NamedTuple):
    """dL/dpre (width,) of the step after, and the activations (N,) that it read."""

    dpre: np.ndarray
    now: np.ndarray


class Held(NamedTuple):
    """Room for consecutive steps on the way back, the latest first, in which the clamp holds every neuron.

    decays, gains, inverses: (MOST_HELD, width), of their updates
    reads: (MOST_HELD + 1, N), their presynaptic activations, and then those of the step before them
    dgains, ddecays: (MOST_HELD, width), become dL/dg and dL/dd
    rows: (N, lanes), becomes the lanes of the gradient of what the earliest of them reads
    """

    decays: np.ndarray
    gains: np.ndarray
    inverses: np.ndarray
    reads: np.ndarray
    dgains: np.ndarray
    ddecays: np.ndarray
    rows: np.ndarray


class History(NamedTuple):
    """What the forward pass leaves for the backward pass.

    hidden: (B, N), the activations before the first step
    starts: (T, B) bool
    y: (T, B, N)
    recalls: (T, core_steps - 1, B, N), the activations of the inner steps before the last
    traces: (K + 1, B, packed), the trace before some steps (and before a reset there), and at the end; empty
        if there will be no backward pass
    firsts: (K,), those steps; the first is 0
    places: (T,), which of them is the last one up to step t
    counts: (T,), how often in a row the update of step t is applied, always with the same activations
    """

    hidden: np.ndarray
    starts: np.ndarray
    y: np.ndarray
    recalls: np.ndarray
    traces: np.ndarray
    firsts: np.ndarray
    places: np.ndarray
    counts: np.ndarray


class Upstream(NamedTuple):
    """Gradients that come in: y (T, B, N), hidden (B, N), trace (B, N, N) or (0, 0, 0) for none."""

    y: np.ndarray
    hidden: np.ndarray
    trace: np.ndarray


class Sums(NamedTuple):
    """What a chunk adds up over its environments and steps: its rows of a ``Downstream``."""

    w: np.ndarray
    alpha: np.ndarray
    scalars: np.ndarray
    w_m: np.ndarray
    fan_out: np.ndarray


class Downstream(NamedTuple):
    """Gradients that go out; the second group is added to, one row per chunk.

    pre: (T, B, N); hidden: (B, N); trace: (B, N, N) or (0, 0, 0) where not wanted
    w: (chunks, N rounded up to ROWS, (K + 1) width), of the connections and of K gates behind them, or with 0
        rows where not wanted
    alpha: (chunks, packed); w_m, fan_out: (chunks, width)
    scalars: (chunks, 3), of eta, b_m and the scalar plasticity
    """

    pre: np.ndarray
    hidden: np.ndarray
    trace: np.ndarray
    w: np.ndarray
    alpha: np.ndarray
    scalars: np.ndarray
    w_m: np.ndarray
    fan_out: np.ndarray
