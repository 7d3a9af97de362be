"""A fused rule is one definition: packing, gradients and undoing follow from it, not from the rule's name."""

from dataclasses import replace

import pytest
import torch

from plastic_rl.ops.plastic_rnn import (
    PlasticParams,
    PlasticState,
    Recording,
    cells,
    plastic_rnn_replay,
    rules,
)

memory = pytest.importorskip("plastic_rl.ops.plastic_rnn.numba.memory")


ONE_TRACE = [name for name, definition in rules.RULES.items() if not definition.eligibility]


@pytest.fixture(params=ONE_TRACE)
def second(request, monkeypatch):
    """Each built-in rule once more under another name, last in the table, with its code in the kernels."""
    definition = replace(rules.RULES[request.param], name="second")
    monkeypatch.setitem(rules.RULES, "second", definition)
    monkeypatch.setitem(rules._RULES, "second", definition)
    return request.param


@pytest.mark.parametrize("eta", [0.08, 0.6])
@pytest.mark.parametrize("alpha", ["full", "homogeneous"])
def test_another_name_changes_nothing(make_problem, assert_same, second, alpha, eta):
    problem = make_problem("second", alpha, eta=eta)
    expected = problem.run("reference", torch.float64)
    of_its_own = {f"gradient of {name}" for name in rules.RULES[second].parameters}
    assert of_its_own < expected.keys()
    assert all(expected[name].abs().max() > 1e-2 for name in of_its_own)
    assert_same(problem.run("numba", torch.float32), expected, torch.float32)
    assert_same(
        problem.run("auto", torch.float32),
        make_problem(second, alpha, eta=eta).run("numba", torch.float32),
        torch.float32,
    )


def test_another_name_can_be_recorded(make_problem, assert_same, second):
    problem = make_problem("second")
    leaves = problem.fresh_leaves(torch.float32)
    params, state = problem.params(leaves), PlasticState(leaves["hidden"], leaves["trace"])
    recording = Recording(len(leaves["x"]), params, state.detach(), "numba")
    for t, x in enumerate(leaves["x"].detach()):
        recording.step(x, problem.episode_starts[t], params)
    y, final = plastic_rnn_replay(leaves["x"], params, recording)
    problem.send_back(y, final)
    expected = problem.run("reference", torch.float64)
    result = {
        f"gradient of {name}": leaves[name].grad for name in ("x", "w", *rules.RULES[second].parameters)
    }
    assert_same(result, {name: expected[name] for name in result}, torch.float32)


def test_all_that_a_definition_names_is_packed(make_problem, monkeypatch):
    everything = ("eta", "w_m", "b_m", "fan_out")
    for clipped in (False, True):
        definition = rules.RuleDefinition("made_up", rules.hebb, everything, trace_clip=clipped, code=17)
        monkeypatch.setitem(rules._RULES, "made_up", definition)
        params = PlasticParams(
            torch.zeros(3, 3), torch.ones(()), torch.tensor(0.25), "made_up", "relu",
            torch.tensor([1.0, 2, 3]), torch.tensor(0.5), torch.tensor([4.0, 5, 6]), trace_clip=0.75,
        )  # fmt: skip
        packed = memory.rule_of(params)
        assert (packed.code, packed.eta, packed.b_m) == (17, 0.25, 0.5)
        assert packed.activation == rules.ACTIVATIONS["relu"].code
        assert packed.bound == (0.75 if clipped else float("inf"))
        assert packed.w_m[:4].tolist() == [1, 2, 3, 0]
        assert packed.fan_out[:4].tolist() == [4, 5, 6, 0]


def test_every_code_is_that_of_one_definition():
    for table in (rules.RULES, rules.ACTIVATIONS, cells.CELLS):
        codes = [definition.code for definition in table.values() if definition.code is not None]
        assert codes
        assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    ("rule", "activation", "bound", "expected"),
    [
        ("hebb", "tanh", 0.0, 26),  # .9^-26 < 16 < .9^-27
        ("hebb", "linear", 5.0, 26),
        ("oja", "tanh", 1.0, 26),
        ("oja", "tanh", 2.0, 5),  # decay 1 - .1 * 4
        ("oja", "tanh", 4.0, 0),  # 1 - .1 * 16 < 0
        ("oja", "relu", 0.0, 0),
        ("modulated", "tanh", 0.0, 0),
    ],
)
def test_how_far_updates_can_be_undone(make_problem, rule, activation, bound, expected):
    problem = make_problem(rule, eta=0.1, activation=activation)
    params = problem.params(problem.fresh_leaves(torch.float64))
    assert rules.get_rule(rule).span_to_undo(params, bound, 16.0) == expected


def test_a_rule_that_says_nothing_is_not_undone(make_problem, monkeypatch):
    definition = replace(rules.RULES["hebb"], name="second", smallest_decay=None)
    monkeypatch.setitem(rules._RULES, "second", definition)
    params = make_problem("second").params(make_problem("second").fresh_leaves(torch.float32))
    counts = memory.no_repeats(40)
    assert not memory.plan(params, memory.no_traces(), counts).undo
    assert memory.plan(replace(params, rule="hebb"), memory.no_traces(), counts).undo
