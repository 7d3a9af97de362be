"""Single steps on a state that belongs to the caller, whose matrices are row-major.

This module imports numba: it is imported only when the backend is used.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

from plastic_rl.ops.plastic_rnn.numba.simd import LANES, clip, inner, load, splat, store


@inner
def read_out_rows(w, alpha, plasticity, trace, now, pre):
    """Add y (w + alpha H) to ``pre``, one row after the other. trace is empty for a plain network."""
    columns = w.shape[1]
    whole = columns // LANES * LANES
    full = alpha.size > 0
    for i in range(now.size):
        if trace.size == 0:
            for j in range(0, whole, LANES):
                store(pre, j, load(pre, j) + load(w[i], j) * now[i])
            for j in range(whole, columns):
                pre[j] += w[i, j] * now[i]
        elif full:
            for j in range(0, whole, LANES):
                weight = load(w[i], j) + load(alpha[i], j) * load(trace[i], j)
                store(pre, j, load(pre, j) + weight * now[i])
            for j in range(whole, columns):
                pre[j] += (w[i, j] + alpha[i, j] * trace[i, j]) * now[i]
        else:
            for j in range(0, whole, LANES):
                weight = load(w[i], j) + plasticity * load(trace[i], j)
                store(pre, j, load(pre, j) + weight * now[i])
            for j in range(whole, columns):
                pre[j] += (w[i, j] + plasticity * trace[i, j]) * now[i]


@inner
def update_rows(trace, bound, decay, gain, now):
    """H <- clip(d H + g y_now), in place."""
    n = trace.shape[0]
    whole = n // LANES * LANES
    limit = splat(bound)
    for i in range(n):
        for j in range(0, whole, LANES):
            store(trace[i], j, clip(load(decay, j) * load(trace[i], j) + load(gain, j) * now[i], limit))
        for j in range(whole, n):
            h = decay[j] * trace[i, j] + gain[j] * now[i]
            trace[i, j] = bound if h > bound else -bound if h < -bound else h
