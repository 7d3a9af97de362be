"""Recorded activity: every column is what really went in, on and out, on environments of every kind."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from plastic_rl import PlasticA2C, PlasticPPO
from plastic_rl.analysis import Activity, record_activity, selectivity

STRONG = {"hidden_size": 7, "eta": 0.3, "w_init": 0.5, "alpha_init": 1.0}
POLE = "CartPole-v1"


def make(env=POLE, policy="MlpPolicy", algorithm=PlasticA2C, **core):
    return algorithm(policy, env, seed=0, device="cpu", policy_kwargs={**STRONG, **core})


@pytest.fixture(scope="module")
def model():
    return make(cell="gru", rule="modulated", share_features_extractor=False)


@pytest.fixture(scope="module")
def activity(model):
    return record_activity(model, POLE, 7, seed=3, batch=3, trace_every=4)


def test_episodes_stand_one_after_the_other(activity):
    lengths = np.bincount(activity["episode"])
    assert len(lengths) == 7
    assert len(set(lengths)) > 1
    assert activity.ended.all()
    np.testing.assert_array_equal(activity["step"], np.concatenate([np.arange(n) for n in lengths]))
    np.testing.assert_array_equal(activity["start"], activity["step"] == 0)
    np.testing.assert_array_equal(activity.returns, lengths)
    assert len(activity) == lengths.sum()


def test_what_is_kept_is_what_happens_when_it_is_played_again(model, activity):
    """The observations, put in again one by one, give the recorded activities, values and traces."""
    policy = model.policy
    for episode in range(7):
        rows = np.flatnonzero(activity["episode"] == episode)
        state = policy.initial_state(1)
        for row in rows:
            if row in activity.trace_rows:
                (index,) = np.flatnonzero(activity.trace_rows == row)
                np.testing.assert_allclose(activity.traces[index], state.actor.trace[0], atol=1e-5)
            before = state
            obs = torch.as_tensor(activity["observation"][row : row + 1])
            with torch.no_grad():
                _, value, _, state = policy(obs, state)
            np.testing.assert_allclose(activity["value"][row], value.item(), atol=1e-5)
            np.testing.assert_allclose(activity["hidden"][row], state.actor.hidden[0], atol=1e-5)
            z, h = activity["gate/z"][row], before.actor.hidden[0].numpy()
            candidate = (activity["hidden"][row] - z * h) / (1 - z)
            assert (np.abs(candidate) < 1).all()
    assert np.abs(activity.traces).max() > 0.05
    assert np.ptp(activity["value"]) > 1e-2
    # The environment's own rule: the pole's angle follows from its speed.
    moved = activity["observation"][1][2] - activity["observation"][0][2]
    assert moved == pytest.approx(0.02 * activity["observation"][0][3], abs=1e-6)


@pytest.mark.parametrize("inner_updates", ["every", "last"])
def test_gates_are_those_of_the_last_inner_step(inner_updates):
    model = make(cell="lstm", core_steps=3, inner_updates=inner_updates, rule="oja")
    activity = record_activity(model, POLE, 2, batch=2)
    core = model.policy.core
    plain = make(cell="lstm", rule="oja").policy.core
    plain.load_state_dict(core.state_dict())
    plain.core_steps, plain.inner_updates = 1, "every"
    rows = activity["episode"] == 0
    state = core.initial_state(1)
    for obs, out, cell in zip(
        activity["observation"][rows], activity["gate/o"][rows], activity["cell"][rows], strict=True
    ):
        _, state = core.step(torch.as_tensor(obs[None]), state)
        # h' = o tanh(c')
        np.testing.assert_allclose(out * np.tanh(cell), state.hidden[0], atol=1e-5)
    assert set(activity.columns) >= {"gate/i", "gate/f", "gate/o"}


def test_the_same_seed_gives_the_same_episodes_on_environments_of_every_form(model):
    by_id = record_activity(model, POLE, 4, seed=5, batch=2)
    torch_state = torch.get_rng_state()
    given = make_vec_env(POLE, n_envs=2)
    by_vector = record_activity(model, given, 4, seed=5)
    assert torch.equal(torch.get_rng_state(), torch_state)
    for name in by_id.columns:
        np.testing.assert_array_equal(by_id[name], by_vector[name], err_msg=name)
    given.reset()  # still open
    single = record_activity(model, gym.make(POLE), 3, seed=5)
    assert len(single.ended) == 3
    assert not np.array_equal(record_activity(model, POLE, 4, seed=6, batch=2)["action"], by_id["action"])


def test_dictionaries_images_and_actions_of_many_parts(any_spaces):
    space = spaces.Dict({"felt": spaces.Box(-1, 1, (2, 3)), "told": spaces.Discrete(4)})
    env = make_vec_env(lambda: any_spaces(space, spaces.MultiDiscrete([3, 2])), n_envs=2)
    activity = record_activity(make(env, "MultiInputPolicy", alpha="none"), env, 3)
    assert activity["observation/felt"].shape == (21, 2, 3)
    assert activity["observation/told"].shape == (21,)
    assert activity["action"].shape == (21, 2)
    assert activity.traces is None
    table = activity.to_dataframe()
    assert len(table) == 21
    assert {"observation/felt_5", "action_1", "hidden_6", "reward", "episode"} <= set(table.columns)
    np.testing.assert_array_equal(table["observation/felt_5"], activity["observation/felt"][:, 1, 2])


def test_observations_are_kept_as_the_environment_gives_them():
    env = VecNormalize(make_vec_env(POLE, n_envs=2, seed=0))
    model = make(env, algorithm=PlasticPPO)
    env.obs_rms.mean[:], env.training = 5.0, False
    by_id = record_activity(model, POLE, 2, seed=1, batch=2)
    given = record_activity(model, make_vec_env(POLE, n_envs=2), 2, seed=1)
    assert np.abs(by_id["observation"][by_id["start"]]).max() < 0.06
    np.testing.assert_array_equal(by_id["hidden"], given["hidden"])
    # Yet the agent has seen them normalized.
    with torch.no_grad():
        obs = torch.as_tensor(env.normalize_obs(by_id["observation"][:1]))
        y, _, _ = model.policy.run_cores(obs, None, None)
    np.testing.assert_allclose(by_id["hidden"][0], y[0], atol=1e-6)


def test_other_models_give_what_they_have():
    plain = record_activity(PPO("MlpPolicy", POLE, seed=0, device="cpu"), POLE, 2)
    assert set(plain.columns) == {"episode", "step", "start", "observation", "action", "reward", "value"}
    lstm = record_activity(RecurrentPPO("MlpLstmPolicy", POLE, seed=0, device="cpu"), POLE, 2)
    assert lstm["hidden"].shape == lstm["cell"].shape == (len(lstm), 256)
    assert "value" not in lstm.columns


def test_infos_traces_of_some_units_and_what_is_left_out():
    model = make("PlasticPairs-v0")
    activity = record_activity(
        model, "PlasticPairs-v0", 3, env_kwargs={"n_pairs": 2}, info_keys=["pair", "target"],
        keep=["states"], trace_every=3, trace_units=[5, 0],
    )  # fmt: skip
    assert "observation" not in activity.columns
    assert "value" not in activity.columns
    assert activity.traces.shape == (len(activity.trace_rows), 2, 2)
    pairs, targets = activity["info/pair"], activity["info/target"]
    assert set(np.unique(pairs)) <= {-1, 0, 1}
    assert np.isnan(targets).any()
    assert not np.isnan(targets).all()
    whole = record_activity(model, "PlasticPairs-v0", 3, env_kwargs={"n_pairs": 2}, keep=[], trace_every=3)
    assert whole.traces is not None
    np.testing.assert_array_equal(activity.traces, whole.traces[:, [5, 0]][:, :, [5, 0]])


def test_files(activity, tmp_path):
    path = tmp_path / "activity.npz"
    activity.save(path)
    again = Activity.load(path)
    assert list(again.columns) == list(activity.columns)
    for name in activity.columns:
        np.testing.assert_array_equal(again[name], activity[name])
    np.testing.assert_array_equal(again.traces, activity.traces)
    np.testing.assert_array_equal(again.trace_rows, activity.trace_rows)
    (tmp_path / "other.npz").write_bytes(b"other")
    with pytest.raises(ValueError, match="is not a recorded activity"):
        Activity.load(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError):
        Activity.load(tmp_path / "nowhere.npz")


def test_steps_that_are_cut_off():
    activity = record_activity(make("Pendulum-v1"), "Pendulum-v1", 2, max_steps=9)
    assert len(activity) == 18
    assert not activity.ended.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"episodes": 0}, "episodes must be"),
        ({"batch": 0}, "batch must be"),
        ({"max_steps": 0}, "max_steps must be"),
        ({"trace_every": 0}, "trace_every must be"),
        ({"keep": ["dreams"]}, "keep must be some of observations, states, gates, values, got dreams"),
        ({"info_keys": ["mood"]}, "info_keys must be entries of the infos, got 'mood'"),
    ],
)
def test_bad_arguments(model, options, message):
    with pytest.raises(ValueError, match=message):
        record_activity(model, POLE, **{"episodes": 2, "max_steps": 5, **options})
    with pytest.raises(ValueError, match="env_kwargs must be None"):
        record_activity(model, gym.make(POLE), env_kwargs={"render_mode": None})
    with pytest.raises(KeyError, match="no column 'mood'"):
        record_activity(model, POLE, 1, max_steps=5)["mood"]


def test_selectivity():
    conditions = np.repeat(["left", "right"], 50)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=100)
    told = np.where(conditions == "left", 1.0, -1.0)
    found = selectivity(np.stack([told, noise, told + noise, np.full(100, 0.3)], axis=1), conditions)
    assert found[0] == pytest.approx(1)
    assert found[1] < 0.06
    assert found[2] == pytest.approx(0.5, abs=0.1)
    assert found[3] == 0
    with pytest.raises(ValueError, match="at least two different"):
        selectivity(np.zeros((3, 1)), ["a"] * 3)
    with pytest.raises(ValueError, match="activities must be"):
        selectivity(np.zeros((3, 1)), ["a"] * 2)
