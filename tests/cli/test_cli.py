"""The command line: bad input, and what evaluate and watch do with a trained model."""

import io
import shlex
import shutil
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from plastic_rl.analysis.playback import record_episode
from plastic_rl.cli.main import main
from plastic_rl.training.a2c import PlasticA2C

# fmt: off
TINY = ["--n-envs", "2", "--device", "cpu", "--env-kwargs", "max_episode_steps:20",
        "--hyperparams", "n_steps:20", "policy_kwargs.hidden_size:6", "policy_kwargs.backend:reference"]
# fmt: on


def train(folder: Path, *arguments: str) -> int:
    return main(
        ["train", "PlasticMaze-v0", "--timesteps", "80", "--seed", "3", "--output", str(folder), *arguments]
    )


def contents(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert train(folder, *TINY) == 0
    return folder


@pytest.fixture
def workplace(tmp_path: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with everything that the bad commands below point at."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").write_text("text")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yml").write_text("env_id: PlasticMaze-v0")
    model = (run_folder / "model.zip").read_bytes()
    (tmp_path / "whole.zip").write_bytes(model)
    (tmp_path / "truncated.zip").write_bytes(model[: len(model) // 2])
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
        place = archive.getinfo("policy.safetensors").header_offset + 200
    (tmp_path / "damaged.zip").write_bytes(model[:place] + bytes(50) + model[place + 50 :])
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme", "not a model")
    with zipfile.ZipFile(tmp_path / "nonsense.zip", "w") as archive:
        archive.writestr("data", "{}")
        archive.writestr("policy.pth", "nonsense")
    (tmp_path / "unknown_key.yml").write_text(
        "default: {n_envs: 1, n_timesteps: 1, policy: MlpPolicy, n_stepz: 1}"
    )
    return tmp_path


MAZE = "train PlasticMaze-v0 "
POLE = "train CartPole-v1 "
POLICY = MAZE + "--n-envs 1 --hyperparams policy_kwargs"
UNFIT = "the settings do not fit: "
BAD_INPUT = [
    ("", "required"),
    ("trian PlasticMaze-v0", "trian"),
    ("train", "train needs an ENV_ID"),
    ("train PlasticMze-v0", "unknown environment 'PlasticMze-v0': did you mean PlasticMaze-v0"),
    ("train PlasticMaze", "unknown environment 'PlasticMaze': did you mean PlasticMaze-v0"),
    ("train no_module:PlasticMaze-v0", "no_module"),
    (MAZE + "--algo plastic_a3c", "unknown algorithm 'plastic_a3c': choose one of plastic_a2c"),
    (MAZE + "--config missing.yml", "no hyper-parameter file missing.yml"),
    (MAZE + "--config a_file", "must map environment ids"),
    (MAZE + "--config unknown_key.yml", "unknown key 'n_stepz' in entry 'default' of unknown_key.yml"),
    (MAZE + "--hyperparams n_stepz:5", "unknown key 'n_stepz'"),
    (MAZE + "--hyperparams n_steps", "'n_steps' is not of the form key:value"),
    (MAZE + "--hyperparams n_steps:0", "n_steps must be an integer of at least 1, got 0"),
    (MAZE + "--hyperparams policy_kwargs.rule:hepp", "rule must be one of hebb, oja"),
    (MAZE + "--hyperparams policy_kwargs.eta:0", "eta must lie"),
    (MAZE + "--hyperparams policy_kwargs.eta:1.0", "eta must lie"),
    (MAZE + "--hyperparams policy_kwargs.alpha:half", "alpha must be"),
    (MAZE + "--hyperparams policy_kwargs.hidden_size:0", "hidden_size must be"),
    (MAZE + "--hyperparams policy_kwargs.etta:0.1", "unknown key 'etta' among policy_kwargs"),
    (POLICY + ".net_arch:abc", UNFIT + "TypeError"),
    (POLICY + ".net_arch:5", UNFIT + "TypeError"),
    (POLICY + "':{net_arch: {pi: 3}}'", UNFIT + "TypeError"),
    (POLICY + ".optimizer_kwargs:3", UNFIT + "TypeError"),
    (POLICY + ".optimizer_kwargs.lr:1", UNFIT + "TypeError"),
    (POLICY + ".optimizer_kwargs.foo:1", "unknown key 'foo' among policy_kwargs.optimizer_kwargs"),
    (POLICY + ".hidden_size:30000000", UNFIT + "RuntimeError"),
    (POLICY + ".use_sde:true", "policy_kwargs.use_sde cannot be given"),
    (POLICY + "':{1: 3}'", "the keys of policy_kwargs must be names, not 1"),
    (
        POLICY + ".optimizer_kwargs:'{1: 3}'",
        "the keys of policy_kwargs.optimizer_kwargs must be names, not 1",
    ),
    (MAZE + "--hyperparams n_steps:1e15 --n-envs 1", UNFIT + "MemoryError"),
    (MAZE + "--hyperparams stats_window_size:1e30", "stats_window_size must be"),
    (POLE + "--hyperparams policy:MultiInputPolicy", UNFIT + "AttributeError"),
    ("train Pendulum-v1 --hyperparams policy_kwargs.log_std_init:abc", UNFIT + "TypeError"),
    ("train Blackjack-v1", UNFIT + "NotImplementedError"),
    (POLE + "--env-kwargs max_episode_steps:abc", "max_episode_steps"),
    (POLE + "--env-kwargs id:3", UNFIT + "TypeError"),
    ("train FrozenLake-v1 --env-kwargs map_name:9x9", UNFIT + "KeyError: '9x9'"),
    ("train .foo:CartPole-v1", "'.foo' is not the full name of a module"),
    ("train :CartPole-v1", "'' is not the full name of a module"),
    (MAZE + "--env-kwargs size:8", "size must be"),
    (MAZE + "--env-kwargs size:3", "size must be"),
    (MAZE + "--env-kwargs sise:9", "unknown key 'sise' among the arguments of PlasticMaze-v0"),
    (MAZE + "--env-kwargs size=9", "'size=9' is not of the form key:value"),
    (MAZE + "--timesteps -1", "n_timesteps must be"),
    (MAZE + "--timesteps many", "--timesteps"),
    (MAZE + "--n-envs 0", "n_envs must be"),
    (MAZE + "--seed -1", "--seed must lie"),
    (MAZE + "--device toaster", "device 'toaster' is not available"),
    (MAZE + "--device cuda:99", "device 'cuda:99' is not available"),
    (MAZE + "--output run", "already holds a run"),
    (MAZE + "--output a_file", "a_file is a file"),
    (MAZE + "--output a_file/run", "a_file is a file"),
    (MAZE + "--output /proc/run", "/proc/run cannot be written"),
    (MAZE + "--timesteps 9 --output ''", "argument --output: the path is empty"),
    (MAZE + "--timesteps 9 --output nul\0byte", "argument --output: 'nul\\x00byte' cannot be a path"),
    ("train --resume missing", "missing holds no run"),
    ("train --resume run", "is not the configuration of a run: algo"),
    ("train --resume run --seed 1", "--seed is fixed"),
    ("evaluate missing.zip PlasticMaze-v0", "no model at missing.zip"),
    ("evaluate run PlasticMaze-v0", "no model at run"),
    ("evaluate . PlasticMaze-v0", "ENV_ID and --algo are those of each run"),
    ("evaluate a_file PlasticMaze-v0", "a_file is damaged or not a model"),
    ("evaluate truncated.zip PlasticMaze-v0", "truncated.zip is damaged or not a model"),
    ("evaluate damaged.zip PlasticMaze-v0", "damaged.zip is damaged"),
    ("evaluate other.zip PlasticMaze-v0", "other.zip is damaged or not a model"),
    ("evaluate nonsense.zip PlasticMaze-v0", "nonsense.zip holds pickled objects ('data', 'policy.pth')"),
    ("evaluate whole.zip", "give the ENV_ID"),
    ("evaluate whole.zip CartPole-v1", "Observation spaces do not match"),
    ("evaluate whole.zip PlasticMaze-v0 --algo recurrent_ppo", "not of sb3_contrib.RecurrentPPO"),
    ("evaluate whole.zip PlasticMaze-v0 --algo nothing", "unknown algorithm 'nothing'"),
    ("evaluate whole.zip PlasticMaze-v0 --episodes 0", "at least 1"),
    ("watch whole.zip PlasticMaze-v0 --output episode.avi", "must end in .gif or .mp4"),
    ("watch whole.zip PlasticMaze-v0 --output missing/episode.gif", "cannot be written"),
    ("watch truncated.zip PlasticMaze-v0 --output episode.gif", "truncated.zip is damaged or not a model"),
    (
        "watch whole.zip PlasticMaze-v0 --env-kwargs max_episode_steps:3 --output /proc/x.gif",
        "--output /proc/x.gif cannot be written",
    ),
]


@pytest.mark.parametrize(("command", "message"), BAD_INPUT, ids=[command for command, _ in BAD_INPUT])
def test_bad_input_is_one_line_and_changes_nothing(
    command: str, message: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(workplace)
    assert main(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    assert err.startswith("plastic-rl: error: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert message in err
    assert out == ""
    assert contents(workplace) == before


def test_an_existing_run_is_never_overwritten(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(run_folder)
    assert train(run_folder, *TINY) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert contents(run_folder) == before


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("monitor.csv", None, "", "is not a monitor log"),
        ("monitor.csv", None, "garbage\n", "is not a monitor log"),
        ("monitor.csv", None, "\udcff", "is not text"),
        ("monitor.csv", "r,l,t\n", "", "is not a monitor log"),
        ("monitor.csv", ",20,", "\n", "is not a monitor log"),
        ("monitor.csv", None, None, "Is a directory"),
        ("progress.csv", None, "a,b\n1,2\n", "there is no column time/total_timesteps"),
        ("progress.csv", None, "time/total_timesteps\nmany\n", "is damaged"),
        ("progress.csv", None, "time/total_timesteps,a\n20\n", "rows are of different lengths"),
        ("progress.csv", None, None, "Is a directory"),
        ("config.yml", "device: cpu", "device: [1]", "device is [1]"),
        ("config.yml", "max_episode_steps: 20", "1: 2", "must be names, not 1"),
        ("config.yml", "n_envs: 2", "n_envs: 0", "n_envs is 0"),
        ("config.yml", "algo: plastic_a2c", "algo: foo", "unknown algorithm 'foo'"),
    ],
)
def test_damaged_files_are_named_and_a_run_is_left_alone(
    file: str,
    old: str | None,
    new: str | None,
    message: str,
    run_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = shutil.copytree(run_folder, tmp_path / "run")
    path = folder / file
    text = path.read_text()
    assert old is None or old in text
    if new is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_text(new if old is None else text.replace(old, new), errors="surrogateescape")
    before = contents(folder)
    assert main(["train", "--resume", str(folder), "--timesteps", "120"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert str(path) in err
    assert message in err
    assert contents(folder) == before


def test_a_row_cut_off_after_the_last_saved_model_does_no_harm(run_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run_folder, tmp_path / "run")
    log = folder / "monitor.csv"
    log.write_text(log.read_text() + "1.0,2")
    assert main(["train", "--resume", str(folder), "--timesteps", "120"]) == 0
    assert log.read_text().count("\n") == 2 + 6


@pytest.mark.parametrize(("file", "rows"), [("monitor.csv", 2 + 3 + 2), ("progress.csv", 0)])
def test_a_row_cut_off_by_a_loss_of_power_is_forgotten(
    file: str, rows: int, run_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(run_folder, tmp_path / "run")
    log = folder / file
    log.write_text(log.read_text()[:-3])
    assert main(["train", "--resume", str(folder), "--timesteps", "120"]) == 0
    assert log.read_text().count("\n") == rows


def test_faults_of_the_program_are_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **more: object) -> None:
        raise TypeError("unsupported operand")

    monkeypatch.setattr(PlasticA2C, "train", broken)
    with pytest.raises(TypeError, match="unsupported operand"):
        train(tmp_path / "run", *TINY)


def test_evaluate(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run_folder), "PlasticMaze-v0", "--episodes", "5", "--n-envs", "2"]) == 0
    sampled = capsys.readouterr().out
    # The run's own environment arguments count, so the levels of the default maze do not.
    assert (
        "PlasticMaze-v0(max_episode_steps=20): 5 episodes, actions sampled as in training, seed 0" in sampled
    )
    assert "mean return" in sampled
    assert "95 % interval of the mean" in sampled
    assert "for comparison" not in sampled
    assert main(["evaluate", str(run_folder), "--episodes", "5", "--n-envs", "2"]) == 0
    assert capsys.readouterr().out == sampled
    assert main(["evaluate", str(run_folder), "--episodes", "5", "--n-envs", "2", "--seed", "1"]) == 0
    other_seed = capsys.readouterr().out
    assert other_seed.splitlines()[1:] != sampled.splitlines()[1:]
    assert main(["evaluate", str(run_folder), "--episodes", "5", "--deterministic"]) == 0
    assert "5 episodes, the most probable actions" in capsys.readouterr().out


def test_evaluate_shows_the_levels_of_the_default_maze(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "alone.zip"
    model.write_bytes((run_folder / "model.zip").read_bytes())
    assert main(["evaluate", str(model), "PlasticMaze-v0", "--episodes", "2"]) == 0
    out = capsys.readouterr().out
    assert "random 0," in out
    assert "bayes-optimal 293" in out


def test_watch_leaves_an_animation_of_the_whole_episode(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "episode.gif"
    assert main(["watch", str(run_folder), "PlasticMaze-v0", "--output", str(output)]) == 0
    assert "in 20 steps" in capsys.readouterr().out
    with Image.open(output) as animation:
        shown = 0
        for frame in range(animation.n_frames):
            animation.seek(frame)
            animation.load()
            shown += animation.info["duration"]
    # Equal pictures may be merged into one that is shown for longer: 21 pictures of a tenth of a second.
    assert shown == 2100


def test_watch_says_when_the_episode_goes_on(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("plastic_rl.cli.saved.record_episode", partial(record_episode, max_steps=5))
    assert main(["watch", str(run_folder), "--output", str(tmp_path / "episode.gif")]) == 0
    assert "in the first 5 steps of an unfinished episode" in capsys.readouterr().out


def test_help_and_module_entry_point() -> None:
    command = [sys.executable, "-m", "plastic_rl", "train", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "ENV_ID" in result.stdout
    assert "--resume FOLDER" in result.stdout
