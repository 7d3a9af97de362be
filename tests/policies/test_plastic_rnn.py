"""The trained layer around the operator."""

import math
from collections.abc import Iterator

import pytest
import torch

from plastic_rl.ops.plastic_rnn import PlasticParams, plastic_rnn
from plastic_rl.policies import PlasticRNN

CONFIGURATIONS = [
    ("hebb", "full", {"w", "alpha", "eta_logit"}),
    ("oja", "homogeneous", {"w", "alpha", "eta_logit"}),
    ("modulated", "full", {"w", "alpha", "w_m", "b_m", "fan_out"}),
    ("hebb", "none", {"w"}),
    ("modulated", "none", {"w"}),
]


@pytest.mark.parametrize(("rule", "alpha", "names"), CONFIGURATIONS)
def test_holds_just_the_parameters_that_its_rule_uses(rule, alpha, names):
    layer = PlasticRNN(3, 5, rule=rule, alpha=alpha)
    assert {name for name, _ in layer.named_parameters()} == names | {"drive.weight", "drive.bias"}


@pytest.mark.parametrize(("rule", "alpha", "names"), CONFIGURATIONS)
def test_every_parameter_gets_a_gradient(rule, alpha, names):
    torch.manual_seed(0)
    layer = PlasticRNN(3, 5, rule=rule, alpha=alpha, w_init=0.5, alpha_init=0.5, eta=0.3)
    y, _ = layer(torch.randn(7, 2, 3), layer.initial_state(2))
    y.square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-6, name


@pytest.mark.parametrize("core_steps", [1, 2])
def test_is_the_operator_on_a_linear_drive(core_steps):
    torch.manual_seed(0)
    layer = PlasticRNN(3, 5, eta=0.3, w_init=0.5, alpha_init=0.5, core_steps=core_steps, inner_updates="last")
    features = torch.randn(6, 2, 3)
    y, state = layer(features, layer.initial_state(2))
    params = PlasticParams(w=layer.w, alpha=layer.alpha, eta=torch.tensor(0.3), core_steps=core_steps)
    drive = features @ layer.drive.weight.T + layer.drive.bias
    expected, expected_state = plastic_rnn(drive, params, backend="reference")
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(state.trace, expected_state.trace)


@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_with_inner_updates_every_run_is_a_step_of_the_equations(cell):
    """Checked run by run, with an episode that starts in the middle: its reset counts at the first run."""
    torch.manual_seed(0)
    layer = PlasticRNN(3, 5, cell=cell, eta=0.3, w_init=0.5, alpha_init=0.5, core_steps=3)
    assert layer.inner_updates == "every"
    features = torch.randn(6, 2, 3)
    starts = torch.zeros(6, 2, dtype=torch.bool)
    starts[3, 1] = True
    y, final = layer(features, layer.initial_state(2), starts)
    once = PlasticRNN(3, 5, cell=cell, eta=0.3)
    once.load_state_dict(layer.state_dict())
    state = once.initial_state(2)
    for t in range(6):
        for run in range(3):
            y_t, state = once(features[t : t + 1], state, starts[t : t + 1] if run == 0 else None)
        torch.testing.assert_close(y[t], y_t[0])
    torch.testing.assert_close(final.trace, state.trace)
    assert final.trace.abs().max() > 0.05
    last = PlasticRNN(3, 5, cell=cell, eta=0.3, core_steps=3, inner_updates="last")
    last.load_state_dict(layer.state_dict())
    assert (last(features, last.initial_state(2), starts)[0] - y).abs().max() > 1e-3


@pytest.mark.parametrize("inner_updates", ["every", "last"])
@pytest.mark.parametrize("core_steps", [1, 2])
def test_steps_equal_the_sequence_and_leave_the_callers_state(core_steps, inner_updates):
    torch.manual_seed(0)
    layer = PlasticRNN(
        3, 5, eta=0.3, w_init=0.5, alpha_init=0.5, core_steps=core_steps, inner_updates=inner_updates
    )
    features = torch.randn(6, 2, 3)
    starts = torch.zeros(6, 2, dtype=torch.bool)
    starts[3, 1] = True
    y, final = layer(features, layer.initial_state(2), starts)
    state = layer.initial_state(2)
    for t in range(6):
        before = state.clone()
        y_t, new_state = layer.step(features[t], state, starts[t])
        torch.testing.assert_close(y_t, y[t])
        assert torch.equal(state.trace, before.trace)
        assert torch.equal(state.hidden, before.hidden)
        state = new_state
    torch.testing.assert_close(state.trace, final.trace)


def test_eta_starts_where_asked_and_stays_in_its_interval():
    layer = PlasticRNN(3, 5, eta=0.3)
    assert layer.eta.item() == pytest.approx(0.3, rel=1e-6)
    with torch.no_grad():
        layer.get_parameter("eta_logit").add_(12)
    assert 0 < layer.eta.item() < 1
    assert PlasticRNN(3, 5, alpha="none").eta is None
    assert PlasticRNN(3, 5, rule="modulated").eta is None


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"hidden_size": 0}, "hidden_size must be an integer of at least 1, got 0"),
        ({"hidden_size": 2.5}, "hidden_size .* got 2.5"),
        ({"cell": "mgu"}, "cell must be one of rnn, gru, lstm, got 'mgu'"),
        ({"rule": "hebbian"}, "rule must be one of hebb, oja, modulated, retroactive, got 'hebbian'"),
        ({"alpha": "shared"}, "alpha must be one of full, homogeneous, none, got 'shared'"),
        ({"eta": 0.0}, "eta must lie strictly between 0 and 1, got 0.0"),
        ({"eta": 1}, "eta must lie strictly between 0 and 1, got 1"),
        ({"eta": math.nan}, "eta must lie strictly between 0 and 1, got nan"),
        ({"eta": "0.1"}, "eta must lie strictly between 0 and 1, got '0.1'"),
        ({"activation": "gelu"}, "activation must be one of tanh, .* got 'gelu'"),
        ({"backend": "triton2"}, "backend must be one of auto, .* got 'triton2'"),
        ({"w_init": -1.0}, "w_init must be a finite number of at least 0, got -1.0"),
        ({"alpha_init": math.inf}, "alpha_init must be a finite number of at least 0, got inf"),
        ({"trace_clip": 0}, "trace_clip must be a finite number above 0, got 0"),
        ({"core_steps": 0}, "core_steps must be an integer of at least 1, got 0"),
        ({"core_steps": 1.5}, "core_steps must be an integer of at least 1, got 1.5"),
        ({"core_steps": True}, "core_steps must be an integer of at least 1, got True"),
        ({"inner_updates": "first"}, "inner_updates must be one of every, last, got 'first'"),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        PlasticRNN(3, **{"hidden_size": 5, **kwargs})


@pytest.fixture
def in_double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_a_session_in_double_precision(in_double: None, cell: str) -> None:
    torch.manual_seed(0)
    layer = PlasticRNN(3, 5, cell=cell, w_init=0.5, alpha_init=0.5, eta=0.3)
    features = torch.randn(6, 2, 3)
    y, state = layer(features, layer.initial_state(2))
    assert y.dtype == state.trace.dtype == torch.float64
    single = layer.float()
    near, _ = single(features.float(), single.initial_state(2))
    assert near.dtype == torch.float32
    torch.testing.assert_close(near.double(), y, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("device", ["cpu", "meta"])  # autocast knows the one, not the other
def test_features_of_another_dtype_are_named(device: str) -> None:
    layer = PlasticRNN(3, 5).to(device)
    for run in (layer.forward, layer.step):
        with pytest.raises(
            ValueError, match=r"features must have the dtype of the layer, torch.float32, got"
        ):
            run(torch.zeros(2, 3, dtype=torch.float64, device=device), layer.initial_state(2))
