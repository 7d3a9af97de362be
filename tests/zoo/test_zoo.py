"""RL-Zoo's commands on a plastic agent: train, go on, watch, tune, track and plot."""

import csv
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from plastic_rl.runs.hyperparams import load_config
from plastic_rl.training.a2c import PlasticA2C
from plastic_rl.training.ppo import PlasticPPO

AGENT = ["--algo", "plastic_a2c", "--env", "PlasticMaze-v0"]
# fmt: off
TINY = [*AGENT, "--device", "cpu", "--seed", "3", "--verbose", "0", "--env-kwargs", "max_episode_steps:20",
        "-params", "n_envs:2", "n_steps:20", "policy_kwargs:dict(hidden_size=6, backend='reference')"]
# fmt: on
RUN = Path("logs/plastic_a2c/PlasticMaze-v0_1")
MODEL = RUN / "PlasticMaze-v0.zip"


@pytest.fixture(scope="module")
def trained(zoo: ModuleType) -> Path:
    """The folder of a run of 80 steps with two evaluations and two checkpoints."""
    assert zoo.main(["train", *TINY, "-n", "80", "--eval-freq", "40", "--save-freq", "40"]) == 0
    return RUN


def test_train_leaves_model_evaluations_checkpoints_and_settings(trained: Path) -> None:
    model = PlasticA2C.load(trained / "PlasticMaze-v0.zip", device="cpu")
    assert model.num_timesteps == 80
    assert model.policy_kwargs["hidden_size"] == 6
    assert {f"rl_model_{steps}_steps.zip" for steps in (40, 80)} <= {path.name for path in trained.iterdir()}
    evaluations = np.load(trained / "evaluations.npz")
    assert evaluations["timesteps"].tolist() == [40, 80]
    assert (evaluations["ep_lengths"] == 20).all()
    saved = yaml.load((trained / "PlasticMaze-v0/config.yml").read_text(), yaml.UnsafeLoader)
    assert saved["n_envs"] == 2
    assert saved["gamma"] == 0.9  # from zoo_configs


def test_environments_are_batched_unless_vec_env_is_given(trained: Path, zoo: ModuleType) -> None:
    # A batch writes one monitor file, single environments one each.
    assert [path.name for path in trained.glob("*.monitor.csv")] == ["0.monitor.csv"]
    options = ["-n", "40", "--eval-freq", "20", "--vec-env", "dummy", "-f", "single"]
    assert zoo.main(["train", *TINY, *options]) == 0
    run = Path("single/plastic_a2c/PlasticMaze-v0_1")
    assert sorted(path.name for path in run.glob("*.monitor.csv")) == ["0.monitor.csv", "1.monitor.csv"]


def test_training_goes_on_from_a_saved_agent(trained: Path, zoo: ModuleType) -> None:
    before = PlasticA2C.load(MODEL, device="cpu")
    resumed = [*TINY, "-n", "40", "--eval-freq", "-1", "-f", "resumed", "-i", str(MODEL)]
    assert zoo.main(["train", *resumed]) == 0
    after = PlasticA2C.load("resumed/plastic_a2c/PlasticMaze-v0_1/PlasticMaze-v0.zip", device="cpu")
    assert after._n_updates == before._n_updates + 1
    shipped = load_config("PlasticMaze-v0", "plastic_a2c").kwargs()["learning_rate"](0.3)
    assert callable(after.learning_rate)
    assert callable(before.learning_rate)
    assert after.learning_rate(0.3) == before.learning_rate(0.3) == pytest.approx(shipped)


@pytest.mark.parametrize("env_id", ["PlasticMaze-v0", "plastic_rl:PlasticMaze-v0"])
def test_enjoy_plays_whole_episodes(
    trained: Path, zoo: ModuleType, capsys: pytest.CaptureFixture[str], env_id: str
) -> None:
    options = ["--no-render", "-n", "60", "--device", "cpu", "--load-best"]
    assert zoo.main(["enjoy", "--algo", "plastic_a2c", "--env", env_id, *options]) == 0
    out = capsys.readouterr().out
    assert "3 Episodes" in out
    assert "Mean episode length: 20.00 +/- 0.00" in out


def test_record_video_writes_an_animation(trained: Path, zoo: ModuleType) -> None:
    assert zoo.main(["record_video", *AGENT, "-n", "5", "--no-render"]) == 0
    (video,) = (trained / "videos").iterdir()
    assert video.read_bytes()[4:8] == b"ftyp"  # MP4


def test_optimize_draws_settings_and_a_trial_can_be_trained(
    zoo: ModuleType, settings_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[PlasticA2C] = []
    learn = PlasticA2C.learn

    def noted(self: PlasticA2C, *args: Any, **kwargs: Any) -> PlasticA2C:
        tried.append(self)
        return learn(self, *args, **kwargs)

    monkeypatch.setattr(PlasticA2C, "learn", noted)
    study = ["-conf", str(settings_file), "--storage", "study.log", "--study-name", "maze", "-f", "tuned"]
    agent = [*AGENT, "--device", "cpu", "--env-kwargs", "max_episode_steps:20", *study]
    options = ["-optimize", "--n-trials", "2", "--n-startup-trials", "2", "--eval-episodes", "1"]
    assert zoo.main(["train", *agent, "-n", "80", *options]) == 0
    (report,) = Path("tuned/plastic_a2c").glob("report_*.csv")
    with report.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["COMPLETE", "COMPLETE"]
    kept = {"rule": "oja", "backend": "reference", "optimizer_kwargs": {"eps": 1e-4}}
    drawn = [{"hidden_size": int(row["params_hidden_size"]), "eta": float(row["params_eta"])} for row in rows]
    assert [model.policy_kwargs for model in tried] == [{**kept, **policy_kwargs} for policy_kwargs in drawn]
    assert [model.policy.core.rule for model in tried] == ["oja", "oja"]

    assert zoo.main(["train", *agent, "-n", "80", "--eval-freq", "-1", "--trial-id", "1"]) == 0
    (path,) = Path("tuned/plastic_a2c").glob("*/PlasticMaze-v0.zip")
    model = PlasticA2C.load(path, device="cpu")
    assert model.gamma == pytest.approx(1 - float(rows[1]["params_one_minus_gamma"]))
    assert model.policy_kwargs == {**kept, **drawn[1]}
    saved = yaml.load((path.parent / "PlasticMaze-v0/config.yml").read_text(), yaml.UnsafeLoader)
    assert saved["policy_kwargs"] == model.policy_kwargs


def test_ppo_is_trained_played_filmed_and_tuned(
    zoo: ModuleType, settings_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = ["--algo", "plastic_ppo", "--env", "PlasticPairs-v0"]
    options = ["--device", "cpu", "--seed", "3", "-conf", str(settings_file)]
    assert zoo.main(["train", *agent, *options, "-n", "80", "--eval-freq", "40"]) == 0
    run = Path("logs/plastic_ppo/PlasticPairs-v0_1")
    model = PlasticPPO.load(run / "PlasticPairs-v0.zip", device="cpu")
    assert (model.num_timesteps, model.n_epochs, model.policy.core.rule) == (80, 4, "oja")
    capsys.readouterr()
    assert zoo.main(["enjoy", *agent, "--no-render", "-n", "64", "--device", "cpu"]) == 0
    assert "Mean episode length: 32.00" in capsys.readouterr().out
    assert zoo.main(["record_video", *agent, "-n", "5", "--no-render"]) == 0
    assert [path.suffix for path in (run / "videos").iterdir()] == [".mp4"]

    study = ["--storage", "ppo.log", "--study-name", "ppo", "-f", "tuned"]
    trials = ["-optimize", "--n-trials", "1", "--n-startup-trials", "1", "--eval-episodes", "1"]
    assert zoo.main(["train", *agent, *options, *study, *trials, "-n", "80"]) == 0
    # RL-Zoo takes trial 0 for none.
    assert zoo.main(["train", *agent, *options, *study, *trials, "-n", "80"]) == 0
    report = max(Path("tuned/plastic_ppo").glob("report_*.csv"), key=lambda path: path.stat().st_mtime)
    with report.open() as file:
        drawn = list(csv.DictReader(file))[1]
    tuned = [*agent, *options, *study, "-n", "80", "--eval-freq", "-1", "--trial-id", "1"]
    assert zoo.main(["train", *tuned]) == 0
    (path,) = Path("tuned/plastic_ppo").glob("*/PlasticPairs-v0.zip")
    model = PlasticPPO.load(path, device="cpu")
    assert model.policy_kwargs["hidden_size"] == int(drawn["params_hidden_size"])
    assert model.policy_kwargs["rule"] == "oja"
    assert model.ent_coef == pytest.approx(float(drawn["params_ent_coef"]))


@pytest.mark.slow
def test_track_writes_an_offline_run(tmp_path: Path) -> None:
    """In a process of its own: W&B changes classes of Gymnasium and TensorBoard for good."""
    for package in ("rl_zoo3", "wandb", "tensorboard"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    # A proxy that is not there: any attempt to use the network would fail.
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    options = ["-n", "80", "--eval-freq", "40", "--log-interval", "1", "--track"]
    done = subprocess.run(
        [sys.executable, "-m", "plastic_rl.zoo", "train", *TINY, *options],
        env={**os.environ, **proxies, "WANDB_MODE": "offline", "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (run_file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    stored = run_file.read_bytes()
    for name in (b"plastic_a2c", b"eval/mean_reward", b"train/policy_loss", b"train/eta"):
        assert name in stored, name


def test_plots_show_training_and_evaluation(
    trained: Path, zoo: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[Axes] = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gca()))
    plt.close("all")
    names = ["-a", "plastic_a2c", "-e", "PlasticMaze-v0", "-f", "logs"]
    assert zoo.main(["plot_train", *names, "-w", "2"]) == 0
    (line,) = shown[0].get_lines()
    assert np.asarray(line.get_xdata())[-1] == 80
    # The figure made of a file compares runs: with a single one RL-Zoo has nothing to draw.
    assert zoo.main(["train", *TINY, "-n", "80", "--eval-freq", "40"]) == 0
    assert zoo.main(["all_plots", *names, "--no-display", "--no-million", "-o", "results"]) == 0
    assert "PLASTIC_A2C" in capsys.readouterr().out
    assert (
        zoo.main(["plot_from_file", "--trust", "-i", "results.pkl", "-o", "results.png", "--format", "png"])
        == 0
    )
    assert Path("results.png").read_bytes().startswith(b"\x89PNG")
    plt.close("all")
