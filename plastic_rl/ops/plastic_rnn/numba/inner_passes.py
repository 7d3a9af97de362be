"""The backward passes of steps that consist of several inner steps.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

from typing import Any

from plastic_rl.ops.plastic_rnn.numba.backward_passes import back_through_held
from plastic_rl.ops.plastic_rnn.numba.simd import LANES, inner, load, splat, store, zero_beyond
from plastic_rl.ops.plastic_rnn.numba.vectors import UNBOUNDED, ZERO, fill


def _make_recall_backward(full: bool, update: bool, undo: bool = False) -> Any:
    @inner
    def recall_backward(trace, grad, weights, step, error, rows):
        """Add to ``rows`` the lanes of what an inner step sends to what it reads: error (w + alpha H).

        And, from the last inner step (update), what the update sends there: dL/dH g.
        trace: H_t, or (undo) H_{t+1}, becomes H_t
        error: (width,), dL/dpre of the inner step
        """
        now = step.now
        n = now.size
        plasticity = splat(weights.plasticity)
        for column in range(0, error.size, LANES):
            error_j = load(error, column)
            g = load(step.gain, column)
            if undo:
                inverse_d = load(step.inverse, column)
                undone = g * inverse_d
            offset = column * n
            for i in range(n):
                h = load(trace, offset)
                if undo:
                    h = inverse_d * h - undone * now[i]
                    store(trace, offset, h)
                alpha = load(weights.alpha, offset) if full else plasticity
                row = error_j * (load(weights.w, offset) + alpha * h)
                if update:
                    row = row + load(grad, offset) * g
                store(rows, i * LANES, load(rows, i * LANES) + row)
                offset += LANES

    return recall_backward


_recall_back_full = _make_recall_backward(full=True, update=False)
_recall_back_full_update = _make_recall_backward(full=True, update=True)
_recall_back_full_undo = _make_recall_backward(full=True, update=True, undo=True)
_recall_back_scalar = _make_recall_backward(full=False, update=False)
_recall_back_scalar_update = _make_recall_backward(full=False, update=True)
_recall_back_scalar_undo = _make_recall_backward(full=False, update=True, undo=True)


@inner
def recall_back(update, undo, trace, grad, weights, step, error, rows):
    """What an inner step, the last one where there is an update, sends back: into ``rows``."""
    fill(rows, ZERO)
    full = weights.alpha.size > 0
    a = (trace, grad, weights, step, error, rows)
    if full and not update:
        _recall_back_full(*a)
    elif full and undo:
        _recall_back_full_undo(*a)
    elif full:
        _recall_back_full_update(*a)
    elif not update:
        _recall_back_scalar(*a)
    elif undo:
        _recall_back_scalar_undo(*a)
    else:
        _recall_back_scalar_update(*a)


def _make_inner_backward_pass(full: bool, undo: bool, many: bool) -> Any:
    @inner
    def inner_backward_pass(
        first, last, trace, grad, dalpha, weights, limit, step, earlier, inners, rows, touched, dgain, overlap
    ):
        """One step of two or (many) more inner steps back through columns first to last - 1.

        As ``backward_pass``, with the sums for step t-1 in any case, but for
        trace: H_t already, whether updates are undone or not
        rows: only what the first inner step sends to what it reads
        touched: (width,), becomes the lanes of sum_ij H_ij (sum of the outer products), for a scalar alpha
        """
        before = step.before
        reads, errors = inners.reads, inners.errors
        n, width = before.size, step.decay.size
        reads_0, reads_1 = reads[0], reads[1]
        plasticity = splat(weights.plasticity)
        for column in range(first, last, LANES):
            d = load(step.decay, column)
            error_0, error_1 = load(errors, column), load(errors, width + column)
            if not undo:
                d_before = load(earlier.decay, column)
                g_before = load(earlier.gain, column)
            dg = splat(ZERO)
            common = splat(ZERO)
            shared = splat(ZERO)
            offset = column * n
            for i in range(n):
                h = load(trace, offset)
                outer = error_0 * reads_0[i] + error_1 * reads_1[i]
                if many:
                    for s in range(2, reads.shape[0]):
                        outer = outer + load(errors, s * width + column) * reads[s, i]
                alpha = load(weights.alpha, offset) if full else plasticity
                row = error_0 * (load(weights.w, offset) + alpha * h)
                store(rows, i * LANES, load(rows, i * LANES) + row)
                if full:
                    store(dalpha, offset, load(dalpha, offset) + outer * h)
                else:
                    shared = shared + outer * h
                gradient = d * load(grad, offset) + alpha * outer
                if not undo:
                    h = load(earlier.trace, offset)
                    gradient = zero_beyond(gradient, d_before * h + g_before * before[i], limit)
                store(grad, offset, gradient)
                dg = dg + gradient * before[i]
                common = common + gradient * h
                offset += LANES
            store(dgain, column, dg)
            store(overlap, column, common)
            if not full:
                store(touched, column, shared)

    return inner_backward_pass


_inner_full_undo = _make_inner_backward_pass(full=True, undo=True, many=False)
_inner_full = _make_inner_backward_pass(full=True, undo=False, many=False)
_inner_scalar_undo = _make_inner_backward_pass(full=False, undo=True, many=False)
_inner_scalar = _make_inner_backward_pass(full=False, undo=False, many=False)
_many_full_undo = _make_inner_backward_pass(full=True, undo=True, many=True)
_many_full = _make_inner_backward_pass(full=True, undo=False, many=True)
_many_scalar_undo = _make_inner_backward_pass(full=False, undo=True, many=True)
_many_scalar = _make_inner_backward_pass(full=False, undo=False, many=True)


@inner
def inner_back(
    undo, sums, trace, grad, dalpha, weights, bound, step, earlier, inners, rows, touched,
    dgain, overlap, count, held, traces, place,
):  # fmt: skip
    """As ``step_back``, for a step of several inner steps. touched: (width,) is used."""
    many = inners.reads.shape[0] > 2
    # Where no sums are wanted, what stands in ``earlier`` is not of the step before: nothing is zeroed by it.
    limit, no_limit = splat(bound), splat(UNBOUNDED)
    width = step.decay.size
    fill(rows, ZERO)
    span = width if count == 0 else LANES  # as in the forward pass
    for first in range(0, width, span):
        vectors = step, earlier, inners, rows, touched, dgain, overlap
        a = (first, first + span, trace, grad, dalpha, weights, limit if sums else no_limit, *vectors)
        inner_variant(undo, many, weights.alpha.size > 0, a)
        back_through_held(undo, trace, grad, first, limit, count, held, traces, place, dgain, overlap)


@inner
def inner_variant(undo, many, full, a):
    """The variant of ``inner_backward_pass`` for these flags."""
    if full and not many:
        if undo:
            _inner_full_undo(*a)
        else:
            _inner_full(*a)
    elif full:
        if undo:
            _many_full_undo(*a)
        else:
            _many_full(*a)
    elif not many:
        if undo:
            _inner_scalar_undo(*a)
        else:
            _inner_scalar(*a)
    elif undo:
        _many_scalar_undo(*a)
    else:
        _many_scalar(*a)
