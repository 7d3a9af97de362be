"""A recording is the sequence: outputs, states and every gradient."""

import pytest
import torch

from plastic_rl.ops.plastic_rnn import (
    BACKENDS,
    RULES,
    PlasticState,
    Recording,
    plastic_rnn,
    plastic_rnn_replay,
)

ALPHAS = ("full", "homogeneous", "none")
ONE_TRACE = [name for name, definition in RULES.items() if not definition.eligibility]
parametrize_backends = pytest.mark.parametrize(
    ("backend", "dtype"),
    [(name, torch.float64 if name == "reference" else torch.float32) for name in BACKENDS],
)


def record(problem, backend, dtype, recording=None, steps=None):
    leaves = {name: leaf.to(dtype) for name, leaf in problem.leaves.items()}
    params = problem.params(leaves)
    state = PlasticState(leaves["hidden"], leaves["trace"])
    if recording is None:
        recording = Recording(len(leaves["x"]), params, state, backend)
    else:
        recording.reset(params, state)
    for t, x in enumerate(leaves["x"][:steps]):
        recording.step(x, problem.episode_starts[t], params)
    return recording


@pytest.mark.pairwise
@pytest.mark.parametrize("core_steps", [1, 2, 3])
@parametrize_backends
@pytest.mark.parametrize("eta", [0.1, 0.6])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("rule", ONE_TRACE)
def test_replay_is_the_sequence(
    make_problem, assert_same, collect, rule, alpha, eta, backend, dtype, core_steps
):
    problem = make_problem(rule, alpha, steps=40, eta=eta, core_steps=core_steps)
    other = make_problem(rule, alpha, steps=40, eta=eta, seed=1, core_steps=core_steps)
    # The buffers have served another rollout before.
    recording = record(problem, backend, dtype, recording=record(other, backend, dtype))
    leaves = problem.fresh_leaves(dtype)
    y, final = plastic_rnn_replay(leaves["x"], problem.params(leaves), recording)
    problem.send_back(y, final)
    result = collect(y, final, leaves)
    expected = problem.run(backend, dtype)
    for constant in ("gradient of hidden", "gradient of trace"):
        assert constant not in result
        del expected[constant]
    assert len(expected) >= 5
    assert_same(result, expected, dtype)
    assert torch.equal(recording.state.trace, result["final trace"])
    assert torch.equal(recording.initial_state.hidden, problem.leaves["hidden"].to(dtype))
    assert torch.equal(recording.initial_state.trace, problem.leaves["trace"].to(dtype))


@pytest.mark.pairwise
@pytest.mark.parametrize("core_steps", [1, 2])
@parametrize_backends
@pytest.mark.parametrize("alpha", ALPHAS)
def test_state_on_the_way(make_problem, assert_same, alpha, backend, dtype, core_steps):
    problem = make_problem("oja", alpha, steps=10, core_steps=core_steps)
    recording = record(problem, backend, dtype, steps=7)
    assert recording.length == 7
    assert recording.y[7:].isnan().all()
    leaves = {name: leaf.to(dtype) for name, leaf in problem.leaves.items()}
    state = PlasticState(leaves["hidden"], leaves["trace"])
    _, expected = plastic_rnn(
        leaves["x"][:7], problem.params(leaves), state, problem.episode_starts[:7], backend=backend
    )
    assert_same(recording.state._asdict(), expected._asdict(), dtype)
    first = recording.state
    recording.step(leaves["x"][7], problem.episode_starts[7], problem.params(leaves))
    assert_same(first._asdict(), expected._asdict(), dtype)


@pytest.mark.parametrize("core_steps", [1, 2])
@parametrize_backends
def test_a_recording_goes_on_where_it_ended(make_problem, assert_same, backend, dtype, core_steps):
    problem = make_problem(steps=20, core_steps=core_steps)
    leaves = {name: leaf.to(dtype) for name, leaf in problem.leaves.items()}
    params = problem.params(leaves)
    recording = Recording(10, params, PlasticState(leaves["hidden"], leaves["trace"]), backend)
    for t in range(20):
        if t == 10:
            recording.reset(params)
        recording.step(leaves["x"][t], problem.episode_starts[t].to(dtype), params)
    expected = problem.run(backend, dtype)
    assert_same({"y": recording.y}, {"y": expected["y"][10:]}, dtype)
    assert_same({"trace": recording.state.trace}, {"trace": expected["final trace"]}, dtype)


def test_misuse_is_refused(make_problem):
    problem = make_problem(steps=6)
    leaves = problem.fresh_leaves(torch.float32)
    params = problem.params(leaves)
    partial = record(problem, "numba", torch.float32, steps=5)
    with pytest.raises(ValueError, match="recording must be complete, got 5 of 6"):
        plastic_rnn_replay(leaves["x"], params, partial)
    full = record(problem, "numba", torch.float32)
    with pytest.raises(RuntimeError, match="full: 6 of 6"):
        full.step(leaves["x"][0].detach(), problem.episode_starts[0], params)
    with pytest.raises(ValueError, match="x must be"):
        plastic_rnn_replay(leaves["x"][:5], params, full)
    with pytest.raises(ValueError, match="x must be"):
        partial.step(leaves["x"][0].detach().double(), problem.episode_starts[0], params)
    with pytest.raises(ValueError, match="episode_start must be"):
        partial.step(leaves["x"][0].detach(), problem.episode_starts[0, :1], params)
    with pytest.raises(ValueError, match="n_steps must be an integer of at least 1, got 0"):
        Recording(0, params, full.state)
    with pytest.raises(ValueError, match=r"state\.hidden must be \(3, 9\), got \(2, 9\)"):
        full.reset(params, PlasticState(*(part[:2] for part in full.state)))
    y, _ = plastic_rnn_replay(leaves["x"], params, full)
    full.reset(params)
    with pytest.raises(RuntimeError, match="reset before the backward pass"):
        y.sum().backward()
