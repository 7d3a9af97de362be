"""What RL-Zoo would run of a log folder is refused before it is read, unless it is trusted."""

import contextlib
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import gymnasium as gym
import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from plastic_rl.training.a2c import PlasticA2C

NAME = "CartPole-v1"
PLAY = ["--algo", "plastic_a2c", "--env", NAME, "--no-render", "-n", "5"]
SMALL = {"n_steps": 4, "device": "cpu", "policy_kwargs": {"hidden_size": 4, "backend": "reference"}}


class Mark:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.fixture
def run(zoo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of settings beside a model, in an empty current folder."""
    monkeypatch.chdir(tmp_path)
    settings = tmp_path / "logs/plastic_a2c/CartPole-v1_1" / NAME
    settings.mkdir(parents=True)
    PlasticA2C("MlpPolicy", NAME, **SMALL).save(settings.parent / NAME)
    (settings / "config.yml").write_text("n_envs: 1\n")
    (settings / "args.yml").write_text("env_kwargs: null\n")
    return settings


def yaml_that_runs(name: str) -> Callable[[Path, Path], None]:
    def write(run: Path, mark: Path) -> None:
        (run / name).write_text(f"env_kwargs: null\nx: !!python/object/apply:os.mkdir ['{mark}']\n")

    return write


def code_in_normalize(run: Path, mark: Path) -> None:
    (run / "config.yml").write_text(f"normalize: \"open('{mark}', 'w') and dict()\"\n")


def foreign_wrapper(run: Path, mark: Path) -> None:
    Path("leaves_a_mark.py").write_text(f"import os\n\nos.mkdir({str(mark)!r})\n")
    (run / "config.yml").write_text("env_wrapper:\n- leaves_a_mark.Wrapper: {}\n")


def function_for_a_wrapper(run: Path, mark: Path) -> None:
    (run / "config.yml").write_text("vec_env_wrapper: plastic_rl.envs.reference_levels\n")


def pickled_statistics(run: Path, mark: Path) -> None:
    (run / "config.yml").write_text("normalize: true\n")
    (run / "vecnormalize.pkl").write_bytes(pickle.dumps(Mark(mark)))


def pickled_model(run: Path, mark: Path) -> None:
    model = PlasticA2C("MlpPolicy", NAME, **SMALL)
    model.ep_info_buffer = Mark(mark)  # type: ignore[assignment]
    BaseAlgorithm.save(model, run.parent / NAME)


HARMFUL = {
    "config": (yaml_that_runs("config.yml"), "config.yml holds what is not plain YAML"),
    "arguments": (yaml_that_runs("args.yml"), "args.yml holds what is not plain YAML"),
    "normalize": (code_in_normalize, "config.yml holds Python code, normalize: open"),
    "wrapper": (foreign_wrapper, "the env_wrapper leaves_a_mark.Wrapper, which RL-Zoo would import"),
    "function": (function_for_a_wrapper, "the vec_env_wrapper plastic_rl.envs.reference_levels"),
    "statistics": (pickled_statistics, "vecnormalize.pkl holds pickled objects"),
    "model": (pickled_model, "CartPole-v1.zip holds pickled objects"),
}


@pytest.mark.parametrize("command", ["enjoy", "record_video"])
@pytest.mark.parametrize("case", HARMFUL)
def test_nothing_of_a_run_is_run(
    run: Path,
    zoo: ModuleType,
    case: str,
    command: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make, message = HARMFUL[case]
    mark = run.parents[3] / "mark"
    monkeypatch.syspath_prepend(str(Path.cwd()))
    make(run, mark)
    assert zoo.main([command, *PLAY]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert "--trust" in error
    assert not mark.exists()


@pytest.mark.parametrize("case", ["config", "statistics", "model", "wrapper"])
def test_with_trust_it_is(run: Path, zoo: ModuleType, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # So that the tests above test something: RL-Zoo does run these, of which some are of no other use.
    mark = run.parents[3] / "mark"
    monkeypatch.syspath_prepend(str(Path.cwd()))
    HARMFUL[case][0](run, mark)
    with contextlib.suppress(AssertionError, AttributeError, TypeError):
        zoo.main(["enjoy", "--trust", *PLAY])
    assert mark.exists()


def test_old_agents_play_and_train_with_trust(
    run: Path, zoo: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = run.parent / f"{NAME}.zip"
    BaseAlgorithm.save(PlasticA2C("MlpPolicy", NAME, **SMALL), agent)
    assert zoo.main(["enjoy", *PLAY, "--trust"]) == 0
    train = [
        "train",
        "--algo",
        "plastic_a2c",
        "--env",
        NAME,
        "-n",
        "8",
        "--eval-freq",
        "-1",
        "-i",
        str(agent),
    ]
    train += ["--device", "cpu", "-params", "n_envs:1", "n_steps:4", "policy_kwargs:dict(hidden_size=4)"]
    train += ["normalize:False"]
    assert zoo.main(train) == 2
    assert "--trust" in capsys.readouterr().err
    assert zoo.main([*train, "--trust"]) == 0
    # What has been trained is in the format of today.
    assert zoo.main(["enjoy", *PLAY]) == 0


def test_trust_lasts_for_one_command(run: Path, zoo: ModuleType) -> None:
    BaseAlgorithm.save(PlasticA2C("MlpPolicy", NAME, **SMALL), run.parent / NAME)
    assert zoo.main(["enjoy", *PLAY, "--trust"]) == 0
    assert zoo.main(["enjoy", *PLAY]) == 2


def test_a_normalized_agent_goes_on_with_trust(
    run: Path, zoo: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    VecNormalize(DummyVecEnv([lambda: gym.make(NAME)])).save(str(run / "vecnormalize.pkl"))
    agent = str(run.parent / f"{NAME}.zip")
    train = ["train", "--algo", "plastic_a2c", "--env", f"plastic_rl:{NAME}", "-n", "8", "--eval-freq", "-1"]
    train += ["-i", agent, "--device", "cpu", "-params", "n_envs:1", "n_steps:4", "normalize:True"]
    assert zoo.main(train) == 2
    assert "vecnormalize.pkl holds pickled objects" in capsys.readouterr().err
    assert zoo.main([*train, "--trust"]) == 0


@pytest.mark.parametrize("command", [["enjoy"], ["record_video"], ["train", "-i", "a2c.zip"]])
def test_other_algorithms_are_pickled(
    run: Path, zoo: ModuleType, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    A2C("MlpPolicy", NAME, device="cpu").save("a2c.zip")
    assert zoo.main([*command, "--algo", "a2c", "--env", NAME]) == 2
    assert "models of a2c hold pickled objects, which can run any code" in capsys.readouterr().err


def test_plots_of_pickles_want_trust(
    zoo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark, source = tmp_path / "mark", tmp_path / "results.pkl"
    source.write_bytes(pickle.dumps(Mark(mark)))
    assert zoo.main(["plot_from_file", "-i", str(source)]) == 2
    assert f"{source} holds pickled objects" in capsys.readouterr().err
    assert not mark.exists()


def test_wrappers_of_known_modules_are_taken(run: Path, zoo: ModuleType) -> None:
    (run / "config.yml").write_text(
        "!!python/object/apply:collections.OrderedDict\n"
        "- - - env_wrapper\n    - - plastic_rl.envs.PreviousActionReward\n"
        "      - rl_zoo3.wrappers.ActionNoiseWrapper: {}\n"
        "  - - normalize\n    - false\n"
    )
    from plastic_rl.zoo.trust import check_run

    check_run(run)
    shutil.rmtree(run)
    check_run(run)  # RL-Zoo plays without
