"""An exported step does what ``predict`` does, for 200 steps, with a state of its own."""

import json
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import onnx
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.envs import InvalidActionEnvMultiBinary, InvalidActionEnvMultiDiscrete
from stable_baselines3 import A2C, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize

import plastic_rl
from plastic_rl import (
    EpisodicTaskEnv,
    PairsTask,
    PatternMemoryTask,
    PlasticA2C,
    PlasticPPO,
    SupervisedMetaLearner,
    export_onnx,
)
from plastic_rl.export import OnnxAgent
from plastic_rl.export.check import compare
from plastic_rl.ops.plastic_rnn import rules

# Strong recurrence and a trace of real size; kept below the size at which small differences grow.
STRONG = {"hidden_size": 9, "eta": 0.3, "w_init": 0.3, "alpha_init": 0.3}
CLOSE = 2e-4
BOX = spaces.Box(-2, 2, (3,), np.float32)
PARTS = {
    "box": BOX,
    "discrete": spaces.Discrete(3),
    "multi-discrete": spaces.MultiDiscrete([3, 4]),
    "multi-binary": spaces.MultiBinary(4),
}


def exported(model, path, **options):
    """The agent in the file of a model, and how far it follows it."""
    export_onnx(model, path, **options)
    onnx.checker.check_model(path, full_check=True)
    agent = OnnxAgent(path)
    agreement = compare(model, agent, steps=200)
    assert agreement.states < CLOSE
    return agent, agreement


def pole(n_envs=3):
    return make_vec_env("CartPole-v1", n_envs=n_envs, seed=0)


def plastic(env=None, policy="MlpPolicy", algorithm=PlasticA2C, **core):
    options = {**STRONG, **core}
    return algorithm(policy, pole() if env is None else env, seed=0, device="cpu", policy_kwargs=options)


@pytest.fixture(scope="module")
def on_pole(tmp_path_factory):
    """A model with the default cell, rule and alpha, its file, the agent in that, and how far it follows."""
    model, path = plastic(), tmp_path_factory.mktemp("pole") / "agent.onnx"
    return model, path, *exported(model, path)


# Of their product every cell, rule and alpha runs by default, here or in other tests.
CORES = [
    {"cell": cell, "rule": rule, "alpha": alpha}
    for cell in ("rnn", "gru", "lstm")
    for rule, alpha in [
        *((rule, alpha) for rule in rules.RULES for alpha in ("full", "homogeneous")),
        ("hebb", "none"),
    ]
]
BY_DEFAULT = [
    {"cell": "gru", "rule": "modulated", "alpha": "homogeneous"},
    {"cell": "lstm", "rule": "retroactive", "alpha": "full"},
]


@pytest.mark.parametrize(
    "core",
    [
        pytest.param(core, marks=() if core in BY_DEFAULT else pytest.mark.slow, id="-".join(core.values()))
        for core in CORES
    ],
)
def test_every_cell_rule_and_alpha(core, tmp_path):
    model = plastic(**core)
    agrees(model, *exported(model, tmp_path / "agent.onnx"))


def test_the_default_cell_rule_and_alpha(on_pole):
    model, _, agent, agreement = on_pole
    agrees(model, agent, agreement)


def agrees(model, agent, agreement):
    """It takes the same actions, and its state has the same parts."""
    assert agreement.actions == 0
    state = agent.initial_state(2)
    own = model.policy.initial_state(2).actor
    assert {name: part.shape for name, part in state.items()} == {
        name: tuple(part.shape) for name, part in own._asdict().items() if part.numel()
    }


@pytest.mark.parametrize(
    "core",
    [
        {"core_steps": 2, "inner_updates": "last", "cell": "gru", "w_init": 0.3},
        {"cell": "lstm", "alpha": "none", "share_features_extractor": False, "net_arch": [5]},
        pytest.param(
            {"core_steps": 3, "share_features_extractor": False, "net_arch": [5]}, marks=pytest.mark.slow
        ),
    ],
)
def test_inner_steps_and_a_critic_of_its_own(core, tmp_path):
    model = plastic(algorithm=PlasticPPO, **core)
    agent, agreement = exported(model, tmp_path / "agent.onnx")
    assert agreement.actions == 0
    # Values and logits, too, from a state of any size, with and without a start.
    rng = np.random.default_rng(0)
    state = {name: rng.normal(size=part.shape).astype("f4") for name, part in agent.initial_state(4).items()}
    observation = rng.normal(size=(4, 4)).astype(np.float32)
    starts = np.array([False, True, False, False])
    outputs, _ = agent.step(observation, state, starts)
    parts = {name: torch.as_tensor(part) for name, part in state.items()}
    own = model.policy.initial_state(4)
    actor = own.actor._replace(**{k: v for k, v in parts.items() if not k.startswith("critic_")})
    critic = own.critic
    if critic is not None:
        critic = critic._replace(**{k.removeprefix("critic_"): v for k, v in parts.items() if "_" in k})
    own = own._replace(actor=actor, critic=critic)
    with torch.no_grad():
        values = model.policy.predict_values(torch.as_tensor(observation), own, starts)
        logits = model.policy.get_distribution(torch.as_tensor(observation), own, starts).distribution.logits
    assert np.ptp(outputs["value"]) > 1e-2
    np.testing.assert_allclose(outputs["value"], values.squeeze(1), atol=1e-5)
    np.testing.assert_allclose(outputs["logits"], logits, atol=1e-5)


@pytest.mark.parametrize(
    ("observation_space", "policy", "action_space"),
    [
        (spaces.Discrete(5), "MlpPolicy", spaces.Box(-1, np.array([0.2, 3]), (2,), np.float64)),
        (spaces.Dict(PARTS), "MultiInputPolicy", spaces.Discrete(3)),
        (spaces.Box(0, 255, (36, 36, 3), np.uint8), "CnnPolicy", spaces.Discrete(4)),
        pytest.param(PARTS["multi-discrete"], "MlpPolicy", spaces.MultiBinary(3), marks=pytest.mark.slow),
        pytest.param(
            PARTS["multi-binary"], "MlpPolicy", spaces.MultiDiscrete([3, 2]), marks=pytest.mark.slow
        ),
    ],
    ids=["discrete", "dict", "image", "multi-discrete", "multi-binary"],
)
def test_spaces(any_spaces, observation_space, policy, action_space, tmp_path):
    env = make_vec_env(lambda: any_spaces(observation_space, action_space), n_envs=2, seed=0)
    agent, agreement = exported(plastic(env, policy, rule="oja"), tmp_path / "agent.onnx")
    assert agreement.actions < 1e-5
    shown = json.loads(agent.metadata["observation_space"])
    assert shown["type"] == type(observation_space).__name__
    if policy == "CnnPolicy":
        # As the policy sees them: channels first.
        assert shown["shape"] == [3, 36, 36]
    names = {"mean", "std"} if isinstance(action_space, spaces.Box) else {"logits"}
    outputs, _ = agent.step(_batch(env), agent.initial_state(2), np.ones(2))
    assert set(outputs) == {"action", "value", *names}
    assert outputs["value"].shape == (2,)


def _batch(env):
    return PlasticA2C._wrap_env(env, verbose=0).reset()


def test_squashed_actions(any_spaces, tmp_path):
    env = make_vec_env(lambda: any_spaces(BOX, spaces.Box(-1, 3, (2,))), n_envs=2, seed=0)
    policy_kwargs = {**STRONG, "squash_output": True}
    model = PlasticPPO("MlpPolicy", env, use_sde=True, seed=0, device="cpu", policy_kwargs=policy_kwargs)
    with torch.no_grad():
        model.policy.get_parameter("action_net.weight").mul_(300)
    agent, agreement = exported(model, tmp_path / "agent.onnx")
    assert agreement.actions < 1e-3
    observation = np.array([[2, -2, 2], [-2, 2, 1]], dtype=np.float32)
    outputs, _ = agent.step(observation, agent.initial_state(2), np.ones(2))
    np.testing.assert_allclose(outputs["action"], 2 * np.tanh(outputs["mean"]) + 1, atol=1e-5)
    assert np.abs(outputs["mean"]).max() > 0.5
    distribution = model.policy.get_distribution(torch.as_tensor(observation)).distribution
    np.testing.assert_allclose(outputs["std"], distribution.stddev.detach(), rtol=1e-5)


@pytest.mark.parametrize(
    "env",
    [
        pytest.param(
            lambda: InvalidActionEnvMultiDiscrete(dims=[4, 5], ep_length=7, n_invalid_actions=6),
            marks=pytest.mark.slow,
        ),
        lambda: InvalidActionEnvMultiBinary(dims=6, ep_length=7, n_invalid_actions=5),
    ],
    ids=["multi-discrete", "multi-binary"],
)
def test_masks(env, tmp_path):
    model = plastic(make_vec_env(env, n_envs=3, seed=0))
    agent, agreement = exported(model, tmp_path / "agent.onnx")
    assert agent.takes_masks
    assert agreement.actions == 0
    observation, state = model.get_env().reset(), agent.initial_state(3)
    with pytest.raises(ValueError, match="action_masks must be given"):
        agent.predict(observation, state)


def test_masks_left_out(tmp_path):
    env = InvalidActionEnvMultiDiscrete(dims=[4, 5], ep_length=7, n_invalid_actions=6)
    export_onnx(plastic(make_vec_env(lambda: env)), tmp_path / "agent.onnx", action_masks=False)
    assert not OnnxAgent(tmp_path / "agent.onnx").takes_masks


def test_normalization_is_folded_in(any_spaces, tmp_path):
    big = spaces.Box(1e5, 1e5 + 0.1, (3,), np.float32)
    space = spaces.Dict({"big": big, "small": BOX, "which": spaces.Discrete(3)})
    env = make_vec_env(lambda: any_spaces(space, spaces.Discrete(3)), n_envs=2, seed=0)
    env = VecNormalize(env, norm_obs_keys=["big"], clip_obs=1.5)
    model = plastic(env, "MultiInputPolicy", algorithm=PlasticPPO)
    env.training = False
    # Differences that 32 bits would lose, and some that are clipped.
    env.obs_rms["big"].mean, env.obs_rms["big"].var = np.full(3, 1e5 + 0.0511), np.full(3, 5e-4)
    agent, agreement = exported(model, tmp_path / "agent.onnx")
    assert agreement.actions == 0
    assert agent.metadata["normalizes_observations"] == "true"
    assert json.loads(agent.metadata["observation_space"])["spaces"]["big"]["low"] == 1e5


def test_normalization_that_cannot_be_folded_in(tmp_path):
    env = VecFrameStack(VecNormalize(pole()), 2)
    with pytest.raises(ValueError, match="must be normalized last"):
        export_onnx(plastic(env), tmp_path / "agent.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("task", "policy", "options"),
    [
        (lambda: PatternMemoryTask(n_bits=12), "AutoassociatorPolicy", {}),
        pytest.param(PairsTask, "LSTMPolicy", {"hidden_size": 7}, marks=pytest.mark.slow),
        (PairsTask, "PlasticRNNPolicy", {"hidden_size": 7, "rule": "oja", "eta": 0.3, "alpha_init": 0.5}),
    ],
    ids=["autoassociator", "lstm", "plastic"],
)
def test_supervised_networks(task, policy, options, tmp_path):
    env = make_vec_env(lambda: EpisodicTaskEnv(task()), n_envs=3, seed=0)
    model = SupervisedMetaLearner(policy, env, seed=0, device="cpu", policy_kwargs=options)
    agent, agreement = exported(model, tmp_path / "agent.onnx")
    assert agreement.actions < CLOSE
    assert "output" in agent.step(_batch(env), agent.initial_state(3), np.ones(3))[0]
    with pytest.raises(ValueError, match="action_masks must be False"):
        export_onnx(model, tmp_path / "agent.onnx", action_masks=True)


def test_the_baselines(tmp_path):
    path = tmp_path / "agent.onnx"
    memoryless = A2C("MlpPolicy", pole(), seed=0, device="cpu")
    agent, agreement = exported(memoryless, path)
    assert agreement.actions == 0
    assert agent.initial_state(3) == {}
    lstm = RecurrentPPO("MlpLstmPolicy", pole(), seed=0, device="cpu", policy_kwargs={"n_lstm_layers": 2})
    export_onnx(lstm, path)
    agent = OnnxAgent(path)
    observation = np.random.default_rng(0).normal(size=(50, 3, 4)).astype(np.float32)
    state = own = None
    for t in range(50):
        starts = np.array([t == 0, t % 7 == 0, False])
        actions, own = lstm.predict(observation[t], own, starts, deterministic=True)
        chosen, state = agent.predict(observation[t], state, starts)
        assert (actions == chosen).all()
        assert own is not None
        np.testing.assert_allclose(state["cell"].transpose(1, 0, 2), own[1], atol=1e-6)
        assert state["critic_hidden"].shape == (3, 2, 256)


def test_a_core_of_ones_own(monkeypatch, tmp_path):
    root = Path(__file__).parents[2]
    if not (root / "examples").is_dir():
        pytest.skip("not a checkout")
    monkeypatch.syspath_prepend(str(root))
    from examples.own_core import LstmPolicy

    model = PlasticA2C(LstmPolicy, pole(), seed=0, device="cpu", policy_kwargs={"hidden_size": 5})
    _, agreement = exported(model, tmp_path / "agent.onnx")
    assert agreement.actions == 0


def test_what_the_file_says_of_itself(on_pole):
    file = onnx.load(on_pole[1])
    metadata = {entry.key: entry.value for entry in file.metadata_props}
    assert metadata["env_id"] == "CartPole-v1"
    assert metadata["algorithm"] == "PlasticA2C"
    assert metadata["plastic_rl_version"] == plastic_rl.__version__
    assert json.loads(metadata["action_space"]) == {
        "type": "Discrete",
        "shape": [],
        "dtype": "int64",
        "n": 2,
        "start": 0,
    }
    shapes = {
        one.name: [d.dim_param or d.dim_value for d in one.type.tensor_type.shape.dim]
        for one in [*file.graph.input, *file.graph.output]
    }
    assert shapes == {
        "observation": ["batch", 4],
        "episode_start": ["batch"],
        "state.hidden": ["batch", 9],
        "state.trace": ["batch", 9, 9],
        "action": ["batch"],
        "logits": ["batch", 2],
        "value": ["batch"],
        "new_state.hidden": ["batch", 9],
        "new_state.trace": ["batch", 9, 9],
    }  # fmt: skip


def test_any_number_of_environments_and_evaluate_policy(on_pole):
    model, _, agent, _ = on_pole
    observation = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    for n in (1, 2, 64):
        actions, state = agent.predict(observation[:n])
        assert actions.shape == (n,)
        assert state["trace"].shape == (n, 9, 9)
    with pytest.raises(ValueError, match="deterministic must be True"):
        agent.predict(observation, deterministic=False)
    scores = [evaluate_policy(one, pole(), 6, return_episode_rewards=True) for one in (model, agent)]
    assert scores[0] == scores[1]


def test_the_model_stays_as_it_was(tmp_path):
    model = plastic()
    model.learn(30)
    before = {name: part.clone() for name, part in model.policy.state_dict().items()}
    torch.manual_seed(3)
    random, validated = torch.get_rng_state(), torch.distributions.Distribution._validate_args
    export_onnx(model, tmp_path / "agent.onnx", env_id="Pole-v7")
    assert OnnxAgent(tmp_path / "agent.onnx").metadata["env_id"] == "Pole-v7"
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(part, before[name]) for name, part in model.policy.state_dict().items())
    assert torch.distributions.Distribution._validate_args == validated
    model.learn(30)


def test_what_is_refused(tmp_path, monkeypatch):
    sac = SAC("MlpPolicy", gym.make("Pendulum-v1"), device="cpu")
    with pytest.raises(ValueError, match=r"model must have one of these policies: PlasticPolicy.*SACPolicy"):
        export_onnx(sac, tmp_path / "agent.onnx")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        export_onnx(plastic(), tmp_path / "nowhere" / "agent.onnx")
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(ValueError, match="is not an ONNX file"):
        OnnxAgent(tmp_path / "text.onnx")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"onnxscript: pip install \"plastic-rl\[onnx\]\""):
        export_onnx(plastic(), tmp_path / "agent.onnx")
    assert not (tmp_path / "agent.onnx").exists()
