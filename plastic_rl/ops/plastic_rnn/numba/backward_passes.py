"""The backward passes over packed matrices: a step of one environment, where all the time goes.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

from typing import Any

from plastic_rl.ops.plastic_rnn.numba.simd import LANES, inlined, inner, load, splat, store, zero_beyond
from plastic_rl.ops.plastic_rnn.numba.vectors import UNBOUNDED, ZERO, fill


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


def _make_connection(full: bool, defer: bool, two: bool) -> Any:
    if full:

        @inlined
        def connection(
            i, offset, h, overdue, error, gradient, d, g, now_i, weights, plasticity, dalpha, touched
        ):
            """What goes to row i, and dL/dH before the step, of a vector of connections; adds to dalpha."""
            alpha = load(weights.alpha, offset)
            pair = error * now_i
            if two:
                store(dalpha, offset, load(dalpha, offset) + overdue + pair * h)
            elif not defer:
                store(dalpha, offset, load(dalpha, offset) + pair * h)
            row = error * (load(weights.w, offset) + alpha * h) + gradient * g
            return row, d * gradient + alpha * pair

        return connection

    @inlined
    def connection(i, offset, h, overdue, error, gradient, d, g, now_i, weights, plasticity, dalpha, touched):
        """The same with a scalar alpha; adds to touched."""
        product = error * h
        store(touched, i * LANES, load(touched, i * LANES) + product)
        row = error * load(weights.w, offset) + gradient * g + plasticity * product
        return row, d * gradient + plasticity * error * now_i

    return connection


def _make_backward_pass(
    full: bool, undo: bool, sums: bool = False, clipped: bool = False, defer: bool = False, two: bool = False
) -> Any:
    connection = _make_connection(full, defer, two)
    with_dgain, with_overlap = undo or sums, undo or (sums and not clipped)

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
            # A variant loads what it does not use, and the compiler leaves it out.
            d, g, error = load(decay, column), load(gain, column), load(dpre, column)
            inverse_d = load(inverse, column)
            undone = g * inverse_d
            later_error = load(later.dpre, column)
            d_before, g_before = load(earlier.decay, column), load(earlier.gain, column)
            dg, common = splat(ZERO), splat(ZERO)
            offset = column * n
            for i in range(n):
                h = load(trace, offset)
                overdue = later_error * later.now[i] * h
                if undo:
                    h = inverse_d * h - undone * now[i]
                    store(trace, offset, h)
                row, gradient = connection(
                    i, offset, h, overdue, error, load(grad, offset), d, g, now[i], weights, plasticity,
                    dalpha, touched,
                )  # fmt: skip
                if sums:
                    h = load(earlier.trace, offset)
                if clipped:
                    gradient = zero_beyond(gradient, d_before * h + g_before * before[i], limit)
                store(grad, offset, gradient)
                store(rows, i * LANES, load(rows, i * LANES) + row)
                dg = dg + gradient * before[i]
                common = common + gradient * h
                offset += LANES
            if with_dgain:
                store(dgain, column, dg)
            if with_overlap:
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


@inner
def back_through_held(undo, trace, grad, column, limit, count, held, traces, place, dgain, overlap):
    """One panel back through ``count`` held steps."""
    for k in range(count):
        final = k == count - 1
        if undo:
            _undo_held_panel(trace, grad, column, k, final, limit, held, dgain, overlap)
        else:
            _held_panel(traces[place - 1 - k], grad, column, k, final, limit, held, dgain, overlap)


@inlined
def full_variant(undo, sums, clipped, defer, two, a):
    """The variant of ``backward_pass`` for these flags."""
    if defer:
        _backward_full_undo_defer(*a)
    elif two:
        _backward_full_undo_two(*a)
    elif undo:
        _backward_full_undo(*a)
    elif not sums:
        _backward_full(*a)
    elif clipped:
        _backward_full_sums_clipped(*a)
    else:
        _backward_full_sums(*a)


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
        if full:
            full_variant(undo, sums, clipped, defer, two, a)
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
