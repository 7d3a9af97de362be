"""What lesions do to traces and units, and which of them cannot be."""

import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO

from plastic_rl import PlasticA2C
from plastic_rl.analysis import clamp, forget, freeze, record_activity, silence, wipe, wipe_once
from plastic_rl.analysis.lesions import Lesion

STRONG = {"hidden_size": 7, "eta": 0.3, "w_init": 0.5, "alpha_init": 2.0}


def make(**core):
    return PlasticA2C("MlpPolicy", "CartPole-v1", seed=0, device="cpu", policy_kwargs={**STRONG, **core})


def record(model, **options):
    return record_activity(model, "CartPole-v1", 5, **{"batch": 3, "seed": 2, "max_steps": 30, **options})


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_clamped_units_are_held_from_their_step_on(cell):
    model = make(cell=cell)
    intact = record(model)
    held = record(model, lesions=[clamp([1, 4], [0.5, -0.25], begin=6), silence([2])])
    late = held["step"] >= 6
    np.testing.assert_array_equal(held["hidden"][late][:, [1, 4]], np.tile([0.5, -0.25], (late.sum(), 1)))
    assert not held["hidden"][:, 2].any()
    assert np.abs(intact["hidden"][:, 2]).max() > 0.05
    assert np.abs(held["hidden"][~late][:, [1, 4]] - [0.5, -0.25]).min() > 0
    # What is held is what the others and the value are computed from.
    first = held["step"] == 0
    np.testing.assert_allclose(held["hidden"][first][:, 0], intact["hidden"][first][:, 0], atol=1e-6)
    assert not np.allclose(held["value"][first], intact["value"][first], atol=1e-4)
    assert model.policy.core.w.shape == (7, 7)


def test_silencing_is_cutting_all_connections_of_a_unit():
    model = make()
    silent = record(model, lesions=silence([3]), deterministic=True)
    cut = make()
    cut.set_parameters(model.get_parameters())
    with torch.no_grad():
        core = cut.policy.core
        core.w[3], core.alpha[3] = 0, 0
        cut.policy.action_net.weight[:, 3] = 0
        cut.policy.value_net.weight[:, 3] = 0
    same = record(cut, deterministic=True)
    others = [0, 1, 2, 4, 5, 6]
    np.testing.assert_allclose(silent["hidden"][:, others], same["hidden"][:, others], atol=1e-5)
    np.testing.assert_allclose(silent["value"], same["value"], atol=1e-5)


def test_wiping_takes_the_eligibility_along():
    wiped = record(make(rule="retroactive"), lesions=wipe_once(4), trace_every=1)
    steps = wiped["step"][wiped.trace_rows]
    assert wiped.traces[steps == 3].any()
    assert not wiped.traces[steps == 4].any()
    # From an eligibility that was left there would be a trace at once.
    assert not wiped.traces[steps == 5].any()
    assert wiped.traces[steps == 6].any()


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_forgetting_leaves_the_trace_alone(cell):
    model = make(cell=cell)
    intact = record(model, trace_every=1, deterministic=True)
    forgets = record(model, lesions=forget(6), trace_every=1, deterministic=True)

    def at(activity, step):
        return activity.traces[activity["step"][activity.trace_rows] == step]

    assert at(intact, 6).any()
    np.testing.assert_array_equal(at(forgets, 6), at(intact, 6))
    early = [one["hidden"][one["step"] < 6] for one in (intact, forgets)]
    np.testing.assert_array_equal(*early)
    # Without h the drive alone is left of the step in which it is lost, whatever the trace.
    late = [one["hidden"][one["step"] == 6] for one in (intact, forgets)]
    assert np.abs(late[0] - late[1]).max() > 0.01
    with torch.no_grad():
        core = model.policy.core
        obs = torch.as_tensor(forgets["observation"][forgets["step"] == 6], dtype=torch.float32)
        y, _ = core.step(obs, core.initial_state(len(obs)))
    np.testing.assert_allclose(late[1], y.numpy(), atol=1e-6)


def test_lesions_go_together():
    model = make()
    both = record(model, lesions=[freeze(5), silence([0], begin=8)], trace_every=1)
    alone = record(model, lesions=freeze(5), trace_every=1)
    steps = both["step"][both.trace_rows]
    of_first = both["episode"][both.trace_rows] == 0
    at = [both.traces[of_first & (steps == t)] for t in (5, 9)]
    np.testing.assert_array_equal(*at)
    assert at[0].any()
    early = both["step"] < 8
    np.testing.assert_array_equal(both["hidden"][early][:20], alone["hidden"][alone["step"] < 8][:20])
    assert not both["hidden"][~early][:, 0].any()


def test_the_model_is_whole_again_afterwards():
    model = make()
    core = model.policy.core
    with pytest.raises(ValueError, match="keep must be"):
        record(model, lesions=silence([0]), keep=["dreams"])
    record(model, lesions=silence([0]))
    assert model.policy.core is core
    model.learn(20)


@pytest.mark.parametrize(
    ("lesion", "message"),
    [
        (lambda: Lesion("melt"), "effect must be one of"),
        (lambda: wipe(-1), "begin must be"),
        (lambda: wipe(0, -1), "delay must be"),
        (lambda: silence([]), "units must be given for clamp"),
        (
            lambda: Lesion("wipe", units=(1,), values=(0.0,)),
            "units must be given for clamp and for nothing else",
        ),
        (lambda: silence([-1]), "units must be numbers of neurons"),
        (lambda: clamp([0], np.nan), "values must be a finite number"),
    ],
)
def test_lesions_that_cannot_be(lesion, message):
    with pytest.raises(ValueError, match=message):
        lesion()


def test_agents_that_cannot_have_them():
    with pytest.raises(ValueError, match="units must be below the core's 7 neurons, got 7"):
        record(make(), lesions=silence([7]))
    with pytest.raises(ValueError, match="no plastic core"):
        record(make(alpha="none"), lesions=wipe())
    lstm = RecurrentPPO("MlpLstmPolicy", "CartPole-v1", device="cpu")
    with pytest.raises(ValueError, match="need a PlasticPolicy whose core runs as PlasticRNN does, got"):
        record(lstm, lesions=silence([0]))
    with pytest.raises(ValueError, match="no core of this package"):
        record(lstm, lesions=forget(2))
