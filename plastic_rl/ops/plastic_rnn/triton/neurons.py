"""The kernels over everything of size N: cells, activations, clamps and the vectors of the rules.

A program has one environment. The equations are those of ``cells.py`` and ``rules.py``, whose codes choose
among them. This module imports triton: it is imported only when the backend is used.
"""

import triton
import triton.language as tl

ROWS = ("B", "t", "m", "x_row", "hidden_row", "turn", "parts_j", "parts_i")


@triton.jit
def _tanh(x):
    """To within rounding, also where 1 - exp(-2 |x|) would lose digits."""
    t = tl.exp(-2.0 * tl.abs(x))
    large = (1.0 - t) / (1.0 + t)
    square = x * x
    small = x * (1.0 + square * (-1.0 / 3.0 + square * (2.0 / 15.0 - square * (17.0 / 315.0))))
    return tl.where(tl.abs(x) < 0.1, small, tl.where(x < 0, -large, large))


@triton.jit
def _logistic(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def _activate(x, ACT: tl.constexpr):
    if ACT == 0:
        x = _tanh(x)
    elif ACT == 1:
        x = _logistic(x)
    elif ACT == 2:
        x = tl.where(x < 0, 0.0, x)
    return x


@triton.jit
def _slope(y, ACT: tl.constexpr):
    """The activation's derivative, from its value."""
    if ACT == 0:
        s = 1.0 - y * y
    elif ACT == 1:
        s = y * (1.0 - y)
    elif ACT == 2:
        s = tl.where(y > 0, 1.0, 0.0)
    else:
        s = y * 0.0 + 1.0
    return s


@triton.jit
def _memory(cells, starts, at, scalar, mask, FRESH: tl.constexpr):
    """The cell state before an inner step, zero where an episode starts with it."""
    c = tl.load(cells + at, mask=mask, other=0.0)
    if FRESH:
        c = tl.where(tl.load(starts + scalar) != 0, 0.0, c)
    return c


@triton.jit
def _gru(x, u, products, pre, gates, inner, at, drive, gate, n, mask, b_u, N, ACT: tl.constexpr):
    """The candidate and h'. at: in (M, B, N); drive, gate: where its parts begin."""
    r = _logistic(tl.load(x + drive + n, mask=mask, other=0.0) + tl.load(products + n, mask=mask, other=0.0))
    z = tl.load(x + drive + N + n, mask=mask, other=0.0) + tl.load(products + N + n, mask=mask, other=0.0)
    z = _logistic(z)
    u += tl.load(b_u + n, mask=mask, other=0.0)
    y = _activate(tl.load(x + drive + 2 * N + n, mask=mask, other=0.0) + r * u, ACT)
    tl.store(gates + gate + n, r, mask=mask)
    tl.store(gates + gate + N + n, z, mask=mask)
    tl.store(inner + at, u, mask=mask)
    return y, z * tl.load(pre + at, mask=mask, other=0.0) + (1.0 - z) * y


@triton.jit
def _lstm(x, u, products, c, gates, drive, gate, n, mask, N, ACT: tl.constexpr):
    """The candidate, h' and c'."""
    i = _logistic(tl.load(x + drive + n, mask=mask, other=0.0) + tl.load(products + n, mask=mask, other=0.0))
    f = tl.load(x + drive + N + n, mask=mask, other=0.0) + tl.load(products + N + n, mask=mask, other=0.0)
    f = _logistic(f)
    y = _activate(tl.load(x + drive + 2 * N + n, mask=mask, other=0.0) + u, ACT)
    o = tl.load(x + drive + 3 * N + n, mask=mask, other=0.0)
    o = _logistic(o + tl.load(products + 2 * N + n, mask=mask, other=0.0))
    c = f * c + i * y
    tl.store(gates + gate + n, i, mask=mask)
    tl.store(gates + gate + N + n, f, mask=mask)
    tl.store(gates + gate + 2 * N + n, o, mask=mask)
    return y, o * _tanh(c), c


@triton.jit
def _learn(
    y, h, eta, w_m, b_m, fan_out, decay, gain, sent, at, n, mask, RULE: tl.constexpr, NP: tl.constexpr
):
    """The vectors of the update."""
    if RULE == 2 or RULE == 3:
        v = _tanh(tl.sum(h * tl.load(w_m + n, mask=mask, other=0.0), axis=0) + tl.load(b_m))
        modulation = tl.load(fan_out + n, mask=mask, other=0.0) * v
    d = tl.full((NP,), 1.0, dtype=tl.float32)
    if RULE == 2:
        g = modulation * y
    else:
        rate = tl.load(eta)
        g = rate * y
        if RULE == 1:
            d -= g * y
        else:
            d -= rate
    tl.store(decay + at, d, mask=mask)
    tl.store(gain + at, g, mask=mask)
    if RULE == 3:
        tl.store(sent + at, modulation, mask=mask)


@triton.jit(do_not_specialize=ROWS)
def fire(
    x, x_row, u, products, pre, cells, posts, hidden, hidden_row, gates, inner, values, masks, starts, eta,
    w_m, b_m, fan_out, b_u, decay, gain, sent, t, m, B, N,
    CELL: tl.constexpr, ACT: tl.constexpr, RULE: tl.constexpr, CLAMPED: tl.constexpr, FRESH: tl.constexpr,
    NP: tl.constexpr,
):  # fmt: skip
    """Inner step m: from the read-out u (B, N) to the hidden state, and to the vectors of the update at t.

    x: (rows, B, G N), the drive; products: (B, K N), of the gates; pre: (M, B, N), what the step has read
    cells: (M + 1, B, N), of an lstm, row m from before
    posts, inner: (M, B, N), gates: (M, B, K N): what the way back needs of gated cells
    hidden: (rows, B, N), written; decay, gain, sent: (T, B, N), written where there is a RULE, not -1
    """
    e = tl.program_id(0)
    n = tl.arange(0, NP)
    mask = n < N
    vectors = tl.cast(B, tl.int64) * N
    step, at = tl.cast(t, tl.int64) * vectors + e * N + n, tl.cast(m, tl.int64) * vectors + e * N + n
    read = tl.load(u + e * N + n, mask=mask, other=0.0)
    drive, gate = tl.cast(x_row, tl.int64) * B + e, tl.cast(m, tl.int64) * B + e
    if CELL == 0:
        y = _activate(tl.load(x + drive * N + n, mask=mask, other=0.0) + read, ACT)
        h = y
    else:
        if CELL == 1:
            gate *= 2 * N
            product = products + e * 2 * N
            y, h = _gru(x, read, product, pre, gates, inner, at, drive * 3 * N, gate, n, mask, b_u, N, ACT)
        else:
            c = _memory(cells, starts, at, tl.cast(t, tl.int64) * B + e, mask, FRESH)
            gate *= 3 * N
            product = products + e * 3 * N
            y, h, c = _lstm(x, read, product, c, gates, drive * 4 * N, gate, n, mask, N, ACT)
            tl.store(cells + vectors + at, c, mask=mask)
        tl.store(posts + at, y, mask=mask)
    if CLAMPED:
        held = tl.load(masks + step, mask=mask, other=0) != 0
        h = tl.where(held, tl.load(values + step, mask=mask, other=0.0), h)
        if CELL == 0:
            y = h
    tl.store(hidden + hidden_row * vectors + e * N + n, h, mask=mask)
    if RULE >= 0:
        _learn(y, h, eta, w_m, b_m, fan_out, decay, gain, sent, step, n, mask, RULE, NP)


@triton.jit
def _sum_of(parts, count, stride, at, mask, NP: tl.constexpr):
    total = tl.zeros((NP,), dtype=tl.float32)
    for k in range(count):
        total += tl.load(parts + k * stride + at, mask=mask, other=0.0)
    return total


@triton.jit
def _learn_back(
    y, h, gains, decays, sents, count, stride, at, eta, w_m, b_m, fan_out, n, mask,
    RULE: tl.constexpr, NP: tl.constexpr,
):  # fmt: skip
    """What the rule sends to the candidate, to h', to eta, to the modulating neuron and to fan_out."""
    dg, dd = _sum_of(gains, count, stride, at, mask, NP), _sum_of(decays, count, stride, at, mask, NP)
    nothing = tl.zeros((NP,), dtype=tl.float32)
    to_y, to_h, to_eta, to_neuron, to_fan = nothing, nothing, 0.0, 0.0, nothing
    if RULE == 2 or RULE == 3:
        weight = tl.load(w_m + n, mask=mask, other=0.0)
        fan = tl.load(fan_out + n, mask=mask, other=0.0)
        v = _tanh(tl.sum(h * weight, axis=0) + tl.load(b_m))
        if RULE == 2:
            to_y = fan * v * dg
            to_fan = dg * y
        else:
            to_fan = _sum_of(sents, count, stride, at, mask, NP)
        to_neuron = (1.0 - v * v) * tl.sum(to_fan * fan, axis=0)
        to_fan *= v
        to_h = to_neuron * weight
    if RULE != 2:
        rate = tl.load(eta)
        to_y = rate * dg
        if RULE == 1:
            to_y -= 2.0 * rate * y * dd
            dd *= y * y
        to_eta = tl.sum(dg * y - dd, axis=0)
    return to_y, to_h, to_eta, to_neuron, to_fan


@triton.jit
def _gru_back(dh, dpost, y, pre, gates, inner, dx, dgates, at, row, n, mask, N, ACT: tl.constexpr):
    """The gradient of the read-out, and of h past the read-out and the gates."""
    r = tl.load(gates + row * 2 * N + n, mask=mask, other=0.0)
    z = tl.load(gates + row * 2 * N + N + n, mask=mask, other=0.0)
    dz = dh * (tl.load(pre + at, mask=mask, other=0.0) - y) * z * (1.0 - z)
    dn = _slope(y, ACT) * (dpost + (1.0 - z) * dh)
    dr = dn * tl.load(inner + at, mask=mask, other=0.0) * r * (1.0 - r)
    tl.store(dx + row * 3 * N + n, dr, mask=mask)
    tl.store(dx + row * 3 * N + N + n, dz, mask=mask)
    tl.store(dx + row * 3 * N + 2 * N + n, dn, mask=mask)
    tl.store(dgates + row * 2 * N + n, dr, mask=mask)
    tl.store(dgates + row * 2 * N + N + n, dz, mask=mask)
    return dn * r, z * dh


@triton.jit
def _lstm_back(dh, dc, dpost, y, before, after, gates, dx, dgates, row, n, mask, N, ACT: tl.constexpr):
    """The gradients of the read-out and of c; before, after: c and c'."""
    i = tl.load(gates + row * 3 * N + n, mask=mask, other=0.0)
    f = tl.load(gates + row * 3 * N + N + n, mask=mask, other=0.0)
    o = tl.load(gates + row * 3 * N + 2 * N + n, mask=mask, other=0.0)
    squashed = _tanh(after)
    dc += dh * o * (1.0 - squashed * squashed)
    do = dh * squashed * o * (1.0 - o)
    di = dc * y * i * (1.0 - i)
    df = dc * before * f * (1.0 - f)
    dn = _slope(y, ACT) * (dpost + dc * i)
    tl.store(dx + row * 4 * N + n, di, mask=mask)
    tl.store(dx + row * 4 * N + N + n, df, mask=mask)
    tl.store(dx + row * 4 * N + 2 * N + n, dn, mask=mask)
    tl.store(dx + row * 4 * N + 3 * N + n, do, mask=mask)
    tl.store(dgates + row * 3 * N + n, di, mask=mask)
    tl.store(dgates + row * 3 * N + N + n, df, mask=mask)
    tl.store(dgates + row * 3 * N + 2 * N + n, do, mask=mask)
    return dn, dc * f


@triton.jit(do_not_specialize=ROWS)
def fire_back(
    dy, back_parts, parts_j, direct, dcell, turn, gains, decays, sents, parts_i, pre, cells, posts,
    hidden, hidden_row, gates, inner, masks, starts, eta, w_m, b_m, fan_out, du, dx, dgates, deta, signal,
    dfan, t, m, B, N,
    CELL: tl.constexpr, ACT: tl.constexpr, RULE: tl.constexpr, CLAMPED: tl.constexpr, FRESH: tl.constexpr,
    LAST: tl.constexpr, CARRIED: tl.constexpr, SUMS: tl.constexpr, NP: tl.constexpr,
):  # fmt: skip
    """The way back through inner step m, the first of step t where FRESH and the last where LAST.

    dy: (T, B, N), of the output
    back_parts: (parts_j, B, N), what inner step m + 1 sends to this one's hidden state through the read-out
        and the gates' products, read only where CARRIED
    direct, dcell: (2, B, N), what it sends to it through the cell, and to c; at the last inner step of all
        the final state's gradients. Row ``turn`` is read, the other written, as threads do not wait
    gains, decays, sents: (parts_i, B, N), of the update of step t, where there are SUMS
    du: (M, B, N), dx: (M, B, G N), dgates: (M, B, K N), written; of the tanh cell du alone
    deta, signal: (T, B), dfan: (T, B, N), written where LAST; signal is sent to the modulating neuron
    """
    e = tl.program_id(0)
    n = tl.arange(0, NP)
    mask = n < N
    vectors = tl.cast(B, tl.int64) * N
    own = e * N + n
    step, at = tl.cast(t, tl.int64) * vectors + own, tl.cast(m, tl.int64) * vectors + own
    scalar, row = tl.cast(t, tl.int64) * B + e, tl.cast(m, tl.int64) * B + e
    h = tl.load(hidden + hidden_row * vectors + own, mask=mask, other=0.0)
    came, goes = turn * vectors + own, (1 - turn) * vectors + own
    dh = tl.load(direct + came, mask=mask, other=0.0)
    dc, y = dh, h
    if CELL == 2:
        dc = tl.load(dcell + came, mask=mask, other=0.0)
    if CELL > 0:
        y = tl.load(posts + at, mask=mask, other=0.0)
    if CARRIED:
        dh += _sum_of(back_parts, parts_j, vectors, own, mask, NP)
        if LAST:
            ended = tl.load(starts + scalar + B) != 0
            dh, dc = tl.where(ended, 0.0, dh), tl.where(ended, 0.0, dc)
    dpost = tl.zeros((NP,), dtype=tl.float32)
    if LAST:
        dh += tl.load(dy + step, mask=mask, other=0.0)
        if RULE >= 0:
            to_eta, to_neuron, to_fan = 0.0, 0.0, dpost
            if SUMS:
                dpost, to_h, to_eta, to_neuron, to_fan = _learn_back(
                    y,
                    h,
                    gains,
                    decays,
                    sents,
                    parts_i,
                    vectors,
                    own,
                    eta,
                    w_m,
                    b_m,
                    fan_out,
                    n,
                    mask,
                    RULE,
                    NP,
                )
                dh += to_h
            tl.store(deta + scalar, to_eta)
            tl.store(signal + scalar, to_neuron)
            tl.store(dfan + step, to_fan, mask=mask)
    if CELL == 0:
        dh += dpost
    if CLAMPED:
        dh = tl.where(tl.load(masks + step, mask=mask, other=0) != 0, 0.0, dh)
    past = tl.zeros((NP,), dtype=tl.float32)
    if CELL == 0:
        dread = _slope(h, ACT) * dh
    elif CELL == 1:
        dread, past = _gru_back(dh, dpost, y, pre, gates, inner, dx, dgates, at, row, n, mask, N, ACT)
    else:
        before = _memory(cells, starts, at, scalar, mask, FRESH)
        after = tl.load(cells + vectors + at, mask=mask, other=0.0)
        dread, dc = _lstm_back(dh, dc, dpost, y, before, after, gates, dx, dgates, row, n, mask, N, ACT)
        tl.store(dcell + goes, dc, mask=mask)
    tl.store(du + at, dread, mask=mask)
    tl.store(direct + goes, past, mask=mask)
