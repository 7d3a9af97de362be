"""The triton kernels against the reference: in Triton's interpreter (see `test_interpreter`), or on a GPU."""

import os

import pytest
import torch

from plastic_rl.ops.plastic_rnn import (
    BACKENDS,
    PlasticState,
    Recording,
    library,
    plastic_rnn,
    plastic_rnn_replay,
    plastic_rnn_step_,
)

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = pytest.mark.skipif(
    not (INTERPRETED or torch.cuda.is_available()), reason="in the interpreter: test_interpreter.py"
)
FLOAT = torch.float32
DEVICE = "cpu" if INTERPRETED else "cuda"


@pytest.fixture(autouse=True)
def small_blocks_and_fresh_memory(monkeypatch):
    """Several blocks in every direction, and NaN in all memory that was not written."""
    memory = pytest.importorskip("plastic_rl.ops.plastic_rnn.triton.memory")
    for name, environments in (("FORWARD", 2), ("UPDATE", 1), ("BACK", 2)):
        monkeypatch.setattr(memory, name, memory.Blocks(environments, 4, 8, 4))
    new_empty, empty_like = torch.Tensor.new_empty, torch.empty_like

    def poisoned(tensor):
        return tensor.fill_(torch.nan) if tensor.is_floating_point() else tensor

    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *args, **kw: poisoned(new_empty(*args, **kw)))
    monkeypatch.setattr(torch, "empty_like", lambda *args, **kw: poisoned(empty_like(*args, **kw)))


@pytest.fixture(name="make_problem")
def make_problem_where_the_kernels_run(make_problem):
    return lambda *args, **kwargs: make_problem(*args, **kwargs).moved(DEVICE)


@pytest.fixture(name="spacing")
def spacing_fixture(monkeypatch):
    return lambda k: monkeypatch.setattr(BACKENDS["triton"], "trace_spacing", k)


@pytest.mark.parametrize(
    ("cell", "rule", "alpha", "activation", "clamp", "core_steps", "every"),
    [
        ("rnn", "hebb", "full", "tanh", "none", 1, None),
        ("rnn", "hebb", "homogeneous", "relu", "partial", 2, 2),
        ("rnn", "oja", "full", "linear", "partial", 1, 3),
        ("rnn", "oja", "homogeneous", "sigmoid", "none", 2, None),
        ("rnn", "modulated", "full", "sigmoid", "partial", 1, 4),
        ("rnn", "modulated", "full", "tanh", "none", 2, None),
        ("rnn", "retroactive", "full", "tanh", "partial", 1, None),
        ("rnn", "retroactive", "homogeneous", "relu", "none", 2, 2),
        ("rnn", "hebb", "none", "tanh", "partial", 2, None),
        ("gru", "hebb", "full", "tanh", "partial", 1, 2),
        ("gru", "oja", "homogeneous", "sigmoid", "none", 2, None),
        ("gru", "modulated", "full", "tanh", "partial", 2, None),
        ("gru", "retroactive", "full", "relu", "none", 1, 3),
        ("gru", "hebb", "none", "tanh", "partial", 2, None),
        ("lstm", "hebb", "homogeneous", "linear", "none", 2, 2),
        ("lstm", "oja", "full", "tanh", "partial", 1, None),
        ("lstm", "modulated", "full", "sigmoid", "none", 1, 3),
        ("lstm", "retroactive", "full", "tanh", "partial", 2, None),
        ("lstm", "hebb", "none", "relu", "partial", 1, None),
    ],
)
def test_parity(make_problem, assert_same, spacing, cell, rule, alpha, activation, clamp, core_steps, every):
    problem = make_problem(
        rule, alpha, cell=cell, steps=5, n=9, activation=activation, clamp=clamp, core_steps=core_steps
    )
    problem.episode_starts[2, 1] = problem.episode_starts[1, 2] = True
    problem.leaves["x"] *= 0.5
    spacing(every)
    expected = problem.run("reference", torch.float64)
    for name, value in expected.items():
        assert value.numel() == 0 or value.abs().max() > 1e-3, f"{name} is too small to test anything"
    assert_same(problem.run("triton", FLOAT), expected, FLOAT)


@pytest.mark.parametrize("rule", ["hebb", "retroactive"])
def test_parity_of_odd_sizes(make_problem, assert_same, rule):
    for steps, batch, n in ((1, 1, 1), (1, 2, 8), (2, 1, 5), (3, 5, 3)):
        problem = make_problem(rule, steps=steps, batch=batch, n=n, resets=False, eta=0.6)
        expected = problem.run("reference", torch.float64)
        assert_same(problem.run("triton", FLOAT), expected, FLOAT)


def test_the_clip_and_its_gradient(make_problem, assert_same):
    problem = make_problem("modulated", steps=6, n=5, resets=False)
    problem.leaves["fan_out"] *= 4
    expected = problem.run("reference", torch.float64)
    clipped = (expected["final trace"].abs() == 0.4).double().mean()
    assert 0.05 < clipped < 0.95, "the clip must be active on a part of the trace"
    assert_same(problem.run("triton", FLOAT), expected, FLOAT)


@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_repeated_steps(make_problem, assert_same, cell):
    problem = make_problem("oja", cell=cell, steps=4, n=5, clamp="full")
    problem.clamp[1][[1, 3]] = False
    problem.repeats = torch.tensor([2, 1, 3, 1], device=DEVICE)
    problem.episode_starts[2, 0] = True
    assert_same(problem.run("triton", FLOAT), problem.run("reference", torch.float64), FLOAT)


@pytest.mark.parametrize(
    ("cell", "rule", "alpha", "core_steps", "every"),
    [
        ("rnn", "hebb", "full", 1, None),
        ("rnn", "modulated", "homogeneous", 2, 2),
        ("gru", "oja", "full", 2, None),
        ("lstm", "retroactive", "full", 1, 2),
        ("lstm", "hebb", "none", 1, None),
    ],
)
def test_steps_and_recordings_are_the_sequence(
    make_problem, assert_same, collect, spacing, cell, rule, alpha, core_steps, every
):
    problem = make_problem(rule, alpha, cell=cell, steps=5, n=6, core_steps=core_steps)
    problem.episode_starts[1, 1] = True
    spacing(every)
    expected = problem.run("reference", torch.float64)
    leaves = problem.fresh_leaves(FLOAT)
    params, state = problem.params(leaves), problem.state(leaves).detach()
    acting = PlasticState(*(part.transpose(0, -1).contiguous().transpose(0, -1) for part in state))
    kept = acting.clone()
    recording = Recording(5, params, state, "triton")
    for rollout in range(2):  # the buffers serve a second one
        if rollout:
            recording.reset(params, state)
        for t, x in enumerate(leaves["x"].detach()):
            if rollout:
                y = plastic_rnn_step_(x, params, acting, problem.episode_starts[t], backend="triton")
                assert_same({"y": y}, {"y": expected["y"][t]}, FLOAT)
            recording.step(x, problem.episode_starts[t], params)
            if t == 2:
                halfway = recording.state
    assert_same(recording.state._asdict(), acting._asdict(), FLOAT)
    for name, part in acting._asdict().items():
        assert part.numel() == 0 or not torch.equal(part, kept._asdict()[name])
    for before, first in zip(state, recording.initial_state, strict=True):
        assert torch.equal(before, first)
    with torch.no_grad():
        starts = problem.episode_starts[:3]
        _, after = plastic_rnn(leaves["x"][:3], params, state, starts, backend="reference")
    assert_same(halfway._asdict(), after._asdict(), FLOAT)
    y, final = plastic_rnn_replay(leaves["x"], params, recording)
    problem.send_back(y, final)
    constant = {f"gradient of {name}" for name in PlasticState._fields}
    expected = {name: value for name, value in expected.items() if name not in constant}
    assert_same(collect(y, final, leaves), expected, FLOAT)


def test_a_recording_that_was_reset_has_no_gradients(make_problem):
    problem = make_problem(steps=2, n=3)
    leaves = problem.fresh_leaves(FLOAT)
    params, state = problem.params(leaves), problem.state(leaves).detach()
    recording = Recording(2, params, state, "triton")
    for x in leaves["x"].detach():
        recording.step(x, torch.zeros(3, device=DEVICE), params)
    y, _ = plastic_rnn_replay(leaves["x"], params, recording)
    recording.reset(params)
    with pytest.raises(RuntimeError, match="reset before the backward pass"):
        y.sum().backward()


def test_a_graph_notices_a_step_on_its_state(make_problem):
    problem = make_problem(steps=2, n=3)
    leaves = problem.fresh_leaves(FLOAT)
    params = problem.params(leaves)
    y, state = plastic_rnn(leaves["x"], params, backend="triton")
    loss = y.sum() + state.trace.pow(2).sum()
    plastic_rnn_step_(leaves["x"][0].detach(), params, state.detach(), backend="triton")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("of", ["y", "final trace", "final eligibility"])
def test_gradients_of_one_output_alone(make_problem, assert_same, of):
    """What is not asked about sends nothing back, and what asks for no gradient gets none."""
    problem = make_problem("retroactive", cell="lstm", steps=3, n=5)
    results = []
    for backend, dtype in (("triton", FLOAT), ("reference", torch.float64)):
        leaves = problem.fresh_leaves(dtype)
        leaves["w"].requires_grad_(False)
        y, state = plastic_rnn(
            leaves["x"],
            problem.params(leaves),
            problem.state(leaves),
            problem.episode_starts,
            backend=backend,
        )
        output = y if of == "y" else state._asdict()[of.split()[1]]
        output.pow(2).sum().backward()
        results.append({name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None})
    result, expected = results
    assert "w" not in result
    # Autograd has None where nothing arrives, the kernels zeros.
    assert expected.keys() <= result.keys()
    assert not any(result.pop(name).any() for name in result.keys() - expected.keys())
    assert_same(result, expected, FLOAT)


def test_calls_chain_and_repeat_to_the_bit(make_problem, assert_same, collect):
    """f(T1 + T2) = f(T2) after f(T1), gradients included, from inputs in any layout."""
    problem = make_problem("modulated", cell="gru", steps=5, n=5)
    expected = problem.run("triton", FLOAT)
    for name, value in problem.run("triton", FLOAT).items():
        assert torch.equal(value, expected[name]), name
    leaves = problem.fresh_leaves(FLOAT)
    views = {
        name: leaf.transpose(0, -1).contiguous().transpose(0, -1) if leaf.dim() > 1 else leaf
        for name, leaf in leaves.items()
    }
    state, parts = problem.state(views), []
    for half in (slice(0, 3), slice(3, 5)):
        starts = problem.episode_starts[half]
        y, state = plastic_rnn(views["x"][half], problem.params(views), state, starts, backend="triton")
        parts.append(y)
    y = torch.cat(parts)
    problem.send_back(y, state)
    assert_same(collect(y, state, leaves), expected, FLOAT)


def test_without_gradients_and_in_a_graph(make_problem, assert_same):
    """No trace is kept; and as an operator of torch, whose backward pass runs the sequence again."""
    problem = make_problem("modulated", steps=3, n=5)
    expected = problem.run("triton", FLOAT)
    leaves = problem.fresh_leaves(FLOAT)
    arguments = leaves["x"], problem.params(leaves), problem.state(leaves), problem.episode_starts
    before = leaves["trace"].detach().clone()
    with torch.no_grad():
        y, state = plastic_rnn(*arguments, backend="triton")
    assert torch.equal(y, expected["y"])
    assert torch.equal(state.trace, expected["final trace"])
    assert torch.equal(leaves["trace"], before)
    y, state = library.sequence(*arguments, None, None, "triton")
    problem.send_back(y, state)
    assert_same({"x": leaves["x"].grad}, {"x": expected["gradient of x"]}, FLOAT)


@pytest.mark.parametrize("rule", ["hebb", "modulated"])
def test_a_diverged_network_shows(make_problem, rule):
    problem = make_problem(rule, activation="relu", steps=2, n=3, resets=False)
    problem.leaves["trace"][0, 0, 0] = torch.inf
    leaves = {name: leaf.to(FLOAT) for name, leaf in problem.leaves.items()}
    state = PlasticState(leaves["hidden"], leaves["trace"])
    leaves["hidden"][0, 0] = torch.nan
    plastic_rnn_step_(leaves["x"][0], problem.params(leaves), state, backend="triton")
    assert state.hidden[0].isnan().any()
    assert state.trace[0].isnan().any()
    assert state.hidden[1:].isfinite().all()
