"""Layers and policies under ``torch.compile`` and ``torch.export``."""

import pytest
import torch

from plastic_rl import PlasticA2C
from plastic_rl.ops.plastic_rnn import map_state
from plastic_rl.policies import PlasticPolicy, PlasticRNN

pytestmark = pytest.mark.usefixtures("forget_graphs")

CORES = [
    {},
    {"rule": "modulated", "core_steps": 2},
    {"cell": "gru", "rule": "retroactive"},
    {"cell": "lstm", "alpha": "none", "core_steps": 2},
]


@pytest.mark.parametrize(
    ("backend", "options"), [*(("numba", core) for core in CORES), ("reference", CORES[1]), ("auto", {})]
)
def test_a_layer_is_compiled_and_exported(backend, options):
    torch.manual_seed(0)
    layer = PlasticRNN(5, 6, backend=backend, **options)
    features, state = torch.randn(3, 3, 5), layer.initial_state(3)
    starts = torch.zeros(3, 3, dtype=torch.bool)
    starts[1, 1] = True
    wanted, after = layer(features, state, starts)
    wanted.square().sum().backward()
    gradients = {name: parameter.grad.clone() for name, parameter in layer.named_parameters()}
    layer.zero_grad()

    y, carried = torch.compile(layer, backend="aot_eager", fullgraph=True)(features, state, starts)
    y.square().sum().backward()
    torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(carried.trace, after.trace)
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], msg=name)

    exported = torch.export.export(layer, (features, state, starts))
    torch.testing.assert_close(exported.module()(features, state, starts)[0], wanted)
    nodes = [str(node.target) for node in exported.graph.nodes]
    assert ("plastic_rl.sequence.default" in nodes) == (backend == "numba")


@pytest.mark.parametrize(
    ("options", "shared"),
    [
        (CORES[0], True),
        pytest.param(CORES[1], True, marks=pytest.mark.slow),
        pytest.param(CORES[2], True, marks=pytest.mark.slow),
        (CORES[2], False),
        (CORES[3], True),
    ],
)
def test_a_policy_acts_the_same(options, shared):
    kwargs = {"hidden_size": 6, "share_features_extractor": shared, **options}
    model = PlasticA2C("MlpPolicy", "CartPole-v1", n_steps=8, policy_kwargs=kwargs, seed=0)
    policy = model.policy
    assert isinstance(policy, PlasticPolicy)
    compiled = torch.compile(policy, backend="aot_eager", fullgraph=True)
    obs, starts = torch.randn(3, 4), torch.tensor([False, True, False])
    state = policy.initial_state(3)
    for turn in range(3):
        # With gradients once, then as policies act.
        with torch.set_grad_enabled(turn == 0):
            actions, values, log_prob, after = compiled(obs, state, starts, deterministic=True)
            wanted = policy(obs, state, starts, deterministic=True)
        assert torch.equal(actions, wanted[0])
        torch.testing.assert_close(values, wanted[1])
        torch.testing.assert_close(log_prob, wanted[2])
        torch.testing.assert_close(after, wanted[3])
        state = map_state(torch.Tensor.detach, after)
    assert state.actor.hidden.abs().max() > 0


def test_a_model_learns_after_its_policy_was_compiled():
    model = PlasticA2C("MlpPolicy", "CartPole-v1", n_steps=8, policy_kwargs={"hidden_size": 6}, seed=0)
    model.policy.compile(backend="aot_eager")
    before = model.policy.get_parameter("core.w").detach().clone()
    model.learn(32)
    assert not torch.equal(before, model.policy.get_parameter("core.w"))
