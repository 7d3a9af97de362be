"""What the operator promises beside the numbers: chaining, resets, the step form, threads, memory layouts."""

from typing import Any

import numpy as np
import pytest
import torch

from plastic_rl.ops.plastic_rnn import (
    BACKENDS,
    RULES,
    PlasticState,
    initial_state,
    plastic_rnn,
    plastic_rnn_step_,
)

ALPHAS = ("full", "homogeneous", "none")
ONE_TRACE = [name for name, definition in RULES.items() if not definition.eligibility]
parametrize_backends = pytest.mark.parametrize(
    ("backend", "dtype"),
    [(name, torch.float64 if name == "reference" else torch.float32) for name in BACKENDS],
)


@pytest.mark.pairwise
@pytest.mark.parametrize("core_steps", [1, 2])
@parametrize_backends
@pytest.mark.parametrize("eta", [0.1, 0.6])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("rule", ONE_TRACE)
def test_two_halves_are_the_whole(
    make_problem, assert_same, collect, rule, alpha, eta, backend, dtype, core_steps
):
    """f(T1 + T2) = f(T2) after f(T1), gradients included."""
    problem = make_problem(rule, alpha, steps=30, eta=eta, core_steps=core_steps)
    leaves = problem.fresh_leaves(dtype)
    state = PlasticState(leaves["hidden"], leaves["trace"])
    parts = []
    for half in (slice(0, 19), slice(19, 30)):
        y, state = plastic_rnn(
            leaves["x"][half], problem.params(leaves), state, problem.episode_starts[half], backend=backend
        )
        parts.append(y)
    y = torch.cat(parts)
    problem.send_back(y, state)
    assert_same(collect(y, state, leaves), problem.run(backend, dtype), dtype)


@pytest.mark.pairwise
@pytest.mark.parametrize("core_steps", [1, 2, 3])
@parametrize_backends
@pytest.mark.parametrize("eta", [0.1, 0.6])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("rule", ONE_TRACE)
def test_a_reset_separates_two_episodes(
    make_problem, assert_same, rule, alpha, eta, backend, dtype, core_steps
):
    problem = make_problem(rule, alpha, steps=30, eta=eta, resets=False, core_steps=core_steps)
    problem.episode_starts = torch.zeros(30, 3, dtype=torch.bool)
    problem.episode_starts[17] = True
    whole = problem.run(backend, dtype)

    leaves = problem.fresh_leaves(dtype)
    params = problem.params(leaves)
    first, _ = plastic_rnn(
        leaves["x"][:17], params, PlasticState(leaves["hidden"], leaves["trace"]), backend=backend
    )
    second, final = plastic_rnn(leaves["x"][17:], params, backend=backend)
    y = torch.cat((first, second))
    problem.send_back(y, final)
    separate = {"y": y.detach(), "final hidden": final.hidden.detach(), "final trace": final.trace.detach()}
    separate |= {f"gradient of {name}": leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
    if alpha == "none":  # its trace is empty, and nothing flows through it
        whole.pop("gradient of trace")
        separate.pop("gradient of trace", None)
    assert_same(whole, separate, dtype)


@parametrize_backends
def test_a_reset_at_the_first_step_forgets_the_incoming_state(make_problem, backend, dtype):
    problem = make_problem(resets=False)
    problem.episode_starts = torch.zeros(12, 3, dtype=torch.bool)
    problem.episode_starts[0] = True
    result = problem.run(backend, dtype)
    assert not result["gradient of hidden"].any()
    assert not result["gradient of trace"].any()


@pytest.mark.pairwise
@pytest.mark.parametrize("core_steps", [1, 2, 3])
@parametrize_backends
@pytest.mark.parametrize("clamp", ["none", "partial"])
@pytest.mark.parametrize("n", [1, 8, 13, 33])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("rule", ONE_TRACE)
def test_steps_are_the_sequence(make_problem, assert_same, rule, alpha, n, clamp, backend, dtype, core_steps):
    problem = make_problem(rule, alpha, n=n, clamp=clamp, core_steps=core_steps)
    expected = problem.run(backend, dtype)
    leaves = {name: leaf.to(dtype, copy=True) for name, leaf in problem.leaves.items()}
    params = problem.params(leaves)
    state = PlasticState(leaves["hidden"], leaves["trace"])
    clamps = problem.cast_clamp(dtype)
    outputs = [
        plastic_rnn_step_(
            x,
            params,
            state,
            problem.episode_starts[t],
            clamp=None if clamps is None else (clamps[0][t], clamps[1][t]),
            backend=backend,
        )
        for t, x in enumerate(leaves["x"])
    ]
    result = {"y": torch.stack(outputs), "final hidden": state.hidden, "final trace": state.trace}
    assert_same(result, {name: expected[name] for name in result}, dtype)


@parametrize_backends
def test_a_step_returns_memory_of_its_own(make_problem, backend, dtype):
    problem = make_problem()
    leaves = {name: leaf.to(dtype) for name, leaf in problem.leaves.items()}
    params = problem.params(leaves)
    state = initial_state(params, 3)
    y = plastic_rnn_step_(leaves["x"][0], params, state, backend=backend)
    kept = y.clone()
    plastic_rnn_step_(leaves["x"][1], params, state, backend=backend)
    assert torch.equal(y, kept)
    assert not y.requires_grad


@parametrize_backends
def test_a_step_overwrites_a_state_that_is_not_contiguous(make_problem, assert_same, backend, dtype):
    problem = make_problem(n=5)
    leaves = {name: leaf.to(dtype) for name, leaf in problem.leaves.items()}
    params = problem.params(leaves)
    state = PlasticState(leaves["hidden"].clone(), leaves["trace"].clone())
    strided = PlasticState(
        leaves["hidden"].t().contiguous().t(), leaves["trace"].transpose(1, 2).contiguous().transpose(1, 2)
    )
    assert not strided.trace.is_contiguous()
    y = plastic_rnn_step_(leaves["x"][0], params, state, backend=backend)
    assert torch.equal(plastic_rnn_step_(leaves["x"][0], params, strided, backend=backend), y)
    assert torch.equal(strided.hidden, state.hidden)
    assert torch.equal(strided.trace, state.trace)


@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_a_graph_notices_a_step_on_its_state(make_problem, cell):
    """A step overwrites what a backward pass still needs: an error, not a wrong number."""
    problem = make_problem(cell=cell)
    leaves = problem.fresh_leaves(torch.float32)
    params = problem.params(leaves)
    y, state = plastic_rnn(leaves["x"], params, backend="numba")
    loss = y.sum() + state.hidden.pow(2).sum()
    plastic_rnn_step_(leaves["x"][0].detach(), params, state.detach(), backend="numba")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@parametrize_backends
@pytest.mark.parametrize("alpha", ALPHAS)
def test_memory_layout_does_not_matter(make_problem, assert_same, collect, alpha, backend, dtype):
    problem = make_problem("modulated", alpha, clamp="partial")
    leaves = problem.fresh_leaves(dtype)

    def turned(tensor: torch.Tensor) -> torch.Tensor:
        """The same numbers, with the first and the last dimension the wrong way round in memory."""
        result = tensor.transpose(0, -1).contiguous().transpose(0, -1)
        assert tensor.numel() == 0 or not result.is_contiguous()
        return result

    views = {name: turned(leaf) if leaf.dim() > 1 else leaf for name, leaf in leaves.items()}
    clamp = tuple(turned(part) for part in problem.cast_clamp(dtype))
    state = PlasticState(views["hidden"], views["trace"])
    y, final = plastic_rnn(
        views["x"], problem.params(views), state, turned(problem.episode_starts), clamp=clamp, backend=backend
    )
    problem.send_back(y, final)
    assert_same(collect(y, final, leaves), problem.run(backend, dtype), dtype)


@parametrize_backends
@pytest.mark.parametrize("kind", [torch.bool, torch.float32, torch.uint8])
def test_episode_starts_may_be_numbers(make_problem, backend, dtype, kind):
    problem = make_problem()
    expected = problem.run(backend, dtype)
    problem.episode_starts = problem.episode_starts.to(kind)
    assert torch.equal(problem.run(backend, dtype)["y"], expected["y"])


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("rule", ONE_TRACE)
def test_threads_change_nothing_but_rounding(make_problem, assert_same, monkeypatch, rule, alpha):
    """And with the same number of threads every bit is the same."""
    memory = pytest.importorskip("plastic_rl.ops.plastic_rnn.numba.memory")
    monkeypatch.setattr(memory, "MIN_WORK", 1)
    problem = make_problem(rule, alpha, steps=30, batch=7)
    results: dict[int, dict[str, torch.Tensor]] = {}
    for threads in (1, 2, 3, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        result = problem.run("numba", torch.float32)
        if threads in results:
            for name, value in result.items():
                assert torch.equal(value, results[threads][name]), name
        results[threads] = result
    for threads in (2, 3):
        assert_same(results[threads], results[1], torch.float32)
        for name in ("y", "final trace", "gradient of x", "gradient of trace"):
            assert torch.equal(results[threads][name], results[1][name]), name


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("rule", ONE_TRACE)
def test_no_number_comes_from_fresh_memory(make_problem, monkeypatch, rule, alpha):
    """Everything that is allocated and not zeroed is filled with NaN: none may come through."""
    memory = pytest.importorskip("plastic_rl.ops.plastic_rnn.numba.memory")
    empty, staggered, torch_empty = np.empty, memory.staggered, torch.empty

    def poisoned(result: np.ndarray) -> np.ndarray:
        if result.dtype == np.float32:
            result.fill(np.nan)
        return result

    def poisoned_tensor(*args: Any, **kwargs: Any) -> torch.Tensor:
        result = torch_empty(*args, **kwargs)
        return result.fill_(torch.nan) if result.is_floating_point() else result

    monkeypatch.setattr(memory.np, "empty", lambda *args, **kwargs: poisoned(empty(*args, **kwargs)))
    monkeypatch.setattr(memory, "staggered", lambda *args: poisoned(staggered(*args)))
    monkeypatch.setattr(memory.torch, "empty", poisoned_tensor)
    for eta, clamp in ((0.1, "none"), (0.6, "none"), (0.1, "full"), (0.6, "full")):
        result = make_problem(rule, alpha, steps=30, n=11, eta=eta, clamp=clamp).run("numba", torch.float32)
        for name, value in result.items():
            assert value.isfinite().all(), name


def test_a_diverged_network_shows(make_problem):
    """Infinities and NaN that arise inside come out and are not clipped away."""
    problem = make_problem(activation="linear", steps=200, resets=False)
    problem.leaves["w"] *= 100
    for backend in ("numba", "reference"):
        assert not problem.run(backend, torch.float32)["y"].isfinite().all()
