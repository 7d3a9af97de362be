"""The operator in the graphs of torch's compilers, in checkpoints, and under autocast."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from plastic_rl.ops.plastic_rnn import CELLS, RULES, initial_state, plastic_rnn, plastic_rnn_step_

pytest.importorskip("numba")

pytestmark = pytest.mark.usefixtures("forget_graphs")

NETWORKS = [(cell, rule, "full") for cell in CELLS for rule in RULES]
NETWORKS += [("rnn", "hebb", "homogeneous"), ("rnn", "hebb", "none"), ("gru", "hebb", "none")]
# By default every cell, rule and alpha; what torch's compilers have to look through takes them seconds.
BY_DEFAULT = [
    ("auto", "rnn", "hebb", "full"),
    ("numba", "rnn", "hebb", "homogeneous"),
    ("numba", "rnn", "retroactive", "full"),
    ("numba", "gru", "oja", "full"),
    ("numba", "gru", "hebb", "none"),
    ("numba", "lstm", "modulated", "full"),
    ("reference", "rnn", "retroactive", "full"),
]
OTHERS = [("numba", *network) for network in NETWORKS] + [
    ("reference", *network) for network in NETWORKS[3::5]
]
COMPILED = [
    *BY_DEFAULT,
    *(pytest.param(*one, marks=pytest.mark.slow) for one in OTHERS if one not in BY_DEFAULT),
]


def run(problem, leaves, backend):
    return plastic_rnn(
        leaves["x"],
        problem.params(leaves),
        problem.state(leaves),
        problem.episode_starts,
        clamp=problem.cast_clamp(torch.float32),
        repeats=problem.repeats,
        backend=backend,
    )


def outputs_and_gradients(problem, collect, call):
    leaves = problem.fresh_leaves(torch.float32)
    y, state = call(leaves)
    problem.send_back(y, state)
    return collect(y, state, leaves)


@pytest.mark.parametrize(("backend", "cell", "rule", "alpha"), COMPILED)
def test_a_compiled_sequence_is_the_eager_one(make_problem, collect, assert_same, backend, cell, rule, alpha):
    problem = make_problem(rule, alpha, cell=cell, steps=4, n=5, clamp="partial", core_steps=2)
    compiled = torch.compile(
        lambda leaves: run(problem, leaves, backend), backend="aot_eager", fullgraph=True
    )
    result = outputs_and_gradients(problem, collect, compiled)
    expected = outputs_and_gradients(problem, collect, lambda leaves: run(problem, leaves, "reference"))
    assert_same(result, expected, torch.float32)


def test_a_compiled_sequence_keeps_its_repeats(make_problem, collect, assert_same):
    problem = make_problem("oja", steps=5, n=5, clamp="full", resets=False)
    problem.repeats = torch.tensor([1, 3, 1, 2, 1])
    compiled = torch.compile(
        lambda leaves: run(problem, leaves, "numba"), backend="aot_eager", fullgraph=True
    )
    result = outputs_and_gradients(problem, collect, compiled)
    expected = outputs_and_gradients(problem, collect, lambda leaves: run(problem, leaves, "reference"))
    assert_same(result, expected, torch.float32)


@pytest.mark.parametrize(("backend", "cell", "rule", "alpha"), COMPILED)
def test_a_compiled_step_is_the_eager_one(make_problem, assert_same, backend, cell, rule, alpha):
    problem = make_problem(rule, alpha, cell=cell, steps=1, n=5, clamp="partial")
    results = []
    for wrap in (lambda step: step, lambda step: torch.compile(step, backend="aot_eager", fullgraph=True)):
        leaves = {name: leaf.detach() for name, leaf in problem.fresh_leaves(torch.float32).items()}
        params, state = problem.params(leaves), problem.state(leaves)
        values, mask = problem.cast_clamp(torch.float32)

        @wrap
        def act(x, state, start, params=params, clamp=(values[0], mask[0])):
            return plastic_rnn_step_(x, params, state, start, clamp=clamp, backend=backend)

        y = act(leaves["x"][0], state, torch.tensor([True, False, False]))
        results.append({"y": y, **state._asdict()})
    assert_same(results[1], results[0], torch.float32)
    assert not torch.equal(results[1]["hidden"], problem.leaves["hidden"].float())


# What torch 2.14 looks at in copies that it has made itself, and lets nobody see a warning of.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize(("cell", "rule"), [("rnn", "hebb"), ("rnn", "retroactive"), ("lstm", "modulated")])
def test_it_is_registered_as_torch_wants_it(make_problem, cell, rule):
    problem = make_problem(rule, cell=cell, steps=4, n=5, clamp="partial")
    leaves = problem.fresh_leaves(torch.float32)
    params, state = problem.params(leaves), problem.state(leaves).detach().map(Tensor.requires_grad_)
    named = {"x": leaves["x"], **state._asdict(), **params.tensors()}
    constants = (rule, params.activation, params.trace_clip, cell, 1, "numba")
    optional = (problem.episode_starts, *problem.cast_clamp(torch.float32), None)
    arguments = (list(named.values()), ",".join(named), *optional, *constants)
    torch.library.opcheck(torch.ops.plastic_rl.sequence, arguments)

    outgoing = [torch.ones(4, 3, 5), *(torch.ones_like(part) for part in state)]
    wanted = [name != "trace" for name in named]
    detached = [tensor.detach() for tensor in named.values()]
    torch.library.opcheck(
        torch.ops.plastic_rl.sequence_backward,
        (outgoing, wanted, detached, ",".join(named), *optional, *constants),
        # Nothing differentiates it.
        test_utils=("test_schema", "test_faketensor"),
    )

    weights = {name: tensor.detach() for name, tensor in params.tensors().items()}
    parts = [part.detach().clone() for part in state]
    step = (leaves["x"][0].detach(), *parts, list(weights.values()), ",".join(weights), None, None, None)
    torch.library.opcheck(torch.ops.plastic_rl.step, (*step, *constants))


def test_only_what_is_asked_for_is_differentiated(make_problem):
    problem = make_problem(steps=4, n=5)
    leaves = {name: leaf.detach() for name, leaf in problem.fresh_leaves(torch.float32).items()}
    leaves["w"].requires_grad_()
    y, _ = torch.compile(lambda leaves: run(problem, leaves, "numba"), backend="aot_eager")(leaves)
    y.sum().backward()
    assert leaves["w"].grad.abs().max() > 0
    assert leaves["alpha"].grad is None


def test_nothing_to_differentiate(make_problem):
    problem = make_problem(steps=4, n=5)
    leaves = {name: leaf.detach() for name, leaf in problem.fresh_leaves(torch.float32).items()}
    y, _ = torch.compile(lambda leaves: run(problem, leaves, "numba"), backend="aot_eager")(leaves)
    assert not y.requires_grad
    torch.testing.assert_close(y, run(problem, leaves, "numba")[0])


def test_values_are_looked_at_when_it_runs(make_problem):
    problem = make_problem(steps=4, n=5)
    leaves = problem.fresh_leaves(torch.float32)
    compiled = torch.compile(
        lambda leaves: run(problem, leaves, "numba"), backend="aot_eager", fullgraph=True
    )
    compiled(leaves)
    leaves["x"] = torch.full_like(leaves["x"], torch.nan)
    with pytest.raises(ValueError, match="x must be finite"):
        compiled(leaves)


def test_wrong_shapes_are_named_while_it_is_compiled(make_problem):
    problem = make_problem(steps=4, n=5)
    leaves = problem.fresh_leaves(torch.float32)
    leaves["w"] = leaves["alpha"] = torch.zeros(6, 6)
    compiled = torch.compile(lambda leaves: run(problem, leaves, "numba"), backend="aot_eager")
    with pytest.raises(ValueError, match="x has 5 neurons"):
        compiled(leaves)


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize(("cell", "rule", "alpha"), [*NETWORKS[:5], ("lstm", "modulated", "full")])
@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_computes_it_again(make_problem, collect, cell, rule, alpha, backend, reentrant):
    problem = make_problem(rule, alpha, cell=cell, steps=5, n=5)

    def again(leaves):
        return checkpoint(lambda *tensors: rerun(leaves, tensors), *leaves.values(), use_reentrant=reentrant)

    def rerun(leaves, tensors):
        y, state = run(problem, dict(zip(leaves, tensors, strict=True)), backend)
        return y, *state

    def call(leaves):
        y, *parts = again(leaves)
        return y, type(problem.state(leaves))(*parts)

    result = outputs_and_gradients(problem, collect, call)
    expected = outputs_and_gradients(problem, collect, lambda leaves: run(problem, leaves, backend))
    assert all(torch.equal(result[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("cell", "rule", "alpha"), [NETWORKS[0], ("gru", "retroactive", "full"), NETWORKS[-1]]
)
def test_a_checkpoint_lets_go_of_all_that_is_large(make_problem, cell, rule, alpha):
    """All memory of the graph that grows with T goes through the hooks that checkpoints use."""
    problem = make_problem(rule, alpha, cell=cell, steps=64, batch=2, n=5, resets=False)
    saved = []

    def keep(tensor):
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept):
        leaves = problem.fresh_leaves(torch.float32)
        y, _ = run(problem, leaves, "numba")
    assert y.grad_fn is not None
    kept = [value for value in vars(y.grad_fn).values() if hasattr(value, "nbytes")]
    assert saved
    assert sum(tensor.nbytes for tensor in saved) > y.nbytes
    assert sum(array.nbytes for array in kept) < y.nbytes


@pytest.mark.parametrize(
    ("dtype", "backend"),
    [
        (torch.bfloat16, "numba"),
        (torch.float16, "numba"),
        (torch.bfloat16, "reference"),
        pytest.param(torch.float16, "reference", marks=pytest.mark.slow),
    ],
)
def test_autocast_leaves_it_in_single_precision(make_problem, backend, dtype):
    problem = make_problem("modulated", cell="gru", steps=5, n=5)
    leaves = problem.fresh_leaves(torch.float32)
    narrow = {**leaves, "x": leaves["x"].detach().to(dtype)}
    wide = {**leaves, "x": narrow["x"].float()}
    expected, after = run(problem, wide, backend)
    with torch.autocast("cpu", dtype=dtype):
        y, state = run(problem, narrow, backend)
        compiled = torch.compile(
            lambda leaves: run(problem, leaves, backend), backend="aot_eager", fullgraph=True
        )
        again, _ = compiled(narrow)
        carried = problem.state({name: leaf.detach() for name, leaf in leaves.items()}).clone()
        acted = plastic_rnn_step_(narrow["x"][0], problem.params(leaves), carried, backend=backend)
    assert y.dtype == state.trace.dtype == acted.dtype == torch.float32
    assert torch.equal(y, expected)
    assert torch.equal(state.trace, after.trace)
    torch.testing.assert_close(again, expected)
    torch.testing.assert_close(acted, expected[0].detach() if not problem.episode_starts[0].any() else acted)


def test_an_empty_state_is_made_while_it_is_compiled(make_problem):
    problem = make_problem(steps=4, n=5, resets=False)
    leaves = {name: leaf.detach() for name, leaf in problem.fresh_leaves(torch.float32).items()}
    params = problem.params(leaves)
    compiled = torch.compile(lambda x: plastic_rnn(x, params)[0], backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(leaves["x"]), plastic_rnn(leaves["x"], params)[0])
    other = replace(params, core_steps=2)
    compiled = torch.compile(lambda x: plastic_rnn(x, other, initial_state(other, 3))[0], backend="aot_eager")
    torch.testing.assert_close(compiled(leaves["x"]), plastic_rnn(leaves["x"], other)[0])
