"""Captured launches against the same ones one by one, to the bit: in the interpreter (see `test_interpreter`)
with a stand-in for CUDA's graphs, or on a GPU with those.
"""

import os

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from plastic_rl.ops.plastic_rnn import BACKENDS, Recording, plastic_rnn, plastic_rnn_replay
from plastic_rl.ops.plastic_rnn.triton.graphs import CUDA, Graphs, Primitives

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = pytest.mark.skipif(
    not (INTERPRETED or torch.cuda.is_available()), reason="in the interpreter: test_interpreter.py"
)
FLOAT = torch.float32
DEVICE = "cpu" if INTERPRETED else "cuda"


class Count:
    """Of what CUDA has captured and replayed."""

    def __init__(self) -> None:
        self.captures = self.replays = 0
        self.primitives = Primitives(CUDA.place, self.capture)

    def capture(self, x, function):
        replay, outputs = CUDA.capture(x, function)
        self.captures += 1

        def count():
            self.replays += 1
            replay()

        return count, outputs


@pytest.fixture
def counted(request, monkeypatch):
    """The backend with few graphs of its own, counted."""
    pytest.importorskip("triton")
    count = Count()
    if INTERPRETED:
        request.getfixturevalue("interpreted_kernels")
        count = request.getfixturevalue("stand_in")
    monkeypatch.setattr(BACKENDS["triton"], "_cuda_graphs", True)
    monkeypatch.setattr(BACKENDS["triton"], "graphs", Graphs(count.primitives, limit=4))
    return count


@pytest.fixture(name="make_problem")
def make_problem_where_the_kernels_run(make_problem):
    def make(*args, seed=0, **kwargs):
        problem = make_problem(*args, seed=seed, **kwargs).moved(DEVICE)
        problem.episode_starts[-1, seed % 3] = True
        return problem

    return make


def plainly(run):
    """The same, kernel by kernel."""
    backend = BACKENDS["triton"]
    backend._cuda_graphs = False
    try:
        return run()
    finally:
        backend._cuda_graphs = True


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
        assert value.isfinite().all(), name


NETWORKS = [
    ("rnn", "hebb", "full", "partial", 1, None),
    ("gru", "modulated", "homogeneous", "none", 2, 2),
    ("lstm", "retroactive", "full", "partial", 1, None),
    ("lstm", "hebb", "none", "none", 1, None),
]


@pytest.mark.parametrize(("cell", "rule", "alpha", "clamp", "core_steps", "every"), NETWORKS)
def test_sequences_and_their_gradients(
    make_problem, counted, monkeypatch, cell, rule, alpha, clamp, core_steps, every
):
    monkeypatch.setattr(BACKENDS["triton"], "trace_spacing", every)
    results = []
    for seed in range(5):
        problem = make_problem(
            rule, alpha, cell=cell, steps=3, n=3, clamp=clamp, core_steps=core_steps, seed=seed
        )
        expected = plainly(lambda problem=problem: problem.run("triton", FLOAT))
        results.append((problem.run("triton", FLOAT), expected))
        # Once as it is, once in the graph's memory, then captured; the way back one call later.
        assert counted.captures == (0, 0, 1, 2, 2)[seed]
    assert counted.replays == 3 + 2
    # At the end: no result lies where a later one was written.
    for found, expected in results:
        assert_equal(found, expected)
    problem = make_problem(rule, alpha, cell=cell, steps=2, n=3, clamp=clamp, core_steps=core_steps)
    assert_equal(problem.run("triton", FLOAT), plainly(lambda: problem.run("triton", FLOAT)))
    assert counted.captures == 2


def test_gradients_are_the_callers(make_problem, counted):
    """As ``torch.autograd.grad`` gives them out, which copies nothing."""

    def run(seed):
        problem = make_problem(steps=2, n=3, seed=seed)
        leaves = problem.fresh_leaves(FLOAT)
        y, _ = plastic_rnn(leaves["x"], problem.params(leaves), problem.state(leaves), backend="triton")
        names = ("x", "w", "alpha", "trace")
        grads = torch.autograd.grad((y * y).sum(), [leaves[name] for name in names])
        return dict(zip(names, grads, strict=True))

    found = [run(seed) for seed in range(6)]
    assert counted.captures == 2
    for seed, grads in enumerate(found):
        assert_equal(grads, plainly(lambda seed=seed: run(seed)))


def test_without_gradients(make_problem, counted):
    for seed in range(4):
        problem = make_problem("modulated", cell="gru", steps=2, n=3, seed=seed)
        leaves = problem.fresh_leaves(FLOAT)

        def run(problem=problem, leaves=leaves):
            with torch.no_grad():
                y, state = plastic_rnn(
                    leaves["x"],
                    problem.params(leaves),
                    problem.state(leaves),
                    problem.episode_starts,
                    backend="triton",
                )
            return {"y": y, "trace": state.trace}

        assert_equal(run(), plainly(run))
    assert (counted.captures, counted.replays) == (1, 2)


@pytest.mark.parametrize(("cell", "rule", "alpha", "clamp", "core_steps", "every"), NETWORKS)
def test_recordings(make_problem, counted, collect, monkeypatch, cell, rule, alpha, clamp, core_steps, every):
    """Rollouts with other parameters, states and inputs each; the state is asked for in the middle, too."""
    monkeypatch.setattr(BACKENDS["triton"], "trace_spacing", every)
    steps, recordings = 3, {}
    for seed in range(4):
        problem = make_problem(rule, alpha, cell=cell, steps=steps, n=3, core_steps=core_steps, seed=seed)

        def run(kind, problem=problem):
            leaves = problem.fresh_leaves(FLOAT)
            params, state = problem.params(leaves), problem.state(leaves).detach()
            if kind not in recordings:
                recordings[kind] = Recording(steps, params, state, "triton")
            recording = recordings[kind]
            recording.reset(params, state)
            for t, x in enumerate(leaves["x"].detach()):
                recording.step(x, problem.episode_starts[t], params)
                if t == 1:
                    halfway = recording.state
            y, final = plastic_rnn_replay(leaves["x"], params, recording)
            problem.send_back(y, final)
            found = collect(y.clone(), final, leaves)
            return found | {f"halfway {name}": part for name, part in halfway._asdict().items()}

        assert_equal(run("captured"), plainly(lambda run=run: run("plain")))
    # Steps and the way back: once in the graph's memory, then captured.
    assert counted.captures == steps + 1
    assert counted.replays == 3 * (steps + 1)


def test_several_forward_passes_before_a_backward_pass(make_problem, counted):
    """Each has memory of its own until its gradients are there, or is run as it is."""

    def run(number, seed):
        leaves, losses = [], []
        for i in range(number):
            problem = make_problem(steps=2, n=3, seed=seed + i)
            own = problem.fresh_leaves(FLOAT)
            y, state = plastic_rnn(
                own["x"],
                problem.params(own),
                problem.state(own),
                problem.episode_starts,
                backend="triton",
            )
            losses.append((y * problem.upstream[0].to(FLOAT)).sum() + state.trace.pow(2).sum())
            leaves.append(own)
        for loss in losses:
            loss.backward(retain_graph=True)
        sum(losses).backward()
        return {f"{name} {i}": leaf.grad for i, own in enumerate(leaves) for name, leaf in own.items()}

    for seed, number in enumerate((1, 2, 2, 2, 5, 5, 1)):
        assert_equal(run(number, 10 * seed), plainly(lambda n=number, s=10 * seed: run(n, s)))
    assert counted.captures >= 4
    assert len(BACKENDS["triton"].graphs) == 4


def test_checkpoints(make_problem, counted):
    """What is let go of and computed again comes out the same, in whatever memory."""

    def run(seed):
        problem = make_problem("modulated", steps=2, n=3, seed=seed)
        leaves = problem.fresh_leaves(FLOAT)
        params, state = problem.params(leaves), problem.state(leaves)

        def twice(x):
            first, after = plastic_rnn(x, params, state, problem.episode_starts, backend="triton")
            second, _ = plastic_rnn(x, params, after, problem.episode_starts, backend="triton")
            return torch.stack((first, second))

        y = checkpoint(twice, leaves["x"], use_reentrant=False)
        (y + checkpoint(twice, y[1], use_reentrant=False)).pow(2).sum().backward()
        return {name: leaf.grad for name, leaf in leaves.items()}

    for seed in range(5):
        assert_equal(run(seed), plainly(lambda seed=seed: run(seed)))
    assert counted.replays > 5


def test_where_nothing_can_be_captured(make_problem, counted, monkeypatch):
    """Within a capture of somebody else's, and for many environments."""
    problem = make_problem(steps=2, n=3)
    expected = plainly(lambda: problem.run("triton", FLOAT))
    backend = BACKENDS["triton"]
    never = Graphs(Primitives(lambda x: None, counted.primitives.capture))
    with monkeypatch.context() as patch:
        patch.setattr(backend, "graphs", never)
        for _ in range(4):
            assert_equal(problem.run("triton", FLOAT), expected)
    from plastic_rl.ops.plastic_rnn.triton import memory

    monkeypatch.setattr(memory, "LARGEST_TRACES", 4 * 3 * 3 * 3 - 1)
    for _ in range(4):
        assert_equal(problem.run("triton", FLOAT), expected)
    assert counted.captures == 0
