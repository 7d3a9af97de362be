"""The plastic actor-critic policy: state in, state out."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import CombinedExtractor, NatureCNN

from plastic_rl.policies import CnnPolicy, MlpPolicy, MultiInputPolicy, PlasticPolicy

BOX = spaces.Box(-1, 1, (3,), np.float32)
STRONG = {"hidden_size": 8, "eta": 0.3, "w_init": 0.5, "alpha_init": 0.5}


def make(observation_space=BOX, action_space=None, policy_class=PlasticPolicy, **kwargs):
    torch.manual_seed(0)
    action_space = spaces.Discrete(4) if action_space is None else action_space
    policy = policy_class(observation_space, action_space, lambda _: 1e-3, **{**STRONG, **kwargs})
    with torch.no_grad():  # SB3 starts the action head near zero: make actions depend on the memory
        policy.action_net.weight.mul_(200)
    return policy


@pytest.mark.parametrize("share", [True, False])
def test_evaluating_a_sequence_equals_acting_through_it(share):
    policy = make(share_features_extractor=share)
    obs = torch.randn(6, 5, 3)
    starts = torch.zeros(6, 5, dtype=torch.bool)
    starts[0], starts[3, 2], starts[5, 0] = True, True, True
    state, actions, values, log_probs = policy.initial_state(5), [], [], []
    with torch.no_grad():
        for t in range(6):
            action, value, log_prob, state = policy(obs[t], state, starts[t])
            actions.append(action)
            values.append(value)
            log_probs.append(log_prob)
    got_values, got_log_probs, entropy = policy.evaluate_actions(
        obs.flatten(0, 1), torch.cat(actions), policy.initial_state(5), starts
    )
    torch.testing.assert_close(got_values, torch.cat(values))
    torch.testing.assert_close(got_log_probs, torch.cat(log_probs))
    assert entropy.shape == (30,)
    # The same without the resets differs: the comparison above sees the memory.
    unreset, _, _ = policy.evaluate_actions(
        obs.flatten(0, 1), torch.cat(actions), policy.initial_state(5), torch.zeros_like(starts)
    )
    assert (unreset - torch.cat(values)).abs().max() > 1e-3


def test_without_sharing_the_critic_has_networks_of_its_own():
    policy = make(share_features_extractor=False)
    _, y_vf, state = policy.run_cores(torch.randn(2, 3), None, None)
    assert state.critic is not None
    policy.values(y_vf).sum().backward()
    assert policy.core.w.grad is None
    assert policy.critic_core.drive.weight.grad is not None
    assert make().critic_core is None


def test_distribution_and_values_agree_with_evaluation():
    policy = make()
    obs, actions = torch.randn(10, 3), torch.randint(0, 4, (10,))
    values, log_prob, _ = policy.evaluate_actions(obs, actions)
    torch.testing.assert_close(policy.predict_values(obs), values)
    torch.testing.assert_close(policy.get_distribution(obs).log_prob(actions), log_prob)


def test_predict_carries_the_state_and_does_not_touch_the_callers():
    policy = make()
    rng = np.random.default_rng(0)
    obs = rng.standard_normal((4, 5, 3)).astype(np.float32)
    state = None
    for t in range(4):
        before = None if state is None else (state[0].copy(), state[1].copy())
        actions, new_state = policy.predict(obs[t], state, deterministic=True)
        assert actions.shape == (5,)
        assert isinstance(new_state.hidden, np.ndarray)
        assert new_state.trace.shape == (5, 8, 8)
        if before is not None:
            np.testing.assert_array_equal(state[0], before[0])
            np.testing.assert_array_equal(state[1], before[1])
        state = new_state
    _, _, final = policy.run_cores(torch.tensor(obs).flatten(0, 1), policy.initial_state(5), None)
    np.testing.assert_allclose(state.trace, final.actor.trace.detach(), rtol=1e-5, atol=1e-6)


def test_predict_zeroes_the_state_where_an_episode_starts():
    policy = make()
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 3, 3)).astype(np.float32)
    _, state = policy.predict(first)
    _, reset = policy.predict(second, state, episode_start=np.array([False, True, False]))
    _, fresh = policy.predict(second)
    _, kept = policy.predict(second, state)
    np.testing.assert_array_equal(reset.trace[1], fresh.trace[1])
    np.testing.assert_array_equal(reset.trace[[0, 2]], kept.trace[[0, 2]])
    assert np.abs(kept.hidden[1] - fresh.hidden[1]).max() > 1e-3


def test_batch_size_does_not_change_a_prediction():
    policy = make()
    obs = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    actions, state = policy.predict(obs, deterministic=True)
    actions, state = policy.predict(obs[::-1].copy(), state, deterministic=True)
    for i in range(6):
        alone, alone_state = policy.predict(obs[i], deterministic=True)
        assert alone.shape == ()
        alone, alone_state = policy.predict(obs[5 - i], alone_state, deterministic=True)
        assert alone == actions[i]
        np.testing.assert_allclose(alone_state.trace[0], state.trace[i], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"state": (np.zeros((3, 8)), np.zeros((3, 8, 8)))}, r"hidden \(2, 8\) and trace \(2, 8, 8\)"),
        (
            {"state": np.zeros((2, 8))},
            r"what predict returned, hidden \(2, 8\) and trace \(2, 8, 8\) .*, got ndarray",
        ),
        ({"episode_start": np.zeros(3, dtype=bool)}, r"episode_start must have shape \(2,\), got \(3,\)"),
        ({"observation": (np.zeros((2, 3)), {})}, "got a tuple"),
    ],
)
def test_predict_refuses_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        make().predict(**{"observation": np.zeros((2, 3), np.float32), **arguments})


@pytest.mark.parametrize(
    "kwargs",
    [
        {"rule": "oja", "alpha": "homogeneous", "activation": "sigmoid"},
        {"rule": "modulated", "trace_clip": 1.5},
        {"core_steps": 3, "eta": 0.3},
        {"alpha": "none", "net_arch": {"pi": [6], "vf": [5]}},
        {"share_features_extractor": False, "hidden_size": 11, "normalize_images": False},
    ],
)
def test_policy_alone_survives_save_and_load(tmp_path, kwargs):
    policy = make(**kwargs)
    policy.save(tmp_path / "policy.pt")
    loaded = PlasticPolicy.load(tmp_path / "policy.pt")
    obs = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    actions, state = policy.predict(obs, deterministic=True)
    loaded_actions, loaded_state = loaded.predict(obs, deterministic=True)
    np.testing.assert_array_equal(actions, loaded_actions)
    np.testing.assert_array_equal(state.trace, loaded_state.trace)
    assert loaded._get_constructor_parameters().keys() == policy._get_constructor_parameters().keys()
    assert loaded.core_options == policy.core_options


def test_predict_takes_one_episode_start_for_all_and_a_list_as_state():
    policy = make()
    obs = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)
    _, state = policy.predict(obs)
    _, kept = policy.predict(obs, list(state), episode_start=False)
    _, reset = policy.predict(obs, state, episode_start=True)
    np.testing.assert_array_equal(kept.trace, policy.predict(obs, state)[1].trace)
    np.testing.assert_array_equal(reset.trace, policy.predict(obs)[1].trace)


def test_subclasses_may_build_their_own_layers_after_the_core():
    class OneLayer(torch.nn.Module):
        latent_dim_pi = latent_dim_vf = 4

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(8, 4)

        def forward_actor(self, y):
            return self.layer(y)

        forward_critic = forward_actor

    class Custom(PlasticPolicy):
        def _build_mlp_extractor(self):
            self.mlp_extractor = OneLayer()  # type: ignore[assignment]  # as SB3's documentation does

    assert make(policy_class=Custom).predict_values(torch.zeros(2, 3)).shape == (2, 1)


def test_aliases_choose_the_features_extractor():
    assert MlpPolicy is PlasticPolicy
    image = spaces.Box(0, 255, (3, 36, 36), np.uint8)
    assert isinstance(make(image, policy_class=CnnPolicy).features_extractor, NatureCNN)
    both = spaces.Dict({"image": image, "vector": BOX})
    assert isinstance(make(both, policy_class=MultiInputPolicy).features_extractor, CombinedExtractor)


def test_state_dict_holds_no_state():
    names = set(make().state_dict())
    assert not [name for name in names if "trace" in name or "hidden" in name]
