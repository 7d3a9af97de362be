"""The reference is the definition: held against the equations element by element, and gradcheck."""

import math

import pytest
import torch

from plastic_rl.ops.plastic_rnn import CELLS, RULES, plastic_rnn

ALPHAS = ("full", "homogeneous", "none")


def updated(rule, p, h, pre, post, signal, j):
    """One element of the trace, to neuron j, after a step."""
    if rule == "hebb":
        return (1 - p["eta"]) * h + p["eta"] * pre * post
    if rule == "oja":
        return h + p["eta"] * post * (pre - post * h)
    return max(-0.4, min(0.4, h + p["fan_out"][j] * signal * pre * post))


@pytest.mark.pairwise
@pytest.mark.parametrize("core_steps", [1, 2, 3])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("rule", ["hebb", "oja", "modulated"])
def test_reference_is_the_equations_element_by_element(make_problem, rule, alpha, core_steps):
    problem = make_problem(rule, alpha, steps=5, batch=2, n=3, clamp="partial", core_steps=core_steps)
    result = problem.run("reference", torch.float64)
    p = {name: leaf.tolist() for name, leaf in problem.leaves.items()}
    values, mask = (part.tolist() for part in problem.clamp)
    steps, batch, n = problem.leaves["x"].shape
    for b in range(batch):
        y = p["hidden"][b]
        trace = p["trace"][b] if alpha != "none" else [[0.0] * n for _ in range(n)]
        for t in range(steps):
            if problem.episode_starts[t, b]:
                y = [0.0] * n
                trace = [[0.0] * n for _ in range(n)]
            for _ in range(core_steps):
                before, y = y, []
                for j in range(n):
                    total = p["x"][t][b][j]
                    for i in range(n):
                        strength = p["w"][i][j]
                        if alpha == "full":
                            strength += p["alpha"][i][j] * trace[i][j]
                        elif alpha == "homogeneous":
                            strength += p["alpha"] * trace[i][j]
                        total += before[i] * strength
                    y.append(values[t][b][j] if mask[t][b][j] else math.tanh(total))
            if alpha != "none":
                signal = 0.0
                if rule == "modulated":
                    signal = math.tanh(p["b_m"] + sum(y[j] * p["w_m"][j] for j in range(n)))
                trace = [
                    [updated(rule, p, trace[i][j], before[i], y[j], signal, j) for j in range(n)]
                    for i in range(n)
                ]
            torch.testing.assert_close(result["y"][t, b], torch.tensor(y, dtype=torch.float64))
        if alpha != "none":
            torch.testing.assert_close(result["final trace"][b], torch.tensor(trace, dtype=torch.float64))


@pytest.mark.pairwise
@pytest.mark.parametrize("core_steps", [1, 2, 3])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("cell", CELLS)
def test_reference_gradcheck(make_problem, cell, rule, alpha, core_steps):
    n = 3 if cell == "rnn" else 2
    problem = make_problem(
        rule, alpha, cell=cell, steps=4, batch=2, n=n, clamp="partial", core_steps=core_steps
    )
    names = list(problem.leaves)

    def run(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        leaves = dict(zip(names, tensors, strict=True))
        y, final = plastic_rnn(
            leaves["x"],
            problem.params(leaves),
            problem.state(leaves),
            problem.episode_starts,
            clamp=problem.clamp,
        )
        return (y, *(part for part in final if part.numel() > 0))

    assert torch.autograd.gradcheck(run, tuple(problem.fresh_leaves(torch.float64).values()))


def test_clamp_values_are_constants(make_problem):
    problem = make_problem(clamp="partial")
    values = problem.clamp[0].float().requires_grad_()
    for backend in ("reference", "numba"):
        leaves = problem.fresh_leaves(torch.float32)
        y, _ = plastic_rnn(
            leaves["x"], problem.params(leaves), clamp=(values, problem.clamp[1]), backend=backend
        )
        y.sum().backward()
        assert values.grad is None
        assert torch.equal(y[problem.clamp[1]], values.detach()[problem.clamp[1]])
