"""`plastic-rl evaluate` of a folder that holds runs, and `plastic-rl watch` as a film."""

import json
import shutil

import imageio.v3 as iio
import numpy as np
import pytest

from plastic_rl.analysis.playback import save_animation
from plastic_rl.cli import scores
from plastic_rl.cli.main import main

EPISODES = ["--episodes", "3", "--n-envs", "2"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of one setting, and one of another."""
    root = tmp_path_factory.mktemp("runs")
    for name, size, seed in (("a", 4, 0), ("b", 4, 1), ("c", 5, 0)):
        what = f"train CartPole-v1 --timesteps 640 --n-envs 2 --seed {seed} --output {root / name}"
        settings = f"n_steps:16 learning_rate:0.03 policy_kwargs.hidden_size:{size}"
        assert main([*what.split(), "--hyperparams", *settings.split()]) == 0
    return root


def test_every_run_and_the_mean_over_seeds(runs, capsys):
    assert main(["evaluate", str(runs), *EPISODES]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith(f"{runs}/")] == [
        f"{runs / name}: CartPole-v1: 3 episodes, actions sampled as in training, seed 0" for name in "abc"
    ]
    assert sum(line.startswith("  mean return") for line in lines) == 3
    (group,) = (line for line in lines if "of 2 runs" in line)
    assert group.startswith("hidden_size 4: return of 2 runs, mean ")
    assert "95 % interval over runs" in group


def test_as_json(runs, capsys):
    assert main(["evaluate", str(runs), *EPISODES, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [run["run"] for run in content["runs"]] == [str(runs / name) for name in "abc"]
    means = [run["measures"]["return"]["mean"] for run in content["runs"]]
    group = content["groups"]["hidden_size 4"]["return"]
    assert group["runs"] == 2
    assert means[0] != means[1]
    assert group["mean"] == pytest.approx(np.mean(means[:2]))
    assert group["interval"] is not None
    assert content["groups"]["hidden_size 5"]["return"]["interval"] is None
    # Each as if it were asked for alone.
    assert main(["evaluate", str(runs / "b"), *EPISODES, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["measures"]["return"]["mean"] == means[1]


def test_one_environment_for_all_is_refused(runs, capsys):
    assert main(["evaluate", str(runs), "CartPole-v1", *EPISODES]) == 2
    assert "ENV_ID and --algo are those of each run" in capsys.readouterr().err


def test_a_folder_without_runs(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "no model at" in capsys.readouterr().err


def test_progress_goes_where_results_do_not(runs, capsys, monkeypatch):
    class Eager(scores.Progress):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **{**kwargs, "every": 0.0})

    monkeypatch.setattr(scores, "Progress", Eager)
    assert main(["evaluate", str(runs / "a"), *EPISODES, "--json"]) == 0
    captured = capsys.readouterr()
    assert "of 3 episodes" in captured.err
    assert "left, CartPole-v1" in captured.err
    json.loads(captured.out)


def test_a_single_episode_has_no_spread(runs, capsys):
    assert main(["evaluate", str(runs / "a"), "--episodes", "1"]) == 0
    out = capsys.readouterr().out
    assert "nan" not in out
    assert "\nreturn " in out


# imageio's reader leaves the pipes to its program open, which shows whenever they are collected.
READS_FILM = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@READS_FILM
def test_a_film(runs, tmp_path, capsys):
    pytest.importorskip("imageio_ffmpeg")
    output = tmp_path / "episode.mp4"
    assert (
        main(["watch", "PlasticMaze-v0", "--env-kwargs", "max_episode_steps:12", "--output", str(output)])
        == 0
    )
    assert f"stored in {output}" in capsys.readouterr().out
    film = iio.imread(output, plugin="FFMPEG")
    assert film.shape == (13, 384, 352, 3)
    assert film[0].std() > 10


@READS_FILM
def test_films_of_odd_pictures(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    frames = [np.full((33, 41, 3), 20 * i, dtype=np.uint8) for i in range(10)]
    save_animation(frames, tmp_path / "odd.mp4", fps=25)
    film = iio.imread(tmp_path / "odd.mp4", plugin="FFMPEG")
    assert film.shape == (10, 34, 42, 3)
    assert np.abs(film.mean(axis=(1, 2, 3)) - 20 * np.arange(10)).max() < 5
    with pytest.raises(ValueError, match=r"path must end in .gif or .mp4, got .*odd.avi"):
        save_animation(frames, tmp_path / "odd.avi")


def test_a_resumed_run_is_marked(runs, tmp_path, monkeypatch):
    folder = tmp_path / "resumed"
    shutil.copytree(runs / "a", folder)
    drawn = []
    monkeypatch.setattr("plastic_rl.cli.session.learning_curve", lambda *a, **k: drawn.append(k["resumed"]))
    for steps in (960, 1280):
        assert main(["train", "--resume", str(folder), "--timesteps", str(steps)]) == 0
    (first,), both = drawn
    assert len(both) == 2
    assert 0 < first == both[0] < both[1]
    monitor = (folder / "monitor.csv").read_text().splitlines()
    assert both[1] < len(monitor) - 2
