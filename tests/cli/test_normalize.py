"""Settings with `normalize`: what a training learns about observations serves its agent ever after."""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from plastic_rl.analysis.playback import record_episode
from plastic_rl.cli.main import main
from plastic_rl.runs import folder as runs
from plastic_rl.runs.hyperparams import load_config
from plastic_rl.runs.normalize import check_normalize
from plastic_rl.runs.statistics import (
    load_statistics,
    normalized,
    normalized_as_trained,
    normalized_like,
    save_statistics,
)

SETTINGS = ["n_steps:8", "policy_kwargs.hidden_size:6", "policy_kwargs.backend:reference"]


class Far(gym.Env):
    """Observations around 1000, which tells those that are shown as they are."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012
    observation_space: spaces.Space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._observe(), {}

    def _observe(self):
        return (1000 + self.np_random.normal(size=2)).astype(np.float32)

    def step(self, action):
        self.time += 1
        return self._observe(), 100.0, self.time == 5, False, {}

    def render(self):
        return np.zeros((4, 4, 3), np.uint8)


@pytest.fixture(autouse=True)
def registered():
    gym.register("Far-v0", Far)
    yield
    gym.registry.pop("Far-v0")


pytestmark = pytest.mark.usefixtures("no_pictures")


def train(folder, timesteps, *more):
    what = ["--timesteps", str(timesteps), "--n-envs", "2", "--seed", "0", "--output", str(folder)]
    return main(["train", "Far-v0", *what, "--hyperparams", *SETTINGS, "normalize:true", *more])


def seen(model, monkeypatch):
    """What the model is shown."""
    shown: list[np.ndarray] = []
    predict = model.predict

    def watched(observation, *args, **kwargs):
        shown.append(np.array(observation))
        return predict(observation, *args, **kwargs)

    monkeypatch.setattr(model, "predict", watched)
    return shown


def test_a_run_keeps_the_statistics_and_logs_the_returns_of_the_environment(tmp_path, capsys):
    assert train(tmp_path, 64) == 0
    statistics = json.loads((tmp_path / "normalize.json").read_text())
    np.testing.assert_allclose(statistics["observations"]["mean"], 1000, atol=1)
    assert statistics["observations"]["count"] > 64
    assert runs.read_config(tmp_path).normalize == {}
    np.testing.assert_array_equal(runs.read_monitor(tmp_path / "monitor.csv")["r"], 500)
    assert main(["evaluate", str(tmp_path), "Far-v0", "--episodes", "4"]) == 0
    assert "mean return 500.00" in capsys.readouterr().out


def test_the_agent_is_shown_what_it_was_trained_on(tmp_path, monkeypatch):
    assert train(tmp_path, 64) == 0
    env = normalized_as_trained(DummyVecEnv([Far]), {}, tmp_path)
    model = runs.load_model(tmp_path / "model.zip", "plastic_a2c", env, "cpu")
    shown = seen(model, monkeypatch)
    record_episode(model, "Far-v0", seed=0)
    assert shown
    assert np.abs(shown).max() < 10
    before = env.obs_rms.mean.copy()
    env.reset()
    _, rewards, _, _ = env.step(np.array([0]))
    assert rewards == [100]
    np.testing.assert_array_equal(env.obs_rms.mean, before)


def test_a_resumed_run_goes_on_with_its_statistics(tmp_path):
    assert train(tmp_path, 64) == 0
    assert main(["train", "--resume", str(tmp_path), "--timesteps", "128"]) == 0
    assert json.loads((tmp_path / "normalize.json").read_text())["observations"]["count"] > 128
    (tmp_path / "normalize.json").unlink()
    assert main(["train", "--resume", str(tmp_path), "--timesteps", "192"]) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "normalize.json is missing: the model was trained on normalized observations"),
        ("{", "does not hold the statistics of these environments"),
        ('{"returns": {"mean": 0, "var": 1, "count": 1}}', "does not hold the statistics"),
    ],
)
def test_statistics_that_are_missing_or_damaged_are_one_line(tmp_path, capsys, text, message):
    assert train(tmp_path, 32) == 0
    path = tmp_path / "normalize.json"
    path.unlink() if text is None else path.write_text(text)
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path), "Far-v0"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("key", ["mean", "var", "count"])
@pytest.mark.parametrize("value", [[1.0], float("nan"), [[1, 2]], "text", None, [-1.0, -1.0]])
def test_wrong_statistics_are_refused(tmp_path, key, value):
    if key == "mean" and value == [-1.0, -1.0]:
        return
    env = VecNormalize(DummyVecEnv([Far]))
    save_statistics(env, tmp_path)
    path = tmp_path / "normalize.json"
    statistics = json.loads(path.read_text())
    statistics["observations"][key] = value
    path.write_text(json.dumps(statistics))
    with pytest.raises(ValueError, match="does not hold the statistics of these environments"):
        load_statistics(env, tmp_path)


def test_parts_of_dictionaries_are_normalized_by_name(tmp_path):
    class Two(Far):
        observation_space = spaces.Dict({"far": Far.observation_space, "bit": spaces.Discrete(2)})

        def _observe(self):
            return {"far": super()._observe(), "bit": 1}

    options = {"norm_obs_keys": ["far"], "norm_reward": False, "clip_obs": 3.0}
    env = normalized(DummyVecEnv([Two]), options)
    env.reset()
    for _ in range(20):
        env.step(np.array([0]))
    save_statistics(env, tmp_path)
    again = normalized_as_trained(DummyVecEnv([Two]), options, tmp_path)
    for other in (again, normalized_like(env, DummyVecEnv([Two]))):
        other.seed(1)
        obs = other.reset()
        assert isinstance(obs, dict)
        assert np.abs(obs["far"]).max() <= 3
        assert obs["bit"] == 1
        np.testing.assert_array_equal(other.obs_rms["far"].mean, env.obs_rms["far"].mean)
    plain = DummyVecEnv([Two])
    assert normalized_like(plain, plain) is plain


def test_settings_are_those_of_rl_zoo(tmp_path):
    assert check_normalize("{'norm_obs': True, 'norm_reward': False}") == {
        "norm_obs": True,
        "norm_reward": False,
    }
    assert check_normalize(False) is check_normalize(None) is None
    path = tmp_path / "own.yml"
    for algo in ("plastic_a2c", "plastic_ppo", "a2c", "recurrent_ppo"):
        policy = "MlpLstmPolicy" if algo == "recurrent_ppo" else "MlpPolicy"
        path.write_text(f"default: {{n_envs: 2, n_timesteps: 10, policy: {policy}, normalize: true}}")
        config = load_config("Far-v0", algo, path)
        assert config.normalize == {}
        assert "normalize" not in config.kwargs()
    with pytest.raises(ValueError, match="unknown key 'normalize'"):
        load_config("PlasticOmniglot-v0", "supervised", path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "normalize must be true, false or a mapping, got 5"),
        ("import os", "normalize must be true, false or a mapping, got 'import os'"),
        ({"norm_obs": 1}, "normalize.norm_obs must be true or false; got 1"),
        ({"clip_obs": 0}, "normalize.clip_obs must be a finite number above 0; got 0"),
        ({"norm_obs_keys": "far"}, "normalize.norm_obs_keys must be a list of keys"),
        ({"gamma": 0.9}, "unknown key 'gamma' in normalize: choose from norm_obs, norm_reward, clip_obs"),
    ],
)
def test_bad_settings_are_named(value, message):
    with pytest.raises(ValueError, match=message):
        check_normalize(value)


def test_a_space_without_numbers_is_refused_before_a_training(tmp_path: Path, capsys):
    where = ["--output", str(tmp_path / "run"), "--hyperparams", "normalize:true"]
    assert main(["train", "FrozenLake-v1", *where]) == 2
    assert "VecNormalize only supports" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
