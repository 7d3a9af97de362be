"""The kernels over everything of size N x N: traces, weights, and their gradients.

What they know of a rule are the vectors of its update, decay d and gain g, and with a second trace E what is
sent to it, M:

    H <- clip(d H + g pre)            or            H <- clip(H + M E),  E <- d E + g pre

Every program has some rows i and columns j of the matrices of some environments. Sums over rows or columns of
several programs go into parts, which whoever needs the sum adds up in a fixed order: there are no atomic
operations, and the same inputs give the same bits.

Arrays are handed over whole, with the number of the row that is meant: cutting a tensor takes longer than
launching a kernel. This module imports triton: it is imported only when the backend is used.
"""

import triton
import triton.language as tl

# Numbers that change from launch to launch are not worth a compilation.
ROWS = ("B", "t", "m", "last", "hidden_row", "slot_in", "slot_out", "per")


@triton.jit
def _clipped(h, clip, CLIP: tl.constexpr):
    """Within plus and minus clip, NaN as it is."""
    if CLIP:
        h = tl.where(h > clip, clip, tl.where(h < -clip, -clip, h))
    return h


@triton.jit
def _vectors(decay, gain, sent, at, mask, SECOND: tl.constexpr):
    """d, g and M of an update; M is there only with a second trace."""
    d, g = tl.load(decay + at, mask=mask, other=0.0), tl.load(gain + at, mask=mask, other=0.0)
    s = d
    if SECOND:
        s = tl.load(sent + at, mask=mask, other=0.0)
    return d, g, s


@triton.jit
def _update(h, second, d, g, s, p, SECOND: tl.constexpr):
    """The traces after an update, not clipped yet. p: what was read."""
    if SECOND:
        h, second = h + s * second, d * second + p * g
    else:
        h = d * h + p * g
    return h, second


@triton.jit
def _load_two(first, second, at, mask, TWO: tl.constexpr):
    """What is there of two traces, or of their gradients; the first twice if there is one."""
    h = tl.load(first + at, mask=mask, other=0.0)
    e = h
    if TWO:
        e = tl.load(second + at, mask=mask, other=0.0)
    return h, e


@triton.jit
def _store_two(first, second, at, h, e, mask, TWO: tl.constexpr):
    tl.store(first + at, h, mask=mask)
    if TWO:
        tl.store(second + at, e, mask=mask)


@triton.jit(do_not_specialize=ROWS)
def read_out(
    traces_in, seconds_in, slot_in, traces_out, seconds_out, slot_out, decay, gain, sent, pre, last, hidden,
    hidden_row, starts, w, alpha, u, clip, t, m, B, N,
    UPDATE: tl.constexpr, FRESH: tl.constexpr, CLIP: tl.constexpr, SECOND: tl.constexpr,
    BE: tl.constexpr, BI: tl.constexpr, BJ: tl.constexpr,
):  # fmt: skip
    """The update of step t - 1, and the read-out u (B, N) of inner step m, the first of step t where FRESH.

    traces_in, traces_out: (slots, B, N, N), and which slot has H_{t-1} and takes H_t
    decay, gain, sent: (T, B, N), of the updates; without UPDATE the trace stays as it is
    pre: (M, B, N), what inner steps have read: ``last`` is that of step t - 1, ``m`` is written where FRESH,
        from hidden, zero where an episode starts; in the other inner steps it is there already, and so is H_t
    """
    e = tl.program_id(0) * BE + tl.arange(0, BE)
    j = tl.program_id(1) * BJ + tl.arange(0, BJ)
    em, jm = e < B, j < N
    ejm = em[:, None] & jm[None, :]
    ej = e[:, None] * N + j[None, :]
    vectors, matrices = tl.cast(B, tl.int64) * N, tl.cast(B, tl.int64) * N * N
    if UPDATE:
        d, g, s = _vectors(decay, gain, sent, tl.cast(t - 1, tl.int64) * vectors + ej, ejm, SECOND)
    if FRESH:
        start = tl.load(starts + tl.cast(t, tl.int64) * B + e, mask=em, other=1) != 0
    read = tl.zeros((BE, BJ), dtype=tl.float32)
    base = tl.cast(e, tl.int64)[:, None, None] * N * N
    for first in range(0, N, BI):
        i = first + tl.arange(0, BI)
        im = i < N
        tile, tm = i[:, None] * N + j[None, :], im[:, None] & jm[None, :]
        at, atm = base + tile[None, :, :], em[:, None, None] & tm[None, :, :]
        ei, eim = e[:, None] * N + i[None, :], em[:, None] & im[None, :]
        if FRESH:
            h, second = _load_two(traces_in, seconds_in, slot_in * matrices + at, atm, SECOND)
            if UPDATE:
                p = tl.load(pre + last * vectors + ei, mask=eim, other=0.0)[:, :, None]
                h, second = _update(h, second, d[:, None, :], g[:, None, :], s[:, None, :], p, SECOND)
                h = _clipped(h, clip, CLIP)
            h = tl.where(start[:, None, None], 0.0, h)
            second = tl.where(start[:, None, None], 0.0, second)
            _store_two(traces_out, seconds_out, slot_out * matrices + at, h, second, atm, SECOND)
            now = tl.load(hidden + hidden_row * vectors + ei, mask=eim, other=0.0)
            now = tl.where(start[:, None], 0.0, now)
            if tl.program_id(1) == 0:
                tl.store(pre + m * vectors + ei, now, mask=eim)
        else:
            h = tl.load(traces_in + slot_in * matrices + at, mask=atm, other=0.0)
            now = tl.load(pre + m * vectors + ei, mask=eim, other=0.0)
        weight = tl.load(w + tile, mask=tm, other=0.0)[None, :, :]
        plasticity = tl.load(alpha + tile, mask=tm, other=0.0)[None, :, :]
        read += tl.sum(now[:, :, None] * (weight + plasticity * h), axis=1)
    tl.store(u + ej, read, mask=ejm)


@triton.jit(do_not_specialize=ROWS)
def update(
    traces_in, seconds_in, slot_in, traces_out, seconds_out, slot_out, decay, gain, sent, pre, last, starts,
    clip, t, B, N,
    RESET: tl.constexpr, CLIP: tl.constexpr, SECOND: tl.constexpr, BI: tl.constexpr, BJ: tl.constexpr,
):  # fmt: skip
    """The update of step t - 1 alone: slot_out gets H_t, zero where an episode starts at t if RESET."""
    e = tl.program_id(0)
    i = tl.program_id(1) * BI + tl.arange(0, BI)
    j = tl.program_id(2) * BJ + tl.arange(0, BJ)
    im, jm = i < N, j < N
    vectors, matrices = tl.cast(B, tl.int64) * N, tl.cast(B, tl.int64) * N * N
    d, g, s = _vectors(decay, gain, sent, tl.cast(t - 1, tl.int64) * vectors + e * N + j, jm, SECOND)
    p = tl.load(pre + last * vectors + e * N + i, mask=im, other=0.0)[:, None]
    at, mask = tl.cast(e, tl.int64) * N * N + i[:, None] * N + j[None, :], im[:, None] & jm[None, :]
    h, second = _load_two(traces_in, seconds_in, slot_in * matrices + at, mask, SECOND)
    h, second = _update(h, second, d[None, :], g[None, :], s[None, :], p, SECOND)
    h = _clipped(h, clip, CLIP)
    if RESET:
        start = tl.load(starts + tl.cast(t, tl.int64) * B + e) != 0
        h, second = tl.where(start, 0.0, h), tl.where(start, 0.0, second)
    _store_two(traces_out, seconds_out, slot_out * matrices + at, h, second, mask, SECOND)


@triton.jit
def _through_update(to_read, G, F, d, g, s, SECOND: tl.constexpr):
    """The gradients of the traces before an update from those after it, and what was read gets its part."""
    if SECOND:
        to_read += F * g
        F = d * F + s * G
    else:
        to_read += G * g
        G = d * G
    return to_read, G, F


@triton.jit
def _sum_up(G, F, h, second, p, gains, decays, sents, at, mask, SECOND: tl.constexpr):
    """What the vectors of an update are sent, from the rows of this program; h, second: from before it."""
    if SECOND:
        tl.store(sents + at, tl.sum(G * second, axis=0), mask=mask)
        tl.store(gains + at, tl.sum(F * p, axis=0), mask=mask)
        tl.store(decays + at, tl.sum(F * second, axis=0), mask=mask)
    else:
        tl.store(gains + at, tl.sum(G * p, axis=0), mask=mask)
        tl.store(decays + at, tl.sum(G * h, axis=0), mask=mask)


@triton.jit(do_not_specialize=ROWS)
def back(
    traces, seconds, slot_in, decay, gain, sent, pre, last, du, starts, w, alpha, up, up_second, back_parts,
    gains, decays, sents, alphas, clip, t, m, B, N, per,
    READ: tl.constexpr, LAST: tl.constexpr, FRESH: tl.constexpr, UPDATE: tl.constexpr, ZERO: tl.constexpr,
    CLIP: tl.constexpr, SECOND: tl.constexpr, BI: tl.constexpr, BJ: tl.constexpr,
):  # fmt: skip
    """From G = dL/dH_{t+1} in ``up`` to dL/dH_t, through the update of step t where LAST and inner step m.

    Where FRESH, m is the first inner step of step t: then up gets the gradient before the clip of the update
    of step t - 1, and what that update's vectors are sent goes into parts.

    traces, seconds: slot_in has H_{t-1}, or H_0 without UPDATE, and the second trace
    last: the row of pre of step t - 1's update
    du: (M, B, N), the gradients of the read-outs; without READ there is no step t, it is what has ended at t
    up, up_second: (B, N, N), in and out; ZERO says that what comes in is zero and not read
    back_parts: (blocks of columns, B, N), to the activations that were read
    gains, decays, sents: (blocks of rows, B, N), to the vectors of the update
    alphas: (groups, N, N), summed up over all launches; a group has ``per`` environments
    """
    ib, jb, group = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    i = ib * BI + tl.arange(0, BI)
    j = jb * BJ + tl.arange(0, BJ)
    im, jm = i < N, j < N
    mask, tile = im[:, None] & jm[None, :], i[:, None] * N + j[None, :]
    vectors, matrices = tl.cast(B, tl.int64) * N, tl.cast(B, tl.int64) * N * N
    now, before = tl.cast(t, tl.int64), tl.cast(t - 1, tl.int64)
    if READ:
        weight = tl.load(w + tile, mask=mask, other=0.0)
        plasticity = tl.load(alpha + tile, mask=mask, other=0.0)
        dalpha = tl.zeros((BI, BJ), dtype=tl.float32)
    for e in range(group * per, tl.minimum(group * per + per, B)):
        row, at = e * N, tl.cast(e, tl.int64) * N * N + tile
        old, old_second = _load_two(traces, seconds, slot_in * matrices + at, mask, SECOND)
        h = old
        if UPDATE:  # H_t, as the forward pass had it
            d, g, s = _vectors(decay, gain, sent, before * vectors + row + j, jm, SECOND)
            p = tl.load(pre + last * vectors + row + i, mask=im, other=0.0)[:, None]
            free, _ = _update(old, old_second, d[None, :], g[None, :], s[None, :], p, SECOND)
            h = _clipped(free, clip, CLIP)
        if ZERO:
            G = tl.zeros((BI, BJ), dtype=tl.float32)
            F = G
        else:
            G, F = _load_two(up, up_second, at, mask, SECOND)
        if READ:
            start = tl.load(starts + now * B + e) != 0
            h = tl.where(start, 0.0, h)
            read = tl.load(pre + m * vectors + row + i, mask=im, other=0.0)[:, None]
            sends = tl.load(du + m * vectors + row + j, mask=jm, other=0.0)[None, :]
            to_read = sends * (weight + plasticity * h)
            if LAST:
                d, g, s = _vectors(decay, gain, sent, now * vectors + row + j, jm, SECOND)
                to_read, G, F = _through_update(to_read, G, F, d[None, :], g[None, :], s[None, :], SECOND)
            tl.store(back_parts + jb * vectors + row + i, tl.sum(to_read, axis=1), mask=im)
            outer = read * sends
            dalpha += outer * h
            G = G + plasticity * outer
            if FRESH:
                G, F = tl.where(start, 0.0, G), tl.where(start, 0.0, F)
        if FRESH and UPDATE:
            if CLIP:
                G = tl.where(tl.abs(free) > clip, 0.0, G)
            part = ib * vectors + row + j
            _sum_up(G, F, old, old_second, p, gains, decays, sents, part, jm, SECOND)
        _store_two(up, up_second, at, G, F, mask, SECOND)
    if READ:
        out = alphas + tl.cast(group, tl.int64) * N * N + tile
        tl.store(out, tl.load(out, mask=mask, other=0.0) + dalpha, mask=mask)
