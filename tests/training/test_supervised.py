"""SupervisedMetaLearner: training, saving, going on, and what Stable-Baselines3 users expect of it."""

import io
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv

from plastic_rl.envs import Episodes, EpisodicTaskEnv
from plastic_rl.policies import Autoassociator, PlasticRNNPolicy
from plastic_rl.training.supervised import SupervisedMetaLearner

LENGTH = 7


class Recall:
    """Two patterns of n signs are shown, then nothing, then a half of one, of which the rest is asked for."""

    episode_length = LENGTH

    def __init__(self, n: int = 8) -> None:
        self.observation_space = gym.spaces.Box(-1, 1, (n,))
        self.action_space = gym.spaces.Box(-1, 1, (n,))

    def sample_episodes(self, batch: int, rng: np.random.Generator) -> Episodes:
        (n,) = self.action_space.shape
        patterns = rng.choice([-1.0, 1.0], (2, batch, n)).astype(np.float32)
        observations = np.zeros((LENGTH, batch, n), np.float32)
        observations[:2], observations[2:4] = patterns
        targets = np.where(rng.random((batch, 1)) < 0.5, patterns[0], patterns[1])
        observations[5:, :, : n // 2] = targets[:, : n // 2]
        return Episodes(observations, targets)

    def score(self, episodes: Episodes, actions: np.ndarray) -> np.ndarray:
        return -((actions - episodes.targets) ** 2).mean(axis=1)

    def metrics(self, episodes: Episodes, actions: np.ndarray) -> dict[str, np.ndarray]:
        return {"wrong": (np.sign(actions) != episodes.targets).mean(axis=1)}


class First:
    """Three of five classes are shown, one after the other; the answer is the first, 10 to 14."""

    observation_space = gym.spaces.Discrete(5)
    action_space = gym.spaces.Discrete(5, start=10)
    episode_length = 3

    def sample_episodes(self, batch: int, rng: np.random.Generator) -> Episodes:
        classes = rng.integers(5, size=(3, batch))
        return Episodes(classes, 10 + classes[0])

    def score(self, episodes: Episodes, actions: np.ndarray) -> np.ndarray:
        return (actions == episodes.targets).astype(float)


def learner(
    task: object = None, policy: str = "AutoassociatorPolicy", **kwargs: Any
) -> SupervisedMetaLearner:
    env = EpisodicTaskEnv(task or Recall())
    settings: dict[str, Any] = {"learning_rate": 0.01, "batch_size": 5, "seed": 0, "device": "cpu", **kwargs}
    if policy == "AutoassociatorPolicy":
        settings["policy_kwargs"] = {"eta": 0.1, **settings.get("policy_kwargs", {})}
    return SupervisedMetaLearner(policy, env, **settings)


def parameters(model: SupervisedMetaLearner) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


class Recorder(BaseCallback):
    """Remembers what callbacks are told; stops the training after `stop_after` updates."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.stop_after = stop_after
        self.rollouts = self.ends = 0
        self.rewards: list[np.ndarray] = []
        self.steps: list[int] = []

    def _on_rollout_start(self) -> None:
        self.rollouts += 1

    def _on_training_end(self) -> None:
        self.ends += 1

    def _on_step(self) -> bool:
        assert self.locals["dones"].all()
        assert [info["episode"]["r"] for info in self.locals["infos"]] == self.locals["rewards"].tolist()
        self.rewards.append(self.locals["rewards"])
        self.steps.append(self.num_timesteps)
        return self.n_calls != self.stop_after


def test_a_pattern_memory_is_learned_in_seconds() -> None:
    final = {}
    for alpha in ("full", "none"):
        model = learner(
            Recall(16), batch_size=16, learning_rate=0.03, policy_kwargs={"alpha": alpha, "eta": 0.1}
        )
        recorder = Recorder()
        model.learn(100 * 16 * LENGTH, callback=recorder)
        assert np.mean(recorder.rewards[0]) == pytest.approx(-0.5, abs=0.05)
        final[alpha] = np.mean(recorder.rewards[-15:])
    assert final["full"] > -0.2
    assert final["none"] < -0.3


@pytest.mark.parametrize("policy", ["LSTMPolicy", "RNNPolicy", "PlasticRNNPolicy"])
def test_a_task_of_ones_own_is_learned(policy: str) -> None:
    model = learner(First(), policy, batch_size=64, policy_kwargs={"hidden_size": 32})
    recorder = Recorder()
    model.learn(150 * 64 * 3, callback=recorder)
    assert np.mean(recorder.rewards[0]) < 0.5
    assert np.mean(recorder.rewards[-10:]) > 0.95


def test_steps_are_those_of_the_environment() -> None:
    model, recorder = learner(), Recorder()
    model.learn(75, callback=recorder)
    assert model.num_timesteps == 105
    assert recorder.steps == [35, 70, 105]
    assert (recorder.rollouts, recorder.ends) == (3, 1)
    assert len(model.ep_info_buffer) == 15
    model.learn(30, reset_num_timesteps=False)
    assert model.num_timesteps == 140
    assert model.learn(30).num_timesteps == 35


def test_a_callback_can_stop_it() -> None:
    model, recorder = learner(), Recorder(stop_after=2)
    model.learn(1000, callback=recorder)
    assert model.num_timesteps == 70
    assert recorder.ends == 1


def test_the_same_seed_gives_the_same_training() -> None:
    one, same, other = (learner(seed=seed).learn(200) for seed in (3, 3, 4))
    assert_same(parameters(one), parameters(same))
    assert not torch.equal(one.policy.network.connections.w, other.policy.network.connections.w)


@pytest.mark.parametrize("rate", [0.01, LinearSchedule(0.01, 0.0, 1.0)])
def test_going_on_after_a_break_changes_nothing(tmp_path: Path, rate: object) -> None:
    whole = learner(learning_rate=rate).learn(700)
    first = learner(learning_rate=rate)
    first.learn(700, callback=Recorder(stop_after=10))
    assert first.num_timesteps == 350
    first.save(tmp_path / "model.zip")
    np.random.seed(99)  # noqa: NPY002
    torch.manual_seed(99)
    second = SupervisedMetaLearner.load(tmp_path / "model.zip", env=EpisodicTaskEnv(Recall()), device="cpu")
    assert_same(parameters(first), parameters(second))
    second.learn(350, reset_num_timesteps=False)
    assert second.num_timesteps == whole.num_timesteps == 700
    assert_same(parameters(whole), parameters(second))
    assert whole.episode_rng.bit_generator.state == second.episode_rng.bit_generator.state
    moments = [model.policy.optimizer.state_dict()["state"] for model in (whole, second)]
    for index, state in moments[0].items():
        assert_same(state, moments[1][index])


def test_a_loaded_model_can_be_seeded_anew() -> None:
    file = io.BytesIO()
    learner().learn(100).save(file)
    trained = []
    for seed in (5, 5, 6):
        file.seek(0)
        model = SupervisedMetaLearner.load(file, env=EpisodicTaskEnv(Recall()), device="cpu")
        model.set_random_seed(seed)
        trained.append(parameters(model.learn(100, reset_num_timesteps=False)))
    assert_same(trained[0], trained[1])
    assert not torch.equal(trained[0]["network.connections.w"], trained[2]["network.connections.w"])


def test_a_model_does_not_go_onto_another_kind_of_environment() -> None:
    file = io.BytesIO()
    learner().save(file)
    file.seek(0)
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        SupervisedMetaLearner.load(file, env=EpisodicTaskEnv(Recall(6)), device="cpu")
    with pytest.raises(ValueError, match="spaces do not match"):
        learner().set_env(EpisodicTaskEnv(First()))


def test_a_loss_of_ones_own() -> None:
    seen = []

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append((tuple(outputs.shape), tuple(targets.shape), targets.dtype))
        return (outputs - targets).abs().mean()

    learner(loss_fn=loss).learn(20)
    assert seen == [((5, 8), (5, 8), torch.float32)]
    seen.clear()
    model = learner(
        First(), "RNNPolicy", policy_kwargs={"hidden_size": 3}, loss_fn=lambda o, t: loss(o[:, 0], t)
    )
    model.learn(10)
    assert seen == [((5,), (5,), torch.int64)]


class Biased(First):
    """The first class can be told to be always the same."""

    def sample_episodes(self, batch: int, rng: np.random.Generator, *, first: int | None = None) -> Episodes:
        classes = super().sample_episodes(batch, rng).observations
        assert isinstance(classes, np.ndarray)
        if first is not None:
            classes[0] = first
        return Episodes(classes, 10 + classes[0])


def test_arguments_of_the_draw_hold_in_training() -> None:
    drawn: list[int] = []

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        drawn.extend(targets.tolist())
        return outputs.sum()

    model = SupervisedMetaLearner(
        "RNNPolicy",
        EpisodicTaskEnv(Biased()),
        batch_size=20,
        loss_fn=loss,
        sample_kwargs={"first": 3},
        policy_kwargs={"hidden_size": 4},
    )
    model.learn(60)
    assert drawn == [3] * 20
    with pytest.raises(ValueError, match=r"sample_kwargs must be arguments of Biased.*'second'"):
        SupervisedMetaLearner("RNNPolicy", EpisodicTaskEnv(Biased()), sample_kwargs={"second": 3})


def test_the_gradient_is_clipped() -> None:
    sgd = {"optimizer_class": torch.optim.SGD, "w_lr_scale": 1.0}
    free, clipped = (
        learner(max_grad_norm=norm, policy_kwargs=sgd, learning_rate=1.0) for norm in (None, 1e-3)
    )
    changes = []
    for model in (free, clipped):
        before = model.policy.parameters_to_vector()
        model.learn(20)
        changes.append(np.linalg.norm(model.policy.parameters_to_vector() - before))
    assert changes[1] == pytest.approx(1e-3, rel=0.01)
    assert changes[0] > 0.1


def test_weights_and_plasticities_have_rates_of_their_own() -> None:
    def change(alpha: str, **kwargs: Any) -> tuple[float, ...]:
        model = learner(policy_kwargs={"alpha": alpha, **kwargs})
        before = parameters(model)
        model.learn(LENGTH * 5)
        after = parameters(model)
        names = ("w", "alpha" if alpha == "full" else "w")
        # The first step of Adam is as long as the learning rate.
        return tuple(
            (after[key] - before[key]).abs().max().item()
            for key in (f"network.connections.{n}" for n in names)
        )

    assert change("full") == pytest.approx((0.001, 0.01), rel=1e-3)
    assert change("full", w_lr_scale=0.5) == pytest.approx((0.005, 0.01), rel=1e-3)
    assert change("none") == pytest.approx((0.01, 0.01), rel=1e-3)
    with pytest.raises(ValueError, match="w_lr_scale must be a finite number above 0, got 0"):
        learner(policy_kwargs={"w_lr_scale": 0})


@pytest.mark.parametrize("alpha", ["full", "none"])
def test_a_plastic_core_can_learn_at_a_rate_of_its_own(tmp_path: Path, alpha: str) -> None:
    def change(scale: float) -> tuple[float, ...]:
        given = {"hidden_size": 6, "alpha": alpha, "w_init": 0.5, "core_lr_scale": scale}
        model = learner(policy="PlasticRNNPolicy", policy_kwargs=given)
        model.policy.save(tmp_path / "policy")
        assert PlasticRNNPolicy.load(tmp_path / "policy").core_lr_scale == scale
        model.save(tmp_path / "new")
        model = SupervisedMetaLearner.load(tmp_path / "new", env=model.get_env(), device="cpu")
        before = parameters(model)
        model.learn(LENGTH * 5)
        after = parameters(model)
        matrices = ["network.core.w", *(["network.core.alpha"] if alpha == "full" else [])]
        names = (*matrices, "network.core.drive.weight", next(name for name in after if "core" not in name))
        # The first step of Adam is as long as the learning rate.
        return tuple((after[name] - before[name]).abs().max().item() for name in names)

    n = 2 if alpha == "full" else 1
    assert change(1.0) == pytest.approx((*[0.01] * n, 0.01, 0.01), rel=1e-3)
    assert change(0.1) == pytest.approx((*[0.001] * n, 0.01, 0.01), rel=1e-3)
    with pytest.raises(ValueError, match="core_lr_scale must be a finite number above 0, got 0"):
        learner(policy="PlasticRNNPolicy", policy_kwargs={"core_lr_scale": 0})


def test_a_diverged_training_leaves_the_parameters() -> None:
    model = learner(loss_fn=lambda outputs, targets: outputs.sum() * float("nan"))
    before = parameters(model)
    with pytest.raises(ValueError, match="the gradient is nan after 0 steps"):
        model.learn(20)
    assert_same(before, parameters(model))


def test_it_logs(tmp_path: Path) -> None:
    model = learner(stats_window_size=10)
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(700, log_interval=5)
    model.logger.close()
    header, *rows = (tmp_path / "progress.csv").read_text().splitlines()
    assert len(rows) == 4
    row = dict(zip(header.split(","), map(float, rows[-1].split(",")), strict=True))
    assert row["time/total_timesteps"] == 700
    assert (row["time/episodes"], row["train/n_updates"], row["rollout/ep_len_mean"]) == (100, 20, LENGTH)
    recent = list(model.ep_info_buffer)
    assert row["rollout/ep_rew_mean"] == pytest.approx(np.mean([info["r"] for info in recent]))
    assert row["rollout/wrong_mean"] == pytest.approx(np.mean([info["wrong"] for info in recent]))
    network = model.policy.network
    assert isinstance(network, Autoassociator)
    assert network.eta is not None
    assert row["train/eta"] == pytest.approx(network.eta.item())
    assert row["train/learning_rate"] == 0.01
    assert row["train/loss"] > 0
    assert row["train/grad_norm"] > 0
    assert row["time/fps"] > 0


def test_tensorboard_and_progress_bar(tmp_path: Path) -> None:
    learner(tensorboard_log=str(tmp_path)).learn(400, log_interval=5, progress_bar=True)
    assert list(tmp_path.glob("SupervisedMetaLearner_1/events*"))


def test_sb3_callbacks(tmp_path: Path) -> None:
    evaluation = EvalCallback(Monitor(EpisodicTaskEnv(Recall())), n_eval_episodes=3, eval_freq=5, verbose=0)
    checkpoint = CheckpointCallback(save_freq=4, save_path=str(tmp_path))
    learner().learn(350, callback=[evaluation, checkpoint])
    assert evaluation.evaluations_timesteps == []
    assert evaluation.n_calls == 10
    assert np.isfinite(evaluation.last_mean_reward)
    assert {path.name for path in tmp_path.iterdir()} == {"rl_model_140_steps.zip", "rl_model_280_steps.zip"}
    assert SupervisedMetaLearner.load(tmp_path / "rl_model_140_steps.zip", device="cpu").num_timesteps == 140


def test_several_environments_are_one_task() -> None:
    several = DummyVecEnv([lambda: EpisodicTaskEnv(Recall())] * 3)
    model = SupervisedMetaLearner("AutoassociatorPolicy", several, batch_size=5, seed=0, device="cpu")
    assert model.learn(70).num_timesteps == 70
    alone = learner(learning_rate=1e-3, policy_kwargs={"eta": 0.01})
    assert_same(parameters(model), parameters(alone.learn(70)))
