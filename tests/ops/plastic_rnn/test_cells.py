"""Gated cells and the rule with a second trace: equations, torch's layers, what the operator promises.

The tests run over the tables of cells and rules, and over all backends that take a pair of them.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from plastic_rl.ops.plastic_rnn import (
    ACTIVATIONS,
    BACKENDS,
    CELLS,
    RULES,
    PlasticParams,
    PlasticState,
    Recording,
    backends,
    initial_state,
    plastic_rnn,
    plastic_rnn_replay,
    plastic_rnn_step_,
    register_rule,
    rules,
)
from plastic_rl.policies import PlasticRNN

ALPHAS = ("full", "homogeneous", "none")
PAIRS = [(cell, rule) for cell in CELLS for rule in RULES if CELLS[cell].gates > 0 or RULES[rule].eligibility]


def runs() -> list[tuple[str, str, str, torch.dtype]]:
    """Every pair with every backend that takes it."""
    dtypes = {"reference": torch.float64}
    found = []
    for name, backend in BACKENDS.items():
        dtype = dtypes.get(name, torch.float32)
        x = torch.zeros(
            1, dtype=dtype, device="cuda" if name == "triton" and torch.cuda.is_available() else "cpu"
        )
        for cell, rule in PAIRS:
            if backend.can_run(x, PlasticParams(x, alpha=x, rule=rule, cell=cell)) is None:
                found.append((cell, rule, name, dtype))
    return found


parametrize_runs = pytest.mark.parametrize(("cell", "rule", "backend", "dtype"), runs())


def logistic(a):
    return 1 / (1 + np.exp(-a))


def fire(cell, p, x, h, c, strength):
    """The candidate, the new hidden state and the new cell state of one environment."""
    n = len(h)
    u = h @ strength
    if cell == "rnn":
        y = np.tanh(x + u)
        return y, y, c
    gates = h @ p["w_gates"]
    if cell == "gru":
        r, z = logistic(x[:n] + gates[:n]), logistic(x[n : 2 * n] + gates[n:])
        y = np.tanh(x[2 * n :] + r * (u + p["b_u"]))
        return y, z * h + (1 - z) * y, c
    i, f, o = (logistic(x[k * n : (k + 1) * n] + gates[j * n : (j + 1) * n]) for j, k in enumerate((0, 1, 3)))
    y = np.tanh(x[2 * n : 3 * n] + u)
    c = f * c + i * y
    return y, o * np.tanh(c), c


def learn(rule, p, trace, eligibility, pre, post, hidden):
    """The trace and the eligibility of one environment after a step."""
    if rule == "hebb":
        return (1 - p["eta"]) * trace + p["eta"] * np.outer(pre, post), eligibility
    if rule == "oja":
        return trace + p["eta"] * post * (pre[:, None] - post * trace), eligibility
    sent = p["fan_out"] * np.tanh(hidden @ p["w_m"] + p["b_m"])
    if rule == "modulated":
        return np.clip(trace + sent * np.outer(pre, post), -0.4, 0.4), eligibility
    trace = np.clip(trace + sent * eligibility, -0.4, 0.4)
    return trace, (1 - p["eta"]) * eligibility + p["eta"] * np.outer(pre, post)


@pytest.mark.pairwise
@pytest.mark.parametrize("core_steps", [1, 2])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("cell", CELLS)
def test_the_reference_is_the_equations(make_problem, cell, rule, alpha, core_steps):
    problem = make_problem(
        rule, alpha, cell=cell, steps=6, batch=2, n=4, clamp="partial", core_steps=core_steps
    )
    result = problem.run("reference", torch.float64)
    p = {name: leaf.numpy() for name, leaf in problem.leaves.items()}
    values, mask = (part.numpy() for part in problem.clamp)
    empty = np.zeros((2, 4, 4))
    for b in range(2):
        h, c = p["hidden"][b], p.get("cell", empty[:, 0])[b]
        trace = p["trace"][b] if alpha != "none" else empty[b]
        eligibility = p.get("eligibility", empty)[b]
        for t, x in enumerate(p["x"][:, b]):
            if problem.episode_starts[t, b]:
                h, c, trace, eligibility = 0 * h, 0 * c, 0 * trace, 0 * eligibility
            for _ in range(core_steps):
                pre = h
                y, h, c = fire(cell, p, x, h, c, p["w"] + p.get("alpha", 0) * trace)
                h = np.where(mask[t, b], values[t, b], h)
            post = h if cell == "rnn" else y
            if alpha != "none":
                trace, eligibility = learn(rule, p, trace, eligibility, pre, post, h)
            np.testing.assert_allclose(result["y"][t, b], h, rtol=1e-12, atol=1e-14)
        final = {"hidden": h, "trace": trace, "cell": c, "eligibility": eligibility}
        for name, expected in final.items():
            if f"final {name}" in result and result[f"final {name}"].numel() > 0:
                np.testing.assert_allclose(result[f"final {name}"][b], expected, rtol=1e-12, atol=1e-14)
    parts = {"hidden"} | ({"trace"} if alpha != "none" else set())
    parts |= {"cell"} if cell == "lstm" else set()
    parts |= {"eligibility"} if rule == "retroactive" and alpha != "none" else set()
    state = initial_state(problem.params(problem.leaves), 2)
    assert {name for name, part in state._asdict().items() if part.numel() > 0} == parts


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_without_plasticity_it_is_the_layer_of_torch(cell, dtype):
    torch.manual_seed(0)
    n, features = 5, torch.randn(9, 2, 3, dtype=dtype)
    theirs = (torch.nn.GRU if cell == "gru" else torch.nn.LSTM)(3, n).to(dtype)
    ours = PlasticRNN(3, n, cell=cell, alpha="none").to(dtype)
    weight_ih, weight_hh, bias_ih, bias_hh = (
        theirs.get_parameter(f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    recurrent, bias = weight_hh.t(), bias_ih + bias_hh
    blocks = {"gru": [0, 1], "lstm": [0, 1, 3]}[cell]
    columns = torch.cat([torch.arange(k * n, (k + 1) * n) for k in blocks])
    with torch.no_grad():
        ours.drive.weight.copy_(weight_ih)
        ours.w_gates.copy_(recurrent[:, columns])
        ours.w.copy_(recurrent[:, 2 * n : 3 * n])
        if cell == "gru":
            ours.b_u.copy_(bias_hh[2 * n :])
            bias[2 * n :] = bias_ih[2 * n :]
        ours.drive.bias.copy_(bias)
    state = PlasticState(torch.randn(2, n, dtype=dtype), torch.zeros(2, 0, 0, dtype=dtype))
    given: torch.Tensor | tuple[torch.Tensor, torch.Tensor] = state.hidden[None]
    if cell == "lstm":
        state = state._replace(cell=torch.randn(2, n, dtype=dtype))
        given = (state.hidden[None], state.cell[None])
    y, final = ours(features, state)
    expected, last = theirs(features, given)
    close = {"rtol": 0, "atol": 1e-14 if dtype == torch.float64 else 1e-6}
    torch.testing.assert_close(y, expected, **close)
    if cell == "lstm":
        torch.testing.assert_close(final.cell, last[1][0], **close)
    up = torch.randn_like(y)
    (y * up).sum().backward()
    (expected * up).sum().backward()
    assert weight_hh.grad is not None
    torch.testing.assert_close(ours.w_gates.grad, weight_hh.grad.t()[:, columns], rtol=0, atol=3e-5)
    torch.testing.assert_close(ours.drive.weight.grad, weight_ih.grad, rtol=0, atol=3e-5)


@pytest.mark.pairwise
@parametrize_runs
@pytest.mark.parametrize("core_steps", [1, 2, 3])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_parity(make_problem, assert_same, cell, rule, alpha, core_steps, backend, dtype):
    for steps, batch, n, clamp, activation, eta in (
        (1, 1, 1, "none", "tanh", 0.1),
        (1, 2, 8, "none", "tanh", 0.1),
        (9, 1, 16, "partial", "tanh", 0.6),
        (21, 3, 13, "none", "sigmoid", 0.08),
        (10, 2, 7, "partial", "relu", 0.1),
        (10, 2, 7, "full", "linear", 0.1),
    ):
        problem = make_problem(
            rule, alpha, cell=cell, steps=steps, batch=batch, n=n, eta=eta, clamp=clamp, resets=steps > 10,
            activation=activation, seed=3, core_steps=core_steps,
        )  # fmt: skip
        expected = problem.run("reference", torch.float64)
        if clamp != "full":  # a network at rest, or gradients that vanish, would test nothing
            small = [k for k, v in expected.items() if v.numel() > 0 and v.abs().max() <= 1e-3]
            # After one step the new eligibility has not been read yet, nor does w reach it from one neuron.
            assert steps == 1 or small == []
        assert_same(problem.run(backend, dtype), expected, dtype)


@pytest.mark.pairwise
@parametrize_runs
@pytest.mark.parametrize("core_steps", [1, 2])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_two_halves_are_the_whole(
    make_problem, assert_same, collect, cell, rule, alpha, core_steps, backend, dtype
):
    problem = make_problem(rule, alpha, cell=cell, steps=20, n=6, core_steps=core_steps)
    leaves = problem.fresh_leaves(dtype)
    state, parts = problem.state(leaves), []
    for half in (slice(0, 13), slice(13, 20)):
        y, state = plastic_rnn(
            leaves["x"][half], problem.params(leaves), state, problem.episode_starts[half], backend=backend
        )
        parts.append(y)
    y = torch.cat(parts)
    problem.send_back(y, state)
    assert_same(collect(y, state, leaves), problem.run(backend, dtype), dtype)


@pytest.mark.pairwise
@parametrize_runs
@pytest.mark.parametrize("core_steps", [1, 2])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_a_reset_separates_two_episodes(
    make_problem, assert_same, cell, rule, alpha, core_steps, backend, dtype
):
    problem = make_problem(rule, alpha, cell=cell, steps=20, n=6, resets=False, core_steps=core_steps)
    problem.episode_starts = torch.zeros(20, 3, dtype=torch.bool)
    problem.episode_starts[11] = True
    leaves = problem.fresh_leaves(dtype)
    params = problem.params(leaves)
    first, _ = plastic_rnn(leaves["x"][:11], params, problem.state(leaves), backend=backend)
    second, final = plastic_rnn(leaves["x"][11:], params, backend=backend)
    y = torch.cat((first, second))
    problem.send_back(y, final)
    separate = {"y": y.detach()} | {f"final {k}": v.detach() for k, v in final._asdict().items() if v.numel()}
    separate |= {f"gradient of {k}": v.grad for k, v in leaves.items() if v.grad is not None}
    whole = {k: v for k, v in problem.run(backend, dtype).items() if v.numel() > 0}
    separate = {k: v for k, v in separate.items() if v.numel() > 0}
    assert_same(whole, separate, dtype)


@parametrize_runs
def test_a_reset_at_the_first_step_forgets_the_incoming_state(make_problem, cell, rule, backend, dtype):
    problem = make_problem(rule, cell=cell, resets=False)
    result = problem.run(backend, dtype)
    names = [name for name in PlasticState._fields if f"gradient of {name}" in result]
    assert all(result[f"gradient of {name}"].any() for name in names)
    problem.episode_starts = torch.zeros(12, 3, dtype=torch.bool)
    problem.episode_starts[0] = True
    result = problem.run(backend, dtype)
    assert len(names) == 2 + CELLS[cell].memory + RULES[rule].eligibility
    assert not any(result[f"gradient of {name}"].any() for name in names)


@pytest.mark.pairwise
@parametrize_runs
@pytest.mark.parametrize("core_steps", [1, 2, 3])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_steps_and_recordings_are_the_sequence(
    make_problem, assert_same, collect, cell, rule, alpha, core_steps, backend, dtype
):
    problem = make_problem(rule, alpha, cell=cell, n=7, core_steps=core_steps)
    expected = problem.run(backend, dtype)
    leaves = problem.fresh_leaves(dtype)
    params, state = problem.params(leaves), problem.state(leaves).detach()
    recording = Recording(len(leaves["x"]), params, state, backend)
    acting = state.clone()
    for t, x in enumerate(leaves["x"].detach()):
        y = plastic_rnn_step_(x, params, acting, problem.episode_starts[t], backend=backend)
        assert_same({"y": y}, {"y": expected["y"][t]}, dtype)
        assert_same({"y": recording.step(x, problem.episode_starts[t], params)}, {"y": y}, dtype)
    for name, part in acting._asdict().items():
        if part.numel() > 0:
            assert_same({name: part}, {name: expected[f"final {name}"]}, dtype)
    assert_same(recording.state._asdict(), acting._asdict(), dtype)
    for before, kept in zip(state, recording.initial_state, strict=True):
        assert torch.equal(before, kept)
    y, final = plastic_rnn_replay(leaves["x"], params, recording)
    problem.send_back(y, final)
    constant = {f"gradient of {name}" for name in PlasticState._fields}
    expected = {name: value for name, value in expected.items() if name not in constant}
    assert_same(collect(y, final, leaves), expected, dtype)


@pytest.mark.pairwise
@parametrize_runs
@pytest.mark.parametrize("core_steps", [1, 2])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_a_recording_halfway_and_once_more(
    make_problem, assert_same, collect, cell, rule, alpha, core_steps, backend, dtype
):
    """Its state after some of the steps; and its buffers serve another rollout, which begins there."""
    problem = make_problem(rule, alpha, cell=cell, steps=18, n=5, core_steps=core_steps)
    leaves = problem.fresh_leaves(dtype)
    params, starts = problem.params(leaves), problem.episode_starts
    x = leaves["x"].detach()
    recording = Recording(12, params, problem.state(leaves), backend)
    for t in range(6):
        recording.step(x[t], starts[t], params)
    halfway = recording.state
    with torch.no_grad():
        _, expected = plastic_rnn(x[:6], params, problem.state(leaves), starts[:6], backend=backend)
    assert_same(halfway._asdict(), expected._asdict(), dtype)
    recording.reset(params)
    for t in range(6, 18):
        recording.step(x[t], starts[t], params)
    y, final = plastic_rnn_replay(leaves["x"][6:], params, recording)
    problem.upstream = (problem.upstream[0][6:], *problem.upstream[1:])
    problem.send_back(y, final)
    result = collect(y, final, leaves)
    again = problem.fresh_leaves(dtype)
    y, final = plastic_rnn(again["x"][6:], problem.params(again), halfway, starts[6:], backend=backend)
    problem.send_back(y, final)
    assert_same(result, collect(y, final, again), dtype)


FUSED = [(cell, rule) for cell, rule, backend, _ in runs() if backend == "numba"]


@pytest.mark.pairwise
@pytest.mark.parametrize("core_steps", [1, 2])
@pytest.mark.parametrize("eta", [0.01, 0.1, 0.9])
@pytest.mark.parametrize(("cell", "rule"), FUSED)
def test_parity_of_the_compiled_over_many_steps(make_problem, assert_same, cell, rule, eta, core_steps):
    problem = make_problem(rule, cell=cell, steps=400, batch=2, n=13, eta=eta, seed=2, core_steps=core_steps)
    problem.episode_starts &= torch.arange(400)[:, None] % 50 == 37  # a few long episodes
    problem.episode_starts[200, 1] = True
    assert_same(problem.run("numba", torch.float32), problem.run("reference", torch.float64), torch.float32)


@pytest.mark.pairwise
@pytest.mark.parametrize("core_steps", [1, 2])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize(("cell", "rule"), FUSED)
def test_steps_of_the_compiled_may_stand_for_several(
    make_problem, assert_same, cell, rule, alpha, core_steps
):
    problem = make_problem(rule, alpha, cell=cell, steps=6, clamp="full", core_steps=core_steps)
    problem.clamp[1][[1, 4]] = False
    problem.repeats = torch.tensor([3, 1, 1, 4, 1, 2], dtype=torch.int32)
    expected = problem.run("reference", torch.float64)
    assert_same(problem.run("numba", torch.float32), expected, torch.float32)


@pytest.mark.pairwise
@pytest.mark.parametrize("core_steps", [1, 2])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize(("cell", "rule"), FUSED)
def test_threads_and_fresh_memory_change_nothing(
    make_problem, assert_same, monkeypatch, cell, rule, alpha, core_steps
):
    """But for rounding; and all that is allocated and not zeroed is filled with NaN."""
    memory = pytest.importorskip("plastic_rl.ops.plastic_rnn.numba.memory")
    problem = make_problem(rule, alpha, cell=cell, steps=24, batch=7, n=11, core_steps=core_steps)
    expected = problem.run("numba", torch.float32)
    monkeypatch.setattr(memory, "MIN_WORK", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    empty, staggered, torch_empty = np.empty, memory.staggered, torch.empty

    def poisoned(result):
        if result.dtype in (np.float32, torch.float32):
            result[...] = np.nan
        return result

    monkeypatch.setattr(memory.np, "empty", lambda *args, **kwargs: poisoned(empty(*args, **kwargs)))
    monkeypatch.setattr(memory, "staggered", lambda *args: poisoned(staggered(*args)))
    monkeypatch.setattr(memory.torch, "empty", lambda *args, **kw: poisoned(torch_empty(*args, **kw)))
    result = problem.run("numba", torch.float32)
    assert_same(result, expected, torch.float32)
    for name in ("y", "final trace", "gradient of x"):
        assert torch.equal(result[name], expected[name]), name


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_memory_layout_does_not_matter(make_problem, assert_same, collect, cell, alpha):
    problem = make_problem("modulated", alpha, cell=cell, clamp="partial")
    leaves = problem.fresh_leaves(torch.float32)

    def turned(tensor):
        return tensor.transpose(0, -1).contiguous().transpose(0, -1) if tensor.dim() > 1 else tensor

    views = {name: turned(leaf) for name, leaf in leaves.items()}
    clamp = tuple(turned(part) for part in problem.cast_clamp(torch.float32))
    params, starts = problem.params(views), turned(problem.episode_starts)
    y, final = plastic_rnn(views["x"], params, problem.state(views), starts, clamp=clamp, backend="numba")
    problem.send_back(y, final)
    expected = problem.run("numba", torch.float32)
    assert_same(collect(y, final, leaves), expected, torch.float32)
    acting = PlasticState(*(turned(part) for part in problem.state(leaves).detach()))
    for t in range(2):
        at = tuple(part[t] for part in clamp)
        out = plastic_rnn_step_(views["x"][t].detach(), params, acting, starts[t], clamp=at, backend="numba")
        assert_same({"y": out}, {"y": expected["y"][t]}, torch.float32)
    assert torch.equal(acting.hidden, out)


def test_a_graph_notices_a_step_on_its_state(make_problem):
    """A step overwrites what a backward pass still needs: an error, not a wrong number."""
    problem = make_problem(cell="lstm")
    leaves = problem.fresh_leaves(torch.float32)
    params, state = problem.params(leaves), problem.state(leaves).detach()
    y, final = plastic_rnn(leaves["x"], params, state, backend="numba")
    loss = y.sum() + final.cell.pow(2).sum()
    plastic_rnn_step_(leaves["x"][0].detach(), params, state, backend="numba")
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    recording = Recording(12, params, state, "numba")
    for x in leaves["x"].detach():
        recording.step(x, torch.zeros(3), params)
    y, _ = plastic_rnn_replay(leaves["x"], params, recording)
    recording.reset(params)
    with pytest.raises(RuntimeError, match="reset before the backward pass"):
        y.sum().backward()


def test_a_clamped_step_with_its_values(make_problem, assert_same):
    """The step form holds h', and the candidate goes on learning."""
    problem = make_problem("hebb", cell="gru", steps=1, clamp="full", resets=False)
    result = problem.run("reference", torch.float64)
    assert torch.equal(result["y"], problem.clamp[0])
    state = problem.state(problem.leaves).clone()
    clamp = tuple(part[0] for part in problem.clamp)
    plastic_rnn_step_(problem.leaves["x"][0], problem.params(problem.leaves), state, clamp=clamp)
    assert_same({"trace": state.trace}, {"trace": result["final trace"]}, torch.float64)
    assert result["gradient of x"].any()


def test_a_rule_of_ones_own_may_read_the_hidden_state(make_problem, assert_same, monkeypatch):
    monkeypatch.setattr(rules, "_RULES", dict(rules._RULES))

    def own(y, params, hidden):
        signal = torch.tanh((hidden * params.w_m).sum(-1, keepdim=True) + params.b_m)
        return torch.ones_like(y), params.fan_out * signal * y

    names = RULES["modulated"].parameters
    register_rule("own", own, parameters=names, trace_clip=True, reads_hidden=True)
    problem = make_problem("modulated", cell="lstm")
    expected = problem.run("reference", torch.float64)
    assert_same(replace(problem, rule="own").run("auto", torch.float64), expected, torch.float64)
    with pytest.raises(ValueError, match="reads_hidden must be true or false, got 1"):
        register_rule("other", own, reads_hidden=1)


N, B = 5, 3
GRU = PlasticParams(
    torch.zeros(N, N), torch.zeros(N, N), torch.tensor(0.1), cell="gru", w_gates=torch.zeros(N, 2 * N),
    b_u=torch.zeros(N),
)  # fmt: skip
LSTM = replace(GRU, cell="lstm", w_gates=torch.zeros(N, 3 * N), b_u=None)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (replace(GRU, cell="mlp"), "params.cell must be one of rnn, gru, lstm, got 'mlp'"),
        (replace(GRU, w_gates=None), "params.w_gates must be given with cell 'gru', got None"),
        (replace(GRU, w_gates=LSTM.w_gates), r"params.w_gates must be \(5, 10\), got \(5, 15\)"),
        (replace(GRU, w_gates=torch.full((N, 2 * N), torch.nan)), "params.w_gates must be finite"),
        (replace(GRU, b_u=None), "params.b_u must be given with cell 'gru', got None"),
        (replace(LSTM, b_u=torch.zeros(N)), "params.b_u must be None with cell 'lstm', got a tensor"),
        (replace(GRU, cell="rnn"), "params.w_gates must be None with cell 'rnn', got a tensor"),
    ],
)
def test_parameters_of_another_cell_are_named(params, message):
    with pytest.raises(ValueError, match=message):
        plastic_rnn(torch.zeros(4, B, 3 * N), params)


def test_inputs_of_another_cell_are_named():
    x, state = torch.zeros(4, B, 3 * N), initial_state(GRU, B)
    message = r"x must be \(..., B, 15\) with cell 'gru', 5 for each of its parts r, z, n, got \(4, 3, 5\)"
    with pytest.raises(ValueError, match=message):
        plastic_rnn(x[..., :N], GRU, backend="reference")
    with pytest.raises(ValueError, match=r"state\.cell must be \(3, 5\), got \(3, 0\)"):
        plastic_rnn(torch.zeros(4, B, 4 * N), LSTM, state, backend="reference")
    with pytest.raises(ValueError, match=r"state\.cell must be \(3, 0\), got \(3, 5\)"):
        plastic_rnn(x, GRU, initial_state(LSTM, B), backend="reference")
    with pytest.raises(ValueError, match=r"state\.eligibility must be \(3, 0, 0\), got \(3, 5, 5\)"):
        plastic_rnn(x, GRU, state._replace(eligibility=state.trace), backend="reference")
    broken = initial_state(LSTM, B)._replace(cell=torch.full((B, N), torch.inf))
    with pytest.raises(ValueError, match=r"state\.cell must be finite"):
        plastic_rnn(torch.zeros(4, B, 4 * N), LSTM, broken, backend="reference")
    with pytest.raises(ValueError, match=r"clamp values must be \(4, 3, 5\), got \(4, 3, 15\)"):
        plastic_rnn(x, GRU, clamp=(x, x > 0), backend="reference")
    recording = Recording(4, GRU, state, "reference")
    with pytest.raises(ValueError, match=r"x must be \(3, 15\) torch.float32 on cpu, got \(3, 5\)"):
        recording.step(x[0, :, :N], torch.zeros(B), GRU)
    with pytest.raises(ValueError, match=r"state\.cell must be \(3, 5\), got \(3, 0\)"):
        Recording(4, LSTM, state, "reference")


@pytest.mark.parametrize(
    ("cell", "rule", "activation", "message"),
    [
        ("gru", "hebb", "tanh", "is compiled for the cells rnn, lstm, got 'gru'"),
        ("rnn", "retroactive", "tanh", "is compiled for the rules hebb, oja, modulated, got 'retroactive'"),
        ("rnn", "hebb", "relu", "is compiled for the activations tanh, sigmoid, linear, got 'relu'"),
    ],
)
def test_what_is_not_compiled_is_refused_and_said(cell, rule, activation, message, caplog, monkeypatch):
    monkeypatch.setitem(CELLS, "gru", replace(CELLS["gru"], code=None))
    monkeypatch.setitem(RULES, "retroactive", replace(RULES["retroactive"], code=None))
    monkeypatch.setitem(rules._RULES, "retroactive", RULES["retroactive"])
    monkeypatch.setitem(ACTIVATIONS, "relu", ACTIVATIONS["relu"]._replace(code=None))
    parameters = {"eta": torch.tensor(0.1), "w_m": torch.zeros(N), "b_m": torch.tensor(0.0)}
    parameters = {
        k: v for k, v in {**parameters, "fan_out": torch.ones(N)}.items() if k in RULES[rule].parameters
    }
    base = {"gru": GRU, "lstm": LSTM, "rnn": replace(GRU, cell="rnn", w_gates=None, b_u=None)}[cell]
    params = replace(base, eta=None, rule=rule, activation=activation)
    params = replace(params, **parameters)
    x = torch.zeros(4, B, len(CELLS[cell].parts) * N)
    with pytest.raises(ValueError, match=f"backend 'numba' {message}: use"):
        plastic_rnn(x, params, backend="numba")
    backends._say.cache_clear()
    for _ in range(2):
        plastic_rnn(x, params)
    backends._say.cache_clear()
    (record,) = caplog.records
    assert f"backend 'reference', many times slower than 'numba', which {message}" in record.getMessage()
