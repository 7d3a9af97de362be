import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.evaluation import evaluate_policy

import plastic_rl
from plastic_rl.policies import OmniglotPolicy, PlasticClassifier, PlasticReadout

SIZES = {"n_validation": 10, "n_test": 10}
SMALL = {"features_extractor_kwargs": {"channels": 4}}


@pytest.fixture(scope="module")
def drawings():
    """Characters whose drawings are copies of each other, (30, 3, 31, 31)."""
    rng = np.random.default_rng(0)
    return np.repeat((255 * (rng.random((30, 1, 31, 31)) < 0.2)).astype(np.uint8), 3, axis=1)


def make_policy(n_way=5, **kwargs):
    space = spaces.Dict(
        image=spaces.Box(0, 1, (961,), np.float32), label=spaces.Box(0, 1, (n_way,), np.float32)
    )
    torch.manual_seed(0)
    return OmniglotPolicy(space, spaces.Discrete(n_way), lambda _: 1e-3, **{**SMALL, **kwargs})


def make_model(drawings, n_envs=4, **kwargs):
    env = plastic_rl.make_vec_env(
        "PlasticOmniglot-v0", n_envs=n_envs, seed=0, env_kwargs={"data": drawings, **SIZES}
    )
    settings = {"n_steps": 6, "gamma": 0.0, "seed": 0, "policy_kwargs": SMALL, **kwargs}
    return plastic_rl.PlasticA2C("OmniglotPolicy", env, **settings)


def draw_episodes(drawings, batch=3, **arguments):
    task = plastic_rl.OmniglotTask(data=drawings, **{**SIZES, **arguments})
    return task.sample_episodes(batch, np.random.default_rng(1))


def play(policy, episodes):
    """The logits (T, B, N) of whole episodes, in one call."""
    observations = {key: torch.as_tensor(part) for key, part in episodes.observations.items()}
    n_steps, batch = observations["label"].shape[:2]
    starts = torch.zeros(n_steps, batch, dtype=torch.bool)
    starts[0] = True
    flat = {key: part.flatten(0, 1) for key, part in observations.items()}
    y, _, _ = policy.run_cores(flat, policy.initial_state(batch), starts)
    return policy.action_distribution(y).distribution.logits.reshape(n_steps, batch, -1)


def test_the_actions_are_the_answers_of_the_supervised_network(drawings):
    policy, network = make_policy(), PlasticClassifier(channels=4)
    network.features.load_state_dict(policy.features_extractor.features.state_dict())
    network.connections.load_state_dict(policy.core.state_dict())
    episodes = draw_episodes(drawings)
    observations = {key: torch.as_tensor(part) for key, part in episodes.observations.items()}
    expected = torch.log_softmax(network(observations), dim=-1)
    assert expected.std() > 0.01
    torch.testing.assert_close(play(policy, episodes)[-1], expected, atol=1e-5, rtol=1e-4)


def test_steps_are_the_sequence(drawings):
    policy, episodes = make_policy(), draw_episodes(drawings)
    expected = play(policy, episodes).detach()
    state = policy.initial_state(3)
    for t, logits in enumerate(expected):
        observation = {key: torch.as_tensor(part[t]) for key, part in episodes.observations.items()}
        with torch.no_grad():
            y, _, state = policy.run_cores(observation, state, torch.full((3,), t == 0))
        torch.testing.assert_close(torch.log_softmax(y, -1), logits, atol=1e-5, rtol=1e-4)


def test_an_episode_knows_nothing_of_the_one_before(drawings):
    policy, episodes = make_policy(), draw_episodes(drawings)
    alone = play(policy, episodes)
    twice = {key: np.concatenate([part, part]) for key, part in episodes.observations.items()}
    observations = {key: torch.as_tensor(part).flatten(0, 1) for key, part in twice.items()}
    starts = torch.zeros(12, 3, dtype=torch.bool)
    starts[[0, 6]] = True
    y, _, _ = policy.run_cores(observations, policy.initial_state(3), starts)
    torch.testing.assert_close(torch.log_softmax(y, -1).reshape(12, 3, -1)[6:], alone)


@pytest.mark.parametrize("alpha", ["full", "homogeneous", "none"])
def test_every_parameter_learns_from_reward(drawings, alpha):
    model = make_model(drawings, policy_kwargs={**SMALL, "alpha": alpha})
    before = {name: value.detach().clone() for name, value in model.policy.named_parameters()}
    model.learn(20 * 24)
    stuck = {name for name, value in model.policy.named_parameters() if torch.equal(value, before[name])}
    assert not stuck


def test_reward_teaches_it_to_recognize_what_it_was_shown(drawings):
    model = make_model(drawings, n_envs=32, use_rms_prop=False, learning_rate=3e-3, ent_coef=0.01)
    model.learn(60 * 6 * 32)
    scores = {}
    for shuffled in (False, True):
        arguments = {"data": drawings, **SIZES, "split": "test", "shuffle_labels": shuffled}
        env = plastic_rl.make_vec_env("PlasticOmniglot-v0", n_envs=50, seed=5, env_kwargs=arguments)
        score, _ = evaluate_policy(model, env, n_eval_episodes=500)
        assert not isinstance(score, list)
        scores[shuffled] = score
    assert scores[False] > 0.33
    assert abs(scores[True] - 0.2) < 0.06


@pytest.mark.parametrize("share", [True, False])
def test_saved_and_loaded_is_the_same(drawings, tmp_path, share):
    kwargs = {**SMALL, "share_features_extractor": share, "rule": "hebb", "eta": 0.2}
    model = make_model(drawings, policy_kwargs=kwargs)
    model.learn(48)
    model.save(tmp_path / "model")
    loaded = plastic_rl.PlasticA2C.load(tmp_path / "model")
    model.policy.save(tmp_path / "policy.pth")
    policy = OmniglotPolicy.load(tmp_path / "policy.pth")
    observation = model.env.reset()
    expected, state = model.predict(observation, deterministic=True)
    assert state.trace.shape == (4, 4, 5)
    for other in (loaded, policy):
        actions, _ = other.predict(observation, deterministic=True)
        np.testing.assert_array_equal(actions, expected)
        assert other.predict(observation, state)[1].trace.any()


def test_a_core_that_is_not_recurrent_cannot_be_copied(drawings, tmp_path):
    model = make_model(drawings)
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="PlasticReadout: only a recurrent core can be copied"):
        model.load_core(tmp_path / "model")
    plain = plastic_rl.PlasticA2C("MlpPolicy", "CartPole-v1", policy_kwargs={"hidden_size": 5})
    with pytest.raises(ValueError, match="PlasticReadout: only a recurrent core can be copied"):
        plain.load_core(tmp_path / "model")


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"action_space must be Discrete\(5\) .* got Discrete\(4\)"):
        OmniglotPolicy(make_policy().observation_space, spaces.Discrete(4), lambda _: 1e-3)
    flat = spaces.Box(0, 1, (961,), np.float32)
    for space in (flat, spaces.Dict(image=flat), spaces.Dict(image=flat, label=flat, more=flat)):
        with pytest.raises(ValueError, match="observation_space must be a Dict of the one-dimensional Boxes"):
            OmniglotPolicy(space, spaces.Discrete(5), lambda _: 1e-3)
    for name in ("cell", "hidden_size", "activation", "backend", "trace_clip"):
        with pytest.raises(ValueError, match=f"OmniglotPolicy has no {name}"):
            make_policy(**{name: 1})
    for argument in ({"eta": 1.0}, {"rule": "modulated"}, {"alpha": "some"}):
        with pytest.raises(ValueError, match=next(iter(argument))):
            make_policy(**argument)
    for name in ("w_init", "alpha_init"):
        with pytest.raises(ValueError, match=f"{name} must be a finite number of at least 0"):
            make_policy(**{name: -1.0})


def test_the_readout_starts_from_zeros_by_itself():
    readout = PlasticReadout(3, 2, rule="oja", eta=0.3, w_std=0.5, alpha_mean=0.5)
    labelled = torch.rand(4, 2, 5)
    logits, state = readout(labelled)
    given_logits, given_state = readout(labelled, readout.initial_state(2))
    assert torch.equal(logits, given_logits)
    assert torch.equal(state.trace, given_state.trace)
