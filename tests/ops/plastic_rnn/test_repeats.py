"""Steps that stand for several: held against the reference, and that against the long form."""

import pytest
import torch

from plastic_rl.ops.plastic_rnn import ACTIVATIONS, RULES, reference
from plastic_rl.ops.plastic_rnn.written_out import repeats_written_out

ALPHAS = ("full", "homogeneous", "none")
ONE_TRACE = [name for name, definition in RULES.items() if not definition.eligibility]


def make_repeated(make_problem, rule="hebb", alpha="full", *, steps=21, most=6, seed=5, **arguments):
    """A problem whose steps are clamped in full and repeated, clamped in part or free, all mixed."""
    problem = make_problem(rule, alpha, steps=steps, clamp="partial", seed=seed, **arguments)
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(0, 4, (steps,), generator=generator)
    mask = problem.clamp[1]
    mask[kind <= 1] = True
    mask[kind == 2] = False
    count = torch.randint(1, most + 1, (steps,), generator=generator)
    problem.repeats = torch.where(kind <= 1, count, 1)
    problem.repeats[kind.argmin()] = most
    assert mask.flatten(1).all(1)[kind.argmin()]
    return problem


def written_out(problem):
    """The same problem with every repeated step written out, and the places of the listed ones."""
    long = type(problem)(**vars(problem))
    counts = problem.repeats
    index = torch.arange(counts.numel()).repeat_interleave(counts)
    last = counts.cumsum(0) - 1
    long.repeats = None
    long.leaves = problem.leaves | {"x": problem.leaves["x"][index]}
    long.clamp = tuple(part[index] for part in problem.clamp)
    if problem.episode_starts is not None:
        first = torch.zeros(index.numel(), dtype=torch.bool)
        first[last - counts + 1] = True
        long.episode_starts = problem.episode_starts[index] & first[:, None]
    dy = torch.zeros(index.numel(), *problem.upstream[0].shape[1:], dtype=torch.float64)
    dy[last] = problem.upstream[0]
    long.upstream = (dy, *problem.upstream[1:])
    return long, last


@pytest.mark.pairwise
@pytest.mark.parametrize("core_steps", [1, 2])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("rule", ONE_TRACE)
def test_reference_takes_a_step_so_many_times(make_problem, assert_same, rule, alpha, core_steps):
    problem = make_repeated(make_problem, rule, alpha, core_steps=core_steps)
    long, last = written_out(problem)
    expected = long.run("reference", torch.float64)
    expected["y"] = expected["y"][last]
    result = problem.run("reference", torch.float64)
    # Clamped steps get no gradient of x; free ones are listed as they are written out.
    expected["gradient of x"] = expected["gradient of x"][last]
    assert_same(result, expected, torch.float64)


@pytest.mark.parametrize("optional", [True, False])
def test_written_out_they_are_the_same_steps(make_problem, optional):
    problem = make_problem("oja", clamp="partial", steps=5)
    problem.episode_starts[2, 1] = True
    starts, clamp = (problem.episode_starts, problem.clamp) if optional else (None, None)
    params, state = problem.params(problem.leaves), problem.state(problem.leaves)
    arguments = problem.leaves["x"], params, state, starts, clamp, torch.tensor([2, 1, 4, 1, 3])
    y, final = repeats_written_out(reference.run, *arguments)
    expected, expected_final = reference.run(*arguments)
    assert torch.equal(y, expected)
    assert torch.equal(final.trace, expected_final.trace)


@pytest.mark.pairwise
@pytest.mark.parametrize("core_steps", [1, 2, 3])
@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("eta", [0.02, 0.14, 0.95])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("rule", ONE_TRACE)
def test_parity(make_problem, assert_same, rule, alpha, eta, resets, core_steps):
    """Undone between stored traces (small eta) and rolled forward."""
    for seed, most in ((5, 2), (6, 6), (7, 20)):
        problem = make_repeated(
            make_problem,
            rule,
            alpha,
            n=11,
            eta=eta,
            resets=resets,
            most=most,
            seed=seed,
            core_steps=core_steps,
        )
        expected = problem.run("reference", torch.float64)
        for name, value in expected.items():
            if value.numel() > 0:
                assert value.abs().max() > 1e-3, name
        assert_same(problem.run("numba", torch.float32), expected, torch.float32)


@pytest.mark.pairwise
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("rule", ONE_TRACE)
def test_parity_of_activations(make_problem, assert_same, rule, activation):
    problem = make_repeated(make_problem, rule, activation=activation, n=16)
    problem.leaves["x"] *= 0.5
    assert_same(problem.run("numba", torch.float32), problem.run("reference", torch.float64), torch.float32)


@pytest.mark.parametrize("eta", [0.01, 0.04, 0.1])
@pytest.mark.parametrize("rule", ["hebb", "oja"])
def test_parity_over_many_repeats(make_problem, assert_same, rule, eta):
    """Stored traces lie closer, and a step that cannot be undone at a stroke is not."""
    for steps, most in ((40, 10), (12, 200)):
        problem = make_repeated(make_problem, rule, steps=steps, eta=eta, most=most)
        expected = problem.run("reference", torch.float64)
        assert_same(problem.run("numba", torch.float32), expected, torch.float32)


def test_parity_where_the_clip_is_reached_within_repeats(make_problem, assert_same):
    problem = make_repeated(make_problem, "modulated", most=9, resets=False)
    problem.leaves["fan_out"] *= 0.6
    expected = problem.run("reference", torch.float64)
    clipped = (expected["final trace"].abs() == 0.4).double().mean()
    assert 0.05 < clipped < 0.95, "the clip must be active on a part of the trace"
    assert_same(problem.run("numba", torch.float32), expected, torch.float32)


@pytest.mark.parametrize("eta", [0.02, 0.4])
@pytest.mark.parametrize("value", [0.0, 1.0, -3.0])
def test_parity_at_special_clamp_values(make_problem, assert_same, value, eta):
    """Oja's decay 1 - eta y^2 is 1 at y = 0 and may be 0 or negative where |y| > 1."""
    problem = make_repeated(make_problem, "oja", eta=eta, most=5)
    values, _ = problem.clamp
    repeated = problem.repeats > 1
    values[repeated] = value
    values[repeated, :, 0] = 1 / eta**0.5 if value else 0.0
    assert_same(problem.run("numba", torch.float32), problem.run("reference", torch.float64), torch.float32)


@pytest.mark.parametrize("core_steps", [1, 2])
@pytest.mark.parametrize("rule", ONE_TRACE)
def test_repeated_steps_alone(make_problem, assert_same, rule, core_steps):
    """Nothing free between them, one of them at the start of an episode, one the only step."""
    for steps in (1, 2, 5):
        problem = make_problem(rule, steps=steps, clamp="full", resets=False, core_steps=core_steps)
        problem.repeats = torch.arange(4, 4 + steps)
        problem.episode_starts = torch.zeros(steps, 3, dtype=torch.bool)
        problem.episode_starts[-1, 1] = True
        expected = problem.run("reference", torch.float64)
        assert_same(problem.run("numba", torch.float32), expected, torch.float32)


@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.uint8])
def test_any_integers_will_do(make_problem, kind):
    problem = make_repeated(make_problem)
    for counts in (problem.repeats, torch.ones(21, dtype=torch.int64)):
        problem.repeats = counts
        expected = problem.run("numba", torch.float32)
        problem.repeats = counts.to(kind)
        result = problem.run("numba", torch.float32)
        for name, value in result.items():
            assert torch.equal(value, expected[name]), name
    problem.repeats = None
    for name, value in problem.run("numba", torch.float32).items():
        assert torch.equal(value, result[name]), name


def test_traces_are_stored_before_undoing_grows_inexact(make_problem):
    memory = pytest.importorskip("plastic_rl.ops.plastic_rnn.numba.memory")
    params = make_problem(eta=0.05).params(make_problem(eta=0.05).fresh_leaves(torch.float32))
    counts = torch.arange(60).remainder(7).add(1).numpy()
    plan = memory.plan(params, memory.no_traces(), counts)
    spans = [counts[plan.places == place] for place in range(len(plan.firsts))]
    assert plan.undo
    assert [int(first) for first in plan.firsts] == [
        sum(map(len, spans[:place])) for place in range(len(spans))
    ]
    for span, following in zip(spans, [*spans[1:], None], strict=True):
        assert 0.95 ** -span.sum() <= memory.MAX_AMPLIFICATION
        if following is not None:  # and no earlier than necessary
            assert 0.95 ** -(span.sum() + following[0]) > memory.MAX_AMPLIFICATION
    counts[30] = 100  # one step alone that loses too much
    assert not memory.plan(params, memory.no_traces(), counts).undo
