"""What the numba backend does with N x N matrices within one step: where all the time goes.

A matrix (N x N) is *packed* in panels of ``LANES`` columns: panel p holds rows 0 to N-1 of its columns one
after the other, so that every pass over it is one contiguous stream and the sums over rows stay in registers.
The last panel is filled up with zeros.

``rows.py`` has the same for row-major matrices.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

from typing import Any

from plastic_rl.ops.plastic_rnn.numba.simd import (
    LANES,
    broadcast,
    clip,
    inner,
    load,
    splat,
    store,
    zero_beyond,
)
from plastic_rl.ops.plastic_rnn.numba.vectors import UNBOUNDED, ZERO, fill

# Rows of dw that are summed up at a time, and steps that are put together for it.
ROWS, STEPS = 8, 64

# Packed matrices


@inner
def pack(matrix, packed):
    """Row-major (N, N) to panels."""
    n = matrix.shape[0]
    whole = n // LANES * LANES
    for column in range(0, whole, LANES):
        for i in range(n):
            store(packed, column * n + i * LANES, load(matrix[i], column))
    if whole < n:
        for i in range(n):
            offset = whole * n + i * LANES
            store(packed, offset, splat(ZERO))
            for j in range(n - whole):
                packed[offset + j] = matrix[i, whole + j]


@inner
def unpack(packed, matrix):
    """Panels to row-major (N, N)."""
    n = matrix.shape[0]
    whole = n // LANES * LANES
    for column in range(0, whole, LANES):
        for i in range(n):
            store(matrix[i], column, load(packed, column * n + i * LANES))
    for i in range(n):
        for j in range(n - whole):
            matrix[i, whole + j] = packed[whole * n + i * LANES + j]


# Passes over packed matrices


@inner
def settle_panel(trace, column, limit, decay, gain, before, result):
    """The update alone, of one panel."""
    n = before.size
    d = load(decay, column)
    g = load(gain, column)
    offset = column * n
    for i in range(n):
        store(result, offset, clip(d * load(trace, offset) + g * before[i], limit))
        offset += LANES


def _make_connect(clipped: bool, update: bool) -> Any:
    @inner
    def connect(total, trace, offset, d, g, limit, before_i, w, alpha, now_i):
        """One row of a panel: update the trace, H <- clip(d H + g y_before,i), and add what it reads out."""
        if not update:
            return total + (w + alpha * load(trace, offset)) * now_i
        h = d * load(trace, offset) + g * before_i
        if clipped:
            h = clip(h, limit)
        store(trace, offset, h)
        return total + (w + alpha * h) * now_i

    return connect


def _make_forward_passes(full: bool, clipped: bool, update: bool = True) -> tuple[Any, Any]:
    connect = _make_connect(clipped, update)

    @inner
    def alone(first, last, trace, weights, bound, decay, gain, before, now, pre):
        """Update columns first to last - 1 by the step before, and read out."""
        n = now.size
        limit = splat(bound)
        plasticity = splat(weights.plasticity)
        for column in range(first, last, LANES):
            d, g = load(decay, column), load(gain, column)
            # Even and odd rows have a sum each: a single sum would wait for its own last addition.
            even, odd = load(pre, column), splat(ZERO)
            offset = column * n
            for i in range(0, n - 1, 2):
                alpha = load(weights.alpha, offset) if full else plasticity
                w = load(weights.w, offset)
                even = connect(even, trace, offset, d, g, limit, before[i], w, alpha, now[i])
                offset += LANES
                alpha = load(weights.alpha, offset) if full else plasticity
                w = load(weights.w, offset)
                odd = connect(odd, trace, offset, d, g, limit, before[i + 1], w, alpha, now[i + 1])
                offset += LANES
            if n % 2 == 1:
                alpha = load(weights.alpha, offset) if full else plasticity
                w = load(weights.w, offset)
                even = connect(even, trace, offset, d, g, limit, before[n - 1], w, alpha, now[n - 1])
            store(pre, column, even + odd)

    @inner
    def pair(traces, weights, bound, decay, gain, before, now, pre):
        """The same of two environments, all columns: they share every load of w and alpha."""
        n = now.shape[1]
        limit = splat(bound)
        plasticity = splat(weights.plasticity)
        trace_0, trace_1 = traces[0], traces[1]
        before_0, before_1, now_0, now_1 = before[0], before[1], now[0], now[1]
        for column in range(0, pre.shape[1], LANES):
            d_0, d_1 = load(decay[0], column), load(decay[1], column)
            g_0, g_1 = load(gain[0], column), load(gain[1], column)
            even_0, even_1 = load(pre[0], column), load(pre[1], column)
            odd_0, odd_1 = splat(ZERO), splat(ZERO)
            offset = column * n
            for i in range(0, n - 1, 2):
                alpha = load(weights.alpha, offset) if full else plasticity
                w = load(weights.w, offset)
                even_0 = connect(even_0, trace_0, offset, d_0, g_0, limit, before_0[i], w, alpha, now_0[i])
                even_1 = connect(even_1, trace_1, offset, d_1, g_1, limit, before_1[i], w, alpha, now_1[i])
                offset += LANES
                k = i + 1
                alpha = load(weights.alpha, offset) if full else plasticity
                w = load(weights.w, offset)
                odd_0 = connect(odd_0, trace_0, offset, d_0, g_0, limit, before_0[k], w, alpha, now_0[k])
                odd_1 = connect(odd_1, trace_1, offset, d_1, g_1, limit, before_1[k], w, alpha, now_1[k])
                offset += LANES
            if n % 2 == 1:
                k = n - 1
                alpha = load(weights.alpha, offset) if full else plasticity
                w = load(weights.w, offset)
                even_0 = connect(even_0, trace_0, offset, d_0, g_0, limit, before_0[k], w, alpha, now_0[k])
                even_1 = connect(even_1, trace_1, offset, d_1, g_1, limit, before_1[k], w, alpha, now_1[k])
            store(pre[0], column, even_0 + odd_0)
            store(pre[1], column, even_1 + odd_1)

    return alone, pair


_full, _pair_full = _make_forward_passes(full=True, clipped=False)
_full_clipped, _pair_full_clipped = _make_forward_passes(full=True, clipped=True)
_scalar, _pair_scalar = _make_forward_passes(full=False, clipped=False)
_scalar_clipped, _pair_scalar_clipped = _make_forward_passes(full=False, clipped=True)

_full_recall, _pair_full_recall = _make_forward_passes(full=True, clipped=False, update=False)
_scalar_recall, _pair_scalar_recall = _make_forward_passes(full=False, clipped=False, update=False)


@inner
def recall_pass(trace, weights, now, pre):
    """Add the read-out y_now (w + alpha H) to ``pre``."""
    # What is not updated needs neither decay nor gain: anything stands in their places.
    if weights.alpha.size > 0:
        _full_recall(0, pre.size, trace, weights, UNBOUNDED, pre, pre, now, now, pre)
    else:
        _scalar_recall(0, pre.size, trace, weights, UNBOUNDED, pre, pre, now, now, pre)


@inner
def recall_pair(traces, weights, now, pre):
    """The same of two environments. traces: a tuple; the vectors (2, N) and (2, width)."""
    if weights.alpha.size > 0:
        _pair_full_recall(traces, weights, UNBOUNDED, pre, pre, now, now, pre)
    else:
        _pair_scalar_recall(traces, weights, UNBOUNDED, pre, pre, now, now, pre)


@inner
def forward_pass(trace, weights, bound, backlog, waiting, decay, gain, before, now, pre):
    """The whole pass. The ``waiting`` updates in the backlog come before that of (decay, gain)."""
    full = weights.alpha.size > 0
    limit = splat(bound)
    width = pre.size
    # With a backlog, panel by panel: each is taken through all of it while it is in cache. The loop is out
    # here because within the variants it makes the whole pass a quarter slower, even with nothing to do.
    span = width if waiting == 0 else LANES
    for first in range(0, width, span):
        last = first + span
        for k in range(waiting):
            settle_panel(trace, first, limit, backlog.decays[k], backlog.gains[k], backlog.reads[k], trace)
        if bound < UNBOUNDED:
            if full:
                _full_clipped(first, last, trace, weights, bound, decay, gain, before, now, pre)
            else:
                _scalar_clipped(first, last, trace, weights, bound, decay, gain, before, now, pre)
        elif full:
            _full(first, last, trace, weights, bound, decay, gain, before, now, pre)
        else:
            _scalar(first, last, trace, weights, bound, decay, gain, before, now, pre)


@inner
def forward_pair(traces, weights, bound, decay, gain, before, now, pre):
    """The forward pass of two environments. traces: a tuple; the vectors (2, N) or (2, width)."""
    arguments = (traces, weights, bound, decay, gain, before, now, pre)
    if weights.alpha.size > 0 and bound < UNBOUNDED:
        _pair_full_clipped(*arguments)
    elif weights.alpha.size > 0:
        _pair_full(*arguments)
    elif bound < UNBOUNDED:
        _pair_scalar_clipped(*arguments)
    else:
        _pair_scalar(*arguments)


@inner
def settle(trace, bound, decay, gain, before, result):
    """The update alone: result = clip(d H + g y_before). ``result`` may be ``trace``."""
    limit = splat(bound)
    for column in range(0, decay.size, LANES):
        settle_panel(trace, column, limit, decay, gain, before, result)


def _make_held_panel(undo: bool) -> Any:
    @inner
    def held_panel(trace, grad, column, k, last, limit, held, dgain, overlap):
        """Held step number k, the earliest if it is the ``last``, back through one panel of the trace.

        trace: of after that step, becomes that of before (undo), or is that already; grad: dL/dH likewise
        dgain, overlap: (undo) the sums for that step, become those for the one before it
        """
        n = held.reads.shape[1]
        now = held.reads[k]
        d = load(held.decays[k], column)
        g = load(held.gains[k], column)
        if undo:
            before = held.reads[k + 1]
            inverse_d = load(held.inverses[k], column)
            undone = g * inverse_d
            dg = load(dgain, column)
            store(held.dgains[k], column, dg)
            store(held.ddecays[k], column, (load(overlap, column) - g * dg) * inverse_d)
        dg = splat(ZERO)
        dd = splat(ZERO)
        offset = column * n
        for i in range(n):
            h = load(trace, offset)
            gradient = load(grad, offset)
            if undo:
                h = inverse_d * h - undone * now[i]
                store(trace, offset, h)
            else:
                gradient = zero_beyond(gradient, d * h + g * now[i], limit)
                dg = dg + gradient * now[i]
                dd = dd + gradient * h
            if last:
                store(held.rows, i * LANES, load(held.rows, i * LANES) + gradient * g)
            gradient = d * gradient
            store(grad, offset, gradient)
            if undo:
                dg = dg + gradient * before[i]
                dd = dd + gradient * h
            offset += LANES
        if undo:
            store(dgain, column, dg)
            store(overlap, column, dd)
        else:
            store(held.dgains[k], column, dg)
            store(held.ddecays[k], column, dd)

    return held_panel


_undo_held_panel = _make_held_panel(undo=True)
_held_panel = _make_held_panel(undo=False)


def _make_backward_pass(
    full: bool, undo: bool, sums: bool = False, clipped: bool = False, defer: bool = False, two: bool = False
) -> Any:
    @inner
    def backward_pass(
        first, last, trace, grad, dalpha, weights, limit, step, earlier, later, rows, touched, dgain, overlap
    ):
        """One step back through columns first to last - 1 of the trace.

        trace: H_{t+1}, becomes H_t (undo), or H_t already
        grad: dL/dH_{t+1}, becomes dL/dH_t; (sums) zeroed where the update to H_t was clipped
        dalpha: added to; (defer) not yet, (two) together with what step t+1, which is ``later``, put off
        earlier: (sums) H_{t-1} with the decay and gain of its update
        rows: (N, lanes), added to: the lanes of dL/dy_{t-1}
        touched: (N, lanes), added to: those of sum_j dpre_j H_ij, for a scalar alpha
        dgain: (undo, sums) becomes sum_i dL/dH_t,ij y_{t-2,i}, for step t-1
        overlap: for step t-1, becomes sum_i dL/dH_t,ij H_t,ij (undo), or sum_i dL/dH_t,ij H_{t-1},ij (sums;
            not where updates are clipped: there the decay is constant)
        """
        decay, gain, inverse, dpre, now, before = step
        n = now.size
        plasticity = splat(weights.plasticity)
        for column in range(first, last, LANES):
            d = load(decay, column)
            g = load(gain, column)
            error = load(dpre, column)
            if undo:
                inverse_d = load(inverse, column)
                undone = g * inverse_d
            if two:
                later_error = load(later.dpre, column)
            if sums:
                d_before = load(earlier.decay, column)
                g_before = load(earlier.gain, column)
            if undo or sums:
                dg = splat(ZERO)
                common = splat(ZERO)
            offset = column * n
            for i in range(n):
                h = load(trace, offset)
                if two:
                    overdue = later_error * later.now[i] * h
                if undo:
                    h = inverse_d * h - undone * now[i]
                    store(trace, offset, h)
                gradient = load(grad, offset)
                if full:
                    alpha = load(weights.alpha, offset)
                    row = error * (load(weights.w, offset) + alpha * h) + gradient * g
                    pair = error * now[i]
                    if two:
                        store(dalpha, offset, load(dalpha, offset) + overdue + pair * h)
                    elif not defer:
                        store(dalpha, offset, load(dalpha, offset) + pair * h)
                    gradient = d * gradient + alpha * pair
                else:
                    product = error * h
                    store(touched, i * LANES, load(touched, i * LANES) + product)
                    row = error * load(weights.w, offset) + gradient * g + plasticity * product
                    gradient = d * gradient + plasticity * error * now[i]
                if sums:
                    h = load(earlier.trace, offset)
                    if clipped:
                        gradient = zero_beyond(gradient, d_before * h + g_before * before[i], limit)
                store(grad, offset, gradient)
                store(rows, i * LANES, load(rows, i * LANES) + row)
                if undo or sums:
                    dg = dg + gradient * before[i]
                if undo or (sums and not clipped):
                    common = common + gradient * h
                offset += LANES
            if undo or sums:
                store(dgain, column, dg)
            if undo or (sums and not clipped):
                store(overlap, column, common)

    return backward_pass


_backward_full_undo = _make_backward_pass(full=True, undo=True)
_backward_full_undo_defer = _make_backward_pass(full=True, undo=True, defer=True)
_backward_full_undo_two = _make_backward_pass(full=True, undo=True, two=True)
_backward_full = _make_backward_pass(full=True, undo=False)
_backward_full_sums = _make_backward_pass(full=True, undo=False, sums=True)
_backward_full_sums_clipped = _make_backward_pass(full=True, undo=False, sums=True, clipped=True)
_backward_scalar_undo = _make_backward_pass(full=False, undo=True)
_backward_scalar = _make_backward_pass(full=False, undo=False)
_backward_scalar_sums = _make_backward_pass(full=False, undo=False, sums=True)
_backward_scalar_sums_clipped = _make_backward_pass(full=False, undo=False, sums=True, clipped=True)


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


@inner
def back_through_held(undo, trace, grad, column, limit, count, held, traces, place, dgain, overlap):
    """One panel back through ``count`` held steps."""
    for k in range(count):
        final = k == count - 1
        if undo:
            _undo_held_panel(trace, grad, column, k, final, limit, held, dgain, overlap)
        else:
            _held_panel(traces[place - 1 - k], grad, column, k, final, limit, held, dgain, overlap)


@inner
def step_back(
    undo, sums, defer, two, trace, grad, dalpha, weights, bound, step, earlier, later, rows, touched,
    dgain, overlap, count, held, traces, place,
):  # fmt: skip
    """One step back, and on through ``count`` held steps before it: all become those of before the first.

    traces, place: the trace before the held steps is in traces[place - 1] and so on (without undo)
    sums: also do what ``column_sums`` would do next, for step t-1; only without undo and held steps
    defer, two: put dalpha off, or add what step t+1, ``later``, put off; only with undo and a full alpha
    rows, touched: become the sums of the step alone, those of the first held step go to ``held.rows``
    """
    full = weights.alpha.size > 0
    clipped = bound < UNBOUNDED
    limit = splat(bound)
    width = step.dpre.size
    fill(rows, ZERO)
    if not full:
        fill(touched, ZERO)
    if count > 0:
        fill(held.rows, ZERO)
    span = width if count == 0 else LANES  # as in the forward pass
    for first in range(0, width, span):
        last = first + span
        vectors = step, earlier, later, rows, touched, dgain, overlap
        a = (first, last, trace, grad, dalpha, weights, limit, *vectors)
        if defer:
            _backward_full_undo_defer(*a)
        elif two:
            _backward_full_undo_two(*a)
        elif full and undo:
            _backward_full_undo(*a)
        elif full and not sums:
            _backward_full(*a)
        elif full and clipped:
            _backward_full_sums_clipped(*a)
        elif full:
            _backward_full_sums(*a)
        elif undo:
            _backward_scalar_undo(*a)
        elif not sums:
            _backward_scalar(*a)
        elif clipped:
            _backward_scalar_sums_clipped(*a)
        else:
            _backward_scalar_sums(*a)
        back_through_held(undo, trace, grad, first, limit, count, held, traces, place, dgain, overlap)


@inner
def column_sums(trace, grad, rule, decay, gain, before, dgain, ddecay):
    """sum_i G_ij y_before,i and sum_i G_ij H_ij, with G zeroed first where the update of H was clipped."""
    n = before.size
    limit = splat(rule.bound)
    for column in range(0, dgain.size, LANES):
        d = load(decay, column)
        g = load(gain, column)
        dg = splat(ZERO)
        dd = splat(ZERO)
        offset = column * n
        for i in range(n):
            h = load(trace, offset)
            gradient = zero_beyond(load(grad, offset), d * h + g * before[i], limit)
            store(grad, offset, gradient)
            dg = dg + gradient * before[i]
            dd = dd + gradient * h
            offset += LANES
        store(dgain, column, dg)
        store(ddecay, column, dd)


@inner
def overlap_sums(trace, grad, now, dgain, overlap):
    """sum_i G_ij y_i and sum_i G_ij H_ij, with which the undoing backward starts."""
    n = now.size
    for column in range(0, dgain.size, LANES):
        dg = splat(ZERO)
        common = splat(ZERO)
        offset = column * n
        for i in range(n):
            gradient = load(grad, offset)
            dg = dg + gradient * now[i]
            common = common + gradient * load(trace, offset)
            offset += LANES
        store(dgain, column, dg)
        store(overlap, column, common)


@inner
def add_outer_products(count, reads, sent, dw):
    """Add to dw the products reads_t^T sent_t of the first ``count`` steps, ``ROWS`` rows at a time.

    reads: (steps, rows); sent: (steps, width); dw: (rows, width), rows a multiple of ``ROWS``
    """
    for i in range(0, dw.shape[0], ROWS):
        for column in range(0, dw.shape[1], LANES):
            dw_0, dw_1 = load(dw[i], column), load(dw[i + 1], column)
            dw_2, dw_3 = load(dw[i + 2], column), load(dw[i + 3], column)
            dw_4, dw_5 = load(dw[i + 4], column), load(dw[i + 5], column)
            dw_6, dw_7 = load(dw[i + 6], column), load(dw[i + 7], column)
            for t in range(count):
                dpre = load(sent[t], column)
                row = reads[t]
                dw_0 = dw_0 + dpre * broadcast(row, i)
                dw_1 = dw_1 + dpre * broadcast(row, i + 1)
                dw_2 = dw_2 + dpre * broadcast(row, i + 2)
                dw_3 = dw_3 + dpre * broadcast(row, i + 3)
                dw_4 = dw_4 + dpre * broadcast(row, i + 4)
                dw_5 = dw_5 + dpre * broadcast(row, i + 5)
                dw_6 = dw_6 + dpre * broadcast(row, i + 6)
                dw_7 = dw_7 + dpre * broadcast(row, i + 7)
            for k, total in enumerate((dw_0, dw_1, dw_2, dw_3, dw_4, dw_5, dw_6, dw_7)):
                store(dw[i + k], column, total)


@inner
def read_out(w, now, pre):
    """Add now w to ``pre`` (4, width) for four environments at once: without a trace they read the same."""
    n = now.shape[1]
    now_0, now_1, now_2, now_3 = now[0], now[1], now[2], now[3]
    for column in range(0, pre.shape[1], LANES):
        total_0 = load(pre[0], column)
        total_1 = load(pre[1], column)
        total_2 = load(pre[2], column)
        total_3 = load(pre[3], column)
        offset = column * n
        for i in range(n):
            weight = load(w, offset)
            total_0 = total_0 + weight * now_0[i]
            total_1 = total_1 + weight * now_1[i]
            total_2 = total_2 + weight * now_2[i]
            total_3 = total_3 + weight * now_3[i]
            offset += LANES
        store(pre[0], column, total_0)
        store(pre[1], column, total_1)
        store(pre[2], column, total_2)
        store(pre[3], column, total_3)
