"""Gated cells and retroactive modulation in layers, policies, saved models and callbacks."""

import json
import math
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from plastic_rl import PlasticA2C
from plastic_rl.ops.plastic_rnn import CELLS, RULES
from plastic_rl.policies import PlasticRNN
from plastic_rl.tracking.plasticity import plasticity_values

STRONG = {"w_init": 0.5, "alpha_init": 0.5, "eta": 0.3}
OF_CELL = {"rnn": set(), "gru": {"w_gates", "b_u"}, "lstm": {"w_gates"}}


class Coin(gym.Env):
    """Observations are noise, rewards too: something to run on."""

    observation_space = spaces.Box(-1, 1, (3,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._see(), {}

    def step(self, action):
        self.t += 1
        return self._see(), float(self.np_random.normal()), self.t == 7, False, {}

    def _see(self):
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)


def make_model(**policy_kwargs):
    kwargs = {"hidden_size": 5, **STRONG, **policy_kwargs}
    return PlasticA2C("MlpPolicy", Coin(), n_steps=9, policy_kwargs=kwargs, seed=0, device="cpu")


@pytest.mark.parametrize("alpha", ["full", "none"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("cell", CELLS)
def test_a_layer_trains_the_parameters_of_its_cell_and_rule(cell, rule, alpha):
    torch.manual_seed(0)
    layer = PlasticRNN(3, 5, cell=cell, rule=rule, alpha=alpha, **STRONG)
    of_rule = {"eta_logit" if name == "eta" else name for name in RULES[rule].parameters} | {"alpha"}
    of_rule = set() if alpha == "none" else of_rule
    names = {name for name, _ in layer.named_parameters()}
    assert names == {"drive.weight", "drive.bias", "w"} | of_rule | OF_CELL[cell]
    assert layer.drive.weight.shape == (len(CELLS[cell].parts) * 5, 3)
    assert f"cell={cell}" in repr(layer)
    features = torch.randn(9, 2, 3)
    y, state = layer(features, layer.initial_state(2))
    y.square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad.abs().max() > 1e-6, name
    acting = layer.initial_state(2)
    for t in range(9):
        out, acting = layer.step(features[t], acting)
        torch.testing.assert_close(out, y[t].detach())
    torch.testing.assert_close(acting, state.detach())
    scaled = {id(parameter) for parameter in layer.scaled_parameters()}
    assert scaled == {id(p) for name, p in layer.named_parameters() if name in ("w", "alpha")}


def test_gates_start_as_in_torch():
    torch.manual_seed(0)
    bound = 1 / math.sqrt(64)
    for cell in ("gru", "lstm"):
        layer = PlasticRNN(3, 64, cell=cell)
        for tensor in (layer.w_gates, layer.w):
            assert tensor.abs().max() <= bound
            assert tensor.min() < -0.95 * bound
            assert tensor.max() > 0.95 * bound
        small = PlasticRNN(3, 64, cell=cell, w_init=0.02)
        assert 0 <= small.w.min() < small.w.max() <= 0.02
        assert small.w_gates.min() < -0.95 * bound
    assert 0 <= PlasticRNN(3, 64).w.min() < PlasticRNN(3, 64).w.max() <= 0.01


@pytest.mark.parametrize(("cell", "rule"), [("gru", "hebb"), ("lstm", "modulated"), ("gru", "retroactive")])
def test_a_policy_learns_is_saved_and_goes_on(tmp_path, cell, rule):
    model = make_model(cell=cell, rule=rule)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(27)
    changed = [
        name for name, value in model.policy.state_dict().items() if not torch.equal(value, before[name])
    ]
    assert {f"core.{name}" for name in OF_CELL[cell] | {"w", "alpha"}} < set(changed)
    values = plasticity_values(model)
    assert values["plasticity/trace_norm"] > 1e-4
    assert ("plasticity/eligibility_norm" in values) == (rule == "retroactive")
    assert values.get("plasticity/eligibility_norm", 1) > 1e-4
    model.save(tmp_path / "model")
    loaded = PlasticA2C.load(tmp_path / "model", env=Coin())
    assert loaded.policy.core.cell == cell
    seen, state, other = np.full(3, 0.5, np.float32), None, None
    for _ in range(3):
        _, state = model.predict(seen, state, deterministic=True)
        _, other = loaded.predict(seen, other, deterministic=True)
    assert state.cell.shape == (1, 5 if cell == "lstm" else 0)
    for part, same in zip(state, other, strict=True):
        np.testing.assert_array_equal(part, same)
    loaded.learn(18)


def test_a_model_saved_before_there_were_cells_is_an_rnn(tmp_path):
    model = make_model()
    model.save(tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        assert "cell" not in json.loads(archive.read("settings.json"))["settings"]["policy_kwargs"]
    loaded = PlasticA2C.load(tmp_path / "model.zip")
    assert loaded.policy.core.cell == "rnn"
    assert torch.equal(loaded.policy.core.w, model.policy.core.w)


def test_a_state_of_another_cell_is_named():
    seen = np.zeros(3, np.float32)
    gru, lstm = make_model(cell="gru"), make_model(cell="lstm")
    _, state = gru.predict(seen)
    message = (
        r"state must be what predict returned, hidden \(1, 5\) and trace \(1, 5, 5\) and cell \(1, 5\) for "
        r"this observation, got hidden \(1, 5\) and trace \(1, 5, 5\)$"
    )
    with pytest.raises(ValueError, match=message):
        lstm.predict(seen, state)
    _, state = lstm.predict(seen)
    with pytest.raises(ValueError, match=r"got hidden \(1, 5\) and trace \(1, 5, 5\) and cell \(1, 5\)$"):
        gru.predict(seen, state)


def test_an_unknown_cell_is_named():
    with pytest.raises(ValueError, match="cell must be one of rnn, gru, lstm, got 'mgu'"):
        make_model(cell="mgu")
