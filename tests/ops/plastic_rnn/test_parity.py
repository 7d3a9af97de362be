"""Every backend against the reference in float64: outputs, final state and every gradient."""

import pytest
import torch

from plastic_rl.ops.plastic_rnn import ACTIVATIONS, BACKENDS, RULES

ALPHAS = ("full", "homogeneous", "none")
ONE_TRACE = [name for name, definition in RULES.items() if not definition.eligibility]


def check(problem, backend, dtype, assert_same):
    expected = problem.run("reference", torch.float64)
    for name, value in expected.items():
        # A network at rest, or gradients that vanish, would test nothing.
        if value.numel() > 0:
            assert value.abs().max() > 2e-3, f"{name} of the reference is too small to test anything"
    assert_same(problem.run(backend, dtype), expected, dtype)


@pytest.mark.pairwise
@pytest.mark.parametrize("core_steps", [1, 2, 3])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("steps", "batch", "n"),
    [(1, 1, 1), (1, 2, 8), (2, 1, 7), (9, 1, 16), (13, 5, 9), (21, 3, 33), (40, 2, 50)],
)
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("rule", ONE_TRACE)
def test_parity(make_problem, assert_same, rule, alpha, steps, batch, n, backend, core_steps):
    # Small and large eta: the trace is undone step by step in the one case and rolled forward in the other.
    for eta in (0.08, 0.6):
        problem = make_problem(
            rule,
            alpha,
            steps=steps,
            batch=batch,
            n=n,
            eta=eta,
            resets=steps > 2,
            seed=3,
            core_steps=core_steps,
        )
        if n == 1 and core_steps > 1:  # or what it read would be forgotten within the step
            problem.leaves["w"].fill_(1.2)
            problem.leaves["x"] *= 0.3
        check(problem, backend, torch.float32, assert_same)


@pytest.mark.pairwise
@pytest.mark.parametrize("core_steps", [1, 2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("rule", ONE_TRACE)
def test_parity_of_activations_and_clamps(make_problem, assert_same, rule, alpha, activation, core_steps):
    for clamp in ("none", "partial"):
        problem = make_problem(
            rule, alpha, steps=10, n=11, activation=activation, clamp=clamp, core_steps=core_steps
        )
        problem.leaves["x"] *= 0.5
        check(problem, "numba", torch.float32, assert_same)


@pytest.mark.pairwise
@pytest.mark.parametrize("core_steps", [1, 2, 3])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("rule", ONE_TRACE)
def test_parity_when_every_neuron_is_clamped(make_problem, assert_same, rule, alpha, core_steps):
    problem = make_problem(rule, alpha, clamp="full", core_steps=core_steps)
    expected = problem.run("reference", torch.float64)
    result = problem.run("numba", torch.float32)
    assert_same(result, expected, torch.float32)
    for name in ("x", "w", *(["alpha"] if alpha != "none" else [])):
        assert not result[f"gradient of {name}"].any()
    if alpha != "none" and "eta" in RULES[rule].parameters:
        assert expected["gradient of eta"].abs() > 1e-2


@pytest.mark.pairwise
@pytest.mark.parametrize("core_steps", [1, 2])
@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("eta", [0.001, 0.01, 0.03, 0.1, 0.15, 0.3, 0.9])
@pytest.mark.parametrize("rule", [rule for rule in ONE_TRACE if "eta" in RULES[rule].parameters])
def test_parity_over_a_thousand_steps(make_problem, assert_same, rule, eta, resets, core_steps):
    problem = make_problem(
        rule, "full", steps=1000, batch=2, n=13, eta=eta, resets=resets, seed=2, core_steps=core_steps
    )
    if resets:
        problem.episode_starts &= torch.arange(1000)[:, None] % 100 == 37  # a few long episodes
        problem.episode_starts[500, 1] = True
    check(problem, "numba", torch.float32, assert_same)


@pytest.mark.pairwise
@pytest.mark.parametrize("core_steps", [1, 2])
@pytest.mark.parametrize("alpha", ["full", "homogeneous"])
def test_parity_of_the_clipped_rule_over_a_thousand_steps(make_problem, assert_same, alpha, core_steps):
    problem = make_problem("modulated", alpha, steps=1000, batch=2, n=13, resets=False, core_steps=core_steps)
    problem.leaves["fan_out"] *= 2
    expected = problem.run("reference", torch.float64)
    clipped = (expected["final trace"].abs() == 0.4).double().mean()
    assert 0.05 < clipped < 0.95, "the clip must be active on a part of the trace"
    check(problem, "numba", torch.float32, assert_same)


@pytest.mark.parametrize("core_steps", [1, 2])
@pytest.mark.parametrize("eta", [0.02, 0.4])
def test_parity_where_clamp_values_are_large(make_problem, assert_same, eta, core_steps):
    """Oja's decay 1 - eta y^2 goes below 0 there and cannot be undone."""
    problem = make_problem("oja", steps=10, eta=eta, clamp="partial", resets=False, core_steps=core_steps)
    values, _ = problem.clamp
    values[2:4] = 1 / eta**0.5  # decay exactly or nearly 0
    check(problem, "numba", torch.float32, assert_same)


@pytest.mark.parametrize("wanted", ["x", "w", "alpha", "eta", "hidden", "trace"])
def test_gradient_of_one_tensor_alone(make_problem, wanted):
    """Leaves that ask for no gradient change nothing for the one that does."""
    problem = make_problem(steps=6)
    everything = problem.run("numba", torch.float32)
    problem.fresh_leaves = lambda dtype: {
        name: leaf.to(dtype).requires_grad_(name == wanted) for name, leaf in problem.leaves.items()
    }
    alone = problem.run("numba", torch.float32)
    gradients = [name for name in alone if name.startswith("gradient")]
    assert gradients == [f"gradient of {wanted}"]
    assert torch.equal(alone[gradients[0]], everything[gradients[0]])
