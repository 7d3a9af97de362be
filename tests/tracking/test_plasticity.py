"""PlasticityCallback: its numbers, its pictures, and that every logger takes them."""

import csv
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Image, KVWriter, Logger, configure
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

import plastic_rl
from plastic_rl.policies import PlasticPolicy, PlasticRNN
from plastic_rl.tracking.plasticity import (
    PlasticityCallback,
    plastic_modules,
    plasticity_images,
    plasticity_values,
)

CORE = {"hidden_size": 6, "backend": "reference"}
PICTURES = {"plasticity/w", "plasticity/alpha", "plasticity/alpha_abs"}


class Rows(KVWriter):
    """Keeps what the logger writes, by the step it was written at."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}

    def write(self, key_values: dict, key_excluded: dict, step: int = 0) -> None:
        self.rows[step] = {key: value for key, value in key_values.items() if key.startswith("plasticity/")}

    def close(self) -> None:
        pass


class Traces(BaseCallback):
    """Keeps the traces that the model holds at the end of every rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.traces: list[np.ndarray] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.traces.append(self.model._state.actor.trace.numpy().copy())


def make_model(n_steps: int = 10, n_envs: int = 1, **core: Any) -> plastic_rl.PlasticA2C:
    env = plastic_rl.make_vec_env("PlasticMaze-v0", n_envs=n_envs, seed=0)
    kwargs = {**CORE, **core}
    return plastic_rl.PlasticA2C(
        "MlpPolicy", env, n_steps=n_steps, policy_kwargs=kwargs, device="cpu", seed=0
    )


def learn(model: Any, steps: int, *callbacks: BaseCallback) -> dict[int, dict[str, Any]]:
    rows = Rows()
    model.set_logger(Logger(folder=None, output_formats=[rows]))
    model.learn(steps, callback=list(callbacks), log_interval=1)
    return rows.rows


def test_values_are_those_of_the_network() -> None:
    model = make_model(w_init=1.0, alpha_init=2.0, eta=0.3)
    parameters = (model.policy.get_parameter(f"core.{name}") for name in ("w", "alpha"))
    w, alpha = (p.detach().double().numpy() for p in parameters)
    values = plasticity_values(model)
    expected = {
        "plasticity/eta": 0.3,
        "plasticity/alpha_mean": np.abs(alpha).mean(),
        "plasticity/alpha_std": np.abs(alpha).std(),
        "plasticity/alpha_max": np.abs(alpha).max(),
        "plasticity/w_norm": np.sqrt((w**2).sum()),
        "plasticity/w_max": np.abs(w).max(),
        "plasticity/trace_norm": 0.0,
    }
    assert values == pytest.approx(expected, rel=1e-5)


def test_signs_do_not_matter_to_sizes() -> None:
    model = make_model(alpha_init=2.0)
    before = plasticity_values(model)
    with torch.no_grad():
        model.policy.get_parameter("core.alpha")[::2] *= -1
        model.policy.get_parameter("core.w").neg_()
    assert plasticity_values(model) == before


@pytest.mark.parametrize("alpha", ["full", "homogeneous", "none"])
@pytest.mark.parametrize("rule", ["hebb", "oja", "modulated"])
def test_every_rule_and_alpha_records_what_it_has(rule: str, alpha: str) -> None:
    callback = PlasticityCallback(log_freq=1, image_freq=1)
    recorded = learn(make_model(rule=rule, alpha=alpha), 20, callback)[20]
    expected = {"plasticity/w_norm", "plasticity/w_max", "plasticity/w"}
    if alpha != "none":
        expected |= {f"plasticity/{name}" for name in ("alpha_mean", "alpha_std", "alpha_max", "trace_norm")}
        of_the_rule = {"fan_out_mean", "w_m_norm", "b_m"} if rule == "modulated" else {"eta"}
        expected |= {f"plasticity/{name}" for name in of_the_rule}
    if alpha == "full":
        expected |= PICTURES
    assert set(recorded) == expected
    if alpha == "homogeneous":
        assert recorded["plasticity/alpha_std"] == 0


def test_the_trace_is_that_of_the_training_environments() -> None:
    traces = Traces()
    model = make_model(n_envs=3, w_init=0.5, eta=0.2)
    rows = learn(model, 90, PlasticityCallback(log_freq=1, image_freq=None), traces)
    norms = [np.sqrt((trace**2).sum(axis=(1, 2))).mean() for trace in traces.traces]
    recorded = [row["plasticity/trace_norm"] for row in rows.values()]
    assert len(set(norms)) == 3
    assert min(norms) > 1e-3
    assert recorded == pytest.approx(norms, rel=1e-5)


def test_it_records_as_often_as_asked() -> None:
    rows = learn(make_model(), 100, PlasticityCallback(log_freq=25, image_freq=45))
    assert list(rows) == list(range(10, 101, 10))
    assert [step for step, row in rows.items() if "plasticity/w_norm" in row] == [10, 40, 70, 100]
    assert [step for step, row in rows.items() if set(row) >= PICTURES] == [10, 60]
    rows = learn(make_model(), 20, PlasticityCallback(log_freq=1, image_freq=None))
    assert not any(isinstance(value, Image) for row in rows.values() for value in row.values())


def test_a_critics_own_core_is_recorded_too() -> None:
    model = make_model(share_features_extractor=False)
    recorded = learn(model, 10, PlasticityCallback(log_freq=1, image_freq=None))[10]
    for name in ("eta", "alpha_mean", "w_norm", "trace_norm"):
        assert f"plasticity/{name}" in recorded
        assert f"plasticity/critic_core/{name}" in recorded
    critic = model.policy.get_parameter("critic_core.w").detach().numpy()
    assert recorded["plasticity/critic_core/w_norm"] != recorded["plasticity/w_norm"]
    assert plasticity_values(model)["plasticity/critic_core/w_norm"] == pytest.approx(np.linalg.norm(critic))


class PlasticExtractor(FlattenExtractor):
    """Has a plastic network of its own, which comes before the core and remembers nothing between steps."""

    def __init__(self, space: gym.Space) -> None:
        super().__init__(space)
        self.inner = PlasticRNN(self.features_dim, 3)


@pytest.mark.parametrize("shared", [True, False])
def test_a_trace_stands_under_its_own_network(shared: bool) -> None:
    options = {"features_extractor_class": PlasticExtractor, "share_features_extractor": shared}
    model = make_model(**options)
    assert isinstance(model.policy, PlasticPolicy)
    model._state = model.policy.initial_state(1)
    model._state.actor.trace.fill_(1.0)
    if not shared:
        model._state.critic.trace.fill_(2.0)
    values = plasticity_values(model)
    n = len(model.policy.get_parameter("core.w"))
    norms = {key: value for key, value in values.items() if key.endswith("trace_norm")}
    expected = {"plasticity/core/trace_norm": float(n)}
    if not shared:
        expected["plasticity/critic_core/trace_norm"] = 2.0 * n
    assert norms == pytest.approx(expected)
    assert values["plasticity/w_norm"] == pytest.approx(inner_w_norm(model))


def inner_w_norm(model: Any) -> float:
    return next(module for module in model.policy.modules() if isinstance(module, PlasticRNN)).w.norm().item()


def test_any_module_with_w_and_alpha_is_plastic() -> None:
    class Connections(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(64, 5))
            self.alpha = nn.Parameter(torch.full((64, 5), -0.5))
            self.eta = torch.tensor(0.3)

    class Model:
        policy = nn.Sequential(nn.Linear(3, 64), Connections())

    assert list(plastic_modules(Model.policy)) == ["plasticity/"]
    values = plasticity_values(Model)
    assert values["plasticity/alpha_mean"] == 0.5
    assert values["plasticity/w_norm"] == pytest.approx(np.sqrt(320))
    assert plasticity_images(Model)["plasticity/w"].shape == (64 * 4, 5 * 4, 3)


def test_pictures_show_sign_and_size() -> None:
    model = make_model(hidden_size=2)
    with torch.no_grad():
        model.policy.get_parameter("core.alpha").copy_(torch.tensor([[0.0, 3.0], [-3.0, 1.5]]))
    images = plasticity_images(model)
    assert set(images) == PICTURES
    signed, size = (
        images[name][64::128, 64::128].astype(int) for name in ("plasticity/alpha", "plasticity/alpha_abs")
    )
    red, blue = signed[..., 0] - signed[..., 2], signed[..., 2] - signed[..., 0]
    assert red[0, 1] > 50
    assert blue[1, 0] > 50
    assert abs(red[0, 0]) < 10
    brightness = size.sum(axis=-1)
    assert brightness[0, 0] < brightness[1, 1] < brightness[0, 1] == brightness[1, 0]
    with torch.no_grad():
        model.policy.get_parameter("core.alpha").zero_()
    assert len(np.unique(plasticity_images(model)["plasticity/alpha"].reshape(-1, 3), axis=0)) == 1


def test_every_logger_takes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = make_model()
    model.set_logger(configure(str(tmp_path), ["stdout", "log", "json", "csv", "tensorboard"]))
    model.learn(30, callback=PlasticityCallback(log_freq=1, image_freq=20), log_interval=1)
    model.logger.close()

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["images"]) == PICTURES
    assert [event.step for event in events.Images("plasticity/alpha")] == [10, 30]
    assert (events.Images("plasticity/w")[0].width, events.Images("plasticity/w")[0].height) == (252, 252)
    norms = [event.value for event in events.Scalars("plasticity/trace_norm")]
    with open(tmp_path / "progress.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["plasticity/trace_norm"]) for row in rows] == pytest.approx(norms)
    assert "plasticity/w" not in rows[0]
    assert "trace_norm" in capsys.readouterr().out


def test_a_model_without_plastic_networks_is_pointed_out() -> None:
    model = A2C("MlpPolicy", "CartPole-v1", device="cpu")
    with pytest.warns(UserWarning, match="PlasticityCallback records nothing: ActorCriticPolicy"):
        rows = learn(model, 20, PlasticityCallback(log_freq=1))
    assert not any(rows.values())


@pytest.mark.parametrize("name", ["log_freq", "image_freq"])
@pytest.mark.parametrize("value", [0, -5, 2.5, True])
def test_bad_arguments_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got {value!r}"):
        PlasticityCallback(**{name: value})
