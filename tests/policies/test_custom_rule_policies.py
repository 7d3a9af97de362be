"""Networks, policies and models whose plasticity rule is the user's own."""

import numpy as np
import pytest
import torch
from stable_baselines3.common.evaluation import evaluate_policy

from plastic_rl import PlasticA2C, register_rule
from plastic_rl.ops.plastic_rnn import rules
from plastic_rl.policies import Autoassociator, PlasticClassifier, PlasticPolicy
from plastic_rl.policies.transfer import load_core


def own_hebb(y, params):
    return 1 - params.eta, params.eta * y


def own_oja(y, params):
    return 1 - params.eta * y**2, params.eta * y


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Rules of one test are unknown to the next."""
    monkeypatch.setattr(rules, "_RULES", dict(rules._RULES))


def make_model(rule, **policy_kwargs):
    kwargs = {"hidden_size": 6, "eta": 0.3, "alpha_init": 0.5, "rule": rule, **policy_kwargs}
    return PlasticA2C("MlpPolicy", "CartPole-v1", n_steps=16, policy_kwargs=kwargs, device="cpu", seed=3)


def numbers(policy):
    return {name: parameter.detach().clone() for name, parameter in policy.named_parameters()}


def forget_own_rules():
    for name in set(rules.rule_names()) - set(rules.RULES):
        del rules._RULES[name]


def test_a_model_learns_just_as_with_the_built_in_rule():
    register_rule("own", own_oja)
    own = make_model("own").learn(160)
    expected = numbers(make_model("oja", backend="reference").learn(160).policy)
    start = numbers(make_model("own").policy)
    assert own.policy.core.rule == "own"
    for name, value in numbers(own.policy).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)
    assert not torch.equal(expected["core.eta_logit"], start["core.eta_logit"])
    assert not torch.equal(expected["core.alpha"], start["core.alpha"])
    hebb = numbers(make_model("hebb", backend="reference").learn(160).policy)
    assert not torch.equal(hebb["core.alpha"], expected["core.alpha"])


def test_evaluation_and_acting_run_the_rule():
    calls = []

    def counted(y, params):
        calls.append(y.shape)
        return own_hebb(y, params)

    register_rule("own", counted)
    model = make_model("own")
    calls.clear()
    evaluate_policy(model, model.get_env(), n_eval_episodes=1)
    _, state = model.predict(np.zeros(4, np.float32))
    assert set(calls) == {(1, 6)}
    assert len(calls) > 2
    assert state.trace.shape == (1, 6, 6)


def test_a_saved_model_needs_its_rule(tmp_path):
    register_rule("own", own_oja)
    model = make_model("own").learn(32)
    model.save(tmp_path / "model.zip")
    model.policy.save(tmp_path / "policy.pth")
    obs = model.get_env().reset()
    forget_own_rules()
    missing = "rule must be one of hebb, oja, modulated, retroactive, got 'own' .*registered first"
    with pytest.raises(ValueError, match=missing):
        PlasticA2C.load(tmp_path / "model.zip")
    with pytest.raises(ValueError, match=missing):
        PlasticPolicy.load(tmp_path / "policy.pth")
    with pytest.raises(ValueError, match=rf"model\.zip cannot be used: {missing}"):
        load_core(tmp_path / "model.zip", make_model("oja").policy)

    register_rule("own", own_oja)
    loaded = PlasticA2C.load(tmp_path / "model.zip", env=model.get_env())
    for name, value in numbers(loaded.policy).items():
        torch.testing.assert_close(value, numbers(model.policy)[name], rtol=0, atol=0)
    state = loaded_state = None
    for _ in range(5):
        _, state = model.predict(obs, state, deterministic=True)
        _, loaded_state = loaded.predict(obs, loaded_state, deterministic=True)
    assert np.abs(state.trace).max() > 0
    np.testing.assert_array_equal(loaded_state.trace, state.trace)
    loaded.learn(32)


@pytest.mark.parametrize("trace_clip", [False, True])
def test_a_core_moves_only_to_one_with_the_same_rule_and_bound(tmp_path, trace_clip):
    register_rule("own", own_oja, trace_clip=trace_clip)
    make_model("own", trace_clip=3.0).save(tmp_path / "model.zip")
    assert "core.alpha" in load_core(tmp_path / "model.zip", make_model("own", trace_clip=3.0).policy).copied
    with pytest.raises(ValueError, match=r"rule='own'.*rule='oja'"):
        load_core(tmp_path / "model.zip", make_model("oja").policy)
    other = make_model("own", trace_clip=4.0)
    if not trace_clip:
        load_core(tmp_path / "model.zip", other.policy)
        return
    with pytest.raises(ValueError, match=r"trace_clip=3\.0.*trace_clip=4\.0"):
        load_core(tmp_path / "model.zip", other.policy)


def outputs_and_gradients(network, observations):
    out = network(observations)
    out.square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    return {"outputs": out.detach(), **gradients}


def test_the_autoassociator_takes_it():
    register_rule("own", own_oja)
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randint(0, 2, (3, 4, 7), generator=generator).float() * 2 - 1
    observations = torch.cat((patterns.repeat_interleave(3, 0), torch.zeros(1, 4, 7), patterns[:1]))
    observations[-1, :, ::2] = 0
    results = []
    for rule in ("own", "oja"):
        torch.manual_seed(1)
        results.append(
            outputs_and_gradients(Autoassociator(7, rule=rule, eta=0.3, alpha_init=0.3), observations)
        )
    assert results[0].keys() == results[1].keys()
    for name, value in results[0].items():
        assert value.abs().max() > 1e-4, name
        torch.testing.assert_close(value, results[1][name])


@pytest.mark.parametrize("clipped", [False, True])
def test_the_classifier_takes_it(clipped):
    register_rule("own", own_oja, trace_clip=clipped)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 4, 961, generator=generator) * 100
    labels = torch.eye(2)[torch.tensor([[0] * 4, [1] * 4, [0] * 4])]
    labels[2] = 0
    observations = {"image": images, "label": labels}
    networks = []
    for rule in ("own", "oja"):
        torch.manual_seed(1)
        networks.append(PlasticClassifier(2, channels=64, rule=rule, eta=0.95))
    own, expected = (outputs_and_gradients(network, observations) for network in networks)
    same = all(torch.allclose(own[name], expected[name], rtol=1e-5, atol=1e-6) for name in expected)
    assert expected["connections.alpha"].abs().max() > 1e-3
    assert same != clipped  # these traces are larger than the bound

    state = networks[0].initial_state(4)
    for t in range(3):
        logits, state = networks[0].step({"image": images[t], "label": labels[t]}, state)
    torch.testing.assert_close(logits, own["outputs"])
    assert (state[0].abs().max() <= 2) == clipped


@pytest.mark.parametrize(
    "make", [lambda rule: Autoassociator(7, rule=rule), lambda rule: PlasticClassifier(2, rule=rule)]
)
def test_networks_without_a_modulating_neuron_say_which_rules_they_take(make):
    register_rule("own", own_oja)
    register_rule("signalled", own_oja, parameters=("eta", "w_m"))
    with pytest.raises(ValueError, match="rule must be one of hebb, oja, own, got 'signalled'"):
        make("signalled")
