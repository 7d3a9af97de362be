"""Plasticity rules of the user's own: registered by name, run and differentiated like the built-in ones."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from plastic_rl.ops.plastic_rnn import (
    PlasticParams,
    PlasticState,
    Recording,
    backends,
    plastic_rnn,
    plastic_rnn_replay,
    plastic_rnn_step_,
    register_rule,
    rule_names,
    rules,
)
from plastic_rl.policies import PlasticRNN
from plastic_rl.policies.connections import PlasticConnections

MODULATION = ("w_m", "b_m", "fan_out")


def own_hebb(y, params):
    return 1 - params.eta, params.eta * y


def own_oja(y, params):
    return 1 - params.eta * y * y, params.eta * y


def own_modulated(y, params):
    signal = torch.tanh((y * params.w_m).sum(-1, keepdim=True) + params.b_m)
    return torch.ones_like(y), params.fan_out * signal * y


def covariance(y, params):
    """What fires above the mean of its network is strengthened, what fires below is weakened."""
    return 1 - params.eta * y.abs(), params.eta * (y - y.mean(dim=-1, keepdim=True))


OWN = {
    "hebb": (own_hebb, {}),
    "oja": (own_oja, {}),
    "modulated": (own_modulated, {"parameters": MODULATION, "trace_clip": True}),
}


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Rules of one test are unknown to the next."""
    monkeypatch.setattr(rules, "_RULES", dict(rules._RULES))


def some_params(rule, n=5, **changes):
    eta = torch.tensor(0.3)
    return replace(PlasticParams(torch.zeros(n, n), torch.ones(n, n), eta, rule=rule), **changes)


@pytest.mark.parametrize("clamp", ["none", "partial"])
@pytest.mark.parametrize("alpha", ["full", "homogeneous"])
@pytest.mark.parametrize("built_in", OWN)
def test_a_built_in_rule_written_as_ones_own_is_the_same(make_problem, assert_same, built_in, alpha, clamp):
    function, options = OWN[built_in]
    register_rule("own", function, **options)
    problem = make_problem(built_in, alpha, clamp=clamp)
    own = replace(problem, rule="own")
    expected = problem.run("reference", torch.float64)
    learned = {"w", "alpha", *(MODULATION if built_in == "modulated" else ["eta"])}
    assert {f"gradient of {name}" for name in learned | {"x", "hidden", "trace"}} < expected.keys()
    assert all(value.abs().max() > 1e-2 for value in expected.values())
    assert_same(own.run("reference", torch.float64), expected, torch.float64)
    assert_same(own.run("auto", torch.float32), problem.run("numba", torch.float32), torch.float32)


def test_a_new_rule_follows_the_equations(make_problem):
    register_rule("covariance", covariance)
    problem = make_problem("covariance", resets=False)
    result = problem.run("auto", torch.float64)
    x, w, alpha, eta = (problem.leaves[name].numpy() for name in ("x", "w", "alpha", "eta"))
    for b in range(x.shape[1]):
        y, trace = problem.leaves["hidden"][b].numpy(), problem.leaves["trace"][b].numpy()
        for x_t in x[:, b]:
            before, y = y, np.tanh(x_t + y @ (w + alpha * trace))
            trace = (1 - eta * abs(y)) * trace + np.outer(before, eta * (y - y.mean()))
        np.testing.assert_allclose(result["y"][-1, b], y, rtol=1e-12)
        np.testing.assert_allclose(result["final trace"][b], trace, rtol=1e-12)


def test_gradients_of_a_new_rule_are_right(make_problem):
    register_rule("covariance", covariance)
    problem = make_problem("covariance", steps=4, batch=2, n=3)
    leaves = problem.fresh_leaves(torch.float64)

    def outputs(*tensors):
        named = dict(zip(leaves, tensors, strict=True))
        state = PlasticState(named["hidden"], named["trace"])
        y, final = plastic_rnn(named["x"], problem.params(named), state, problem.episode_starts)
        return y, *final

    assert torch.autograd.gradcheck(outputs, tuple(leaves.values()))


def test_steps_and_recordings_equal_the_sequence(make_problem):
    register_rule("covariance", covariance)
    problem = make_problem("covariance")
    expected = problem.run("auto", torch.float32)
    leaves = problem.fresh_leaves(torch.float32)
    params, state = problem.params(leaves), PlasticState(leaves["hidden"], leaves["trace"]).detach()
    recording = Recording(len(leaves["x"]), params, state)
    for t, starts in enumerate(problem.episode_starts):
        recording.step(leaves["x"][t], starts, params)
    y, final = plastic_rnn_replay(leaves["x"], params, recording)
    problem.send_back(y, final)
    torch.testing.assert_close(y, expected["y"])
    for name in ("x", "w", "alpha", "eta"):
        torch.testing.assert_close(leaves[name].grad, expected[f"gradient of {name}"])
    acting = state.clone()
    for t, starts in enumerate(problem.episode_starts):
        y = plastic_rnn_step_(leaves["x"][t], params, acting, starts)
        torch.testing.assert_close(y, expected["y"][t])
    torch.testing.assert_close(acting.trace, expected["final trace"])


def test_auto_says_once_why_it_takes_the_reference(caplog):
    backends._say.cache_clear()
    register_rule("own", own_hebb)
    x, params = torch.zeros(2, 3, 5), some_params("own")
    with caplog.at_level(logging.INFO, logger="plastic_rl"):
        for _ in range(3):
            plastic_rnn(x, params)
    backends._say.cache_clear()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "plastic_rnn: backend 'reference', many times slower than 'numba', which is compiled for the rules "
        "hebb, oja, modulated, retroactive, got 'own'"
    )


def test_numba_refuses_a_rule_that_is_not_built_in(monkeypatch):
    register_rule("own", own_hebb)
    for form in ("sequence", "step", "tape"):
        monkeypatch.setattr(backends.BACKENDS["numba"], form, lambda *_: pytest.fail("a backend was reached"))
    params = some_params("own")
    state = PlasticState(torch.zeros(3, 5), torch.zeros(3, 5, 5))
    rules_of_its_own = "hebb, oja, modulated, retroactive"
    message = f"backend 'numba' is compiled for the rules {rules_of_its_own}, got 'own': use 'reference'"
    with pytest.raises(ValueError, match=message):
        plastic_rnn(torch.zeros(2, 3, 5), params, backend="numba")
    with pytest.raises(ValueError, match=message):
        plastic_rnn_step_(torch.zeros(3, 5), params, state, backend="numba")
    with pytest.raises(ValueError, match=message):
        Recording(2, params, state, backend="numba")


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("", own_hebb), {}, "name must be a text of at least one character, got ''"),
        ((own_hebb, "own"), {}, "name must be a text of at least one character, got <function"),
        (
            ("oja", own_oja),
            {},
            r"name must not be that of a built-in rule \(hebb, oja, modulated, retroactive\), got 'oja'",
        ),
        (("oja", own_oja), {"overwrite": True}, "name must not be that of a built-in rule"),
        (("taken", own_oja), {}, "name must be new, got 'taken', which is registered: overwrite=True"),
        (("own", "hebb"), {}, r"decay_and_gain must be a function of \(y, params\), got 'hebb'"),
        (
            ("own", own_hebb),
            {"parameters": ("eta", "w")},
            "parameters must be some of eta, w_m, b_m, fan_out",
        ),
        (("own", own_hebb), {"parameters": "eta"}, "parameters must be some of .* got 'eta'"),
        (("own", own_hebb), {"trace_clip": 2.0}, "trace_clip must be true or false, got 2.0"),
    ],
)
def test_what_cannot_be_registered(arguments, options, message):
    register_rule("taken", own_hebb)
    before = dict(rules._RULES)
    with pytest.raises(ValueError, match=message):
        register_rule(*arguments, **options)
    assert before == rules._RULES


def test_a_rule_can_be_replaced():
    register_rule("own", own_hebb)
    register_rule("own", own_oja, trace_clip=True, overwrite=True)
    own = rules.get_rule("own")
    assert (own.decay_and_gain, own.parameters, own.trace_clip) == (own_oja, ("eta",), True)
    assert rule_names() == ("hebb", "oja", "modulated", "retroactive", "own")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda y, p: p.eta * y, "rule 'own' must return two tensors, decay and gain, got Tensor"),
        (lambda y, p: (p.eta, y, y), "rule 'own' must return two tensors, decay and gain, got tuple"),
        (lambda y, p: None, "rule 'own' must return two tensors, decay and gain, got NoneType"),
        (lambda y, p: (1.0, y), "rule 'own' must return a tensor as decay, got float"),
        (lambda y, p: (p.eta, y.numpy()), "rule 'own' must return a tensor as gain, got ndarray"),
        (lambda y, p: (p.eta, y.mean(-1)), r"rule 'own' must return gain as \(2, 5\) or \(\) .* got \(2,\)"),
        (lambda y, p: (y.sum(0), y), r"rule 'own' must return decay as \(2, 5\) or \(\) .* got \(5,\)"),
        (lambda y, p: (p.eta, y.double()), r"rule 'own' must return gain as .* got .* torch\.float64"),
    ],
)
def test_a_wrong_rule_is_found_before_any_work_is_done(returned, message):
    register_rule("own", returned)
    with pytest.raises(ValueError, match=message):
        PlasticRNN(3, 5, rule="own")
    with pytest.raises(ValueError, match=message):
        PlasticConnections(3, 5, rule="own")
    with pytest.raises(ValueError, match=message):
        plastic_rnn(torch.zeros(4, 2, 5), some_params("own"))


def test_an_unknown_rule_is_told_what_there_is():
    register_rule("own", own_hebb)
    message = (
        "rule must be one of hebb, oja, modulated, retroactive, own, got 'Own' .*plastic_rl.register_rule"
    )
    with pytest.raises(ValueError, match=message):
        PlasticRNN(3, 5, rule="Own")
    with pytest.raises(ValueError, match=message):
        PlasticConnections(3, 5, rule="Own")
    with pytest.raises(ValueError, match=f"params.{message}"):
        plastic_rnn(torch.zeros(4, 2, 5), some_params("Own"))


@pytest.mark.parametrize("parameters", [(), ("eta",), ("eta", "fan_out"), ("eta", *MODULATION)])
def test_a_network_has_just_the_parameters_that_its_rule_asks_for(parameters):
    def rule(y, params):
        gain = torch.tanh(y @ params.w_m + params.b_m).unsqueeze(-1) * y if "w_m" in parameters else y
        for name in {"eta", "fan_out"} & set(parameters):
            gain = gain * getattr(params, name)
        return torch.full_like(y, 0.9), gain

    register_rule("own", rule, parameters=parameters)
    torch.manual_seed(0)
    layer = PlasticRNN(3, 5, rule="own", w_init=0.5, alpha_init=0.5, eta=0.3)
    names = {"eta_logit" if name == "eta" else name for name in parameters}
    assert {name for name, _ in layer.named_parameters()} == names | {
        "drive.weight",
        "drive.bias",
        "w",
        "alpha",
    }
    y, _ = layer(torch.randn(7, 2, 3), layer.initial_state(2))
    y.square().sum().backward()
    assert all(parameter.grad.abs().max() > 1e-6 for parameter in layer.parameters())
    plain = PlasticRNN(3, 5, rule="own", alpha="none")
    assert {name for name, _ in plain.named_parameters()} == {"drive.weight", "drive.bias", "w"}


def test_parameters_that_the_rule_does_not_use_are_refused():
    register_rule("own", own_modulated, parameters=MODULATION)
    with pytest.raises(ValueError, match=r"params\.eta must be None with rule 'own'"):
        plastic_rnn(torch.zeros(4, 2, 5), some_params("own"))
    with pytest.raises(ValueError, match=r"params\.w_m must be given with rule 'own', got None"):
        plastic_rnn(torch.zeros(4, 2, 5), some_params("own", eta=None))


@pytest.mark.parametrize("clipped", [False, True])
def test_the_trace_is_bounded_where_the_rule_asks_for_it(clipped):
    register_rule("own", lambda y, params: (torch.ones_like(y), 4 * params.eta * y), trace_clip=clipped)
    params = some_params("own", alpha=torch.tensor(0.0), trace_clip=0.25)
    _, state = plastic_rnn(torch.full((9, 1, 5), 0.5), params)
    largest = state.trace.abs().max().item()
    assert largest == 0.25 if clipped else largest > 1
    if clipped:
        with pytest.raises(ValueError, match=r"params\.trace_clip must be a finite number above 0, got 0"):
            plastic_rnn(torch.zeros(4, 2, 5), replace(params, trace_clip=0))
