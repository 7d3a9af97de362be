"""Figures of several runs, of lifetimes, matrices and reconstructions: the numbers in them and the files."""

import json
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from matplotlib.figure import Figure

from plastic_rl.analysis import plots
from plastic_rl.analysis.lifetime import Lifetimes
from plastic_rl.analysis.plots.animation import trace_animation
from plastic_rl.training.a2c import PlasticA2C


def axes() -> Any:
    return Figure().add_subplot()


def run_folder(path: Path, returns: Any, seconds: Any) -> Path:
    path.mkdir()
    rows = "".join(f"{r},10,{t}\n" for r, t in zip(returns, seconds, strict=True))
    (path / "monitor.csv").write_text("#" + json.dumps({"t_start": 0.0, "env_id": "X"}) + "\nr,l,t\n" + rows)
    return path


def in_file(path: Path) -> bool:
    """Whether there is a picture that shows something."""
    return float(iio.imread(path)[..., :3].std()) > 5


def test_running_mean() -> None:
    values = np.random.default_rng(0).normal(size=300)
    means = plots.running_mean(values, 50)
    assert means[200] == pytest.approx(values[151:201].mean())
    assert means[9] == pytest.approx(values[:10].mean())
    with pytest.raises(ValueError, match="window must be at least 1"):
        plots.running_mean(values, 0)


def test_quartiles_against_episodes_end_with_the_shortest_run() -> None:
    runs = [{"r": np.full(n, level), "t": np.arange(n)} for n, level in ((30, 1.0), (20, 2.0), (40, 6.0))]
    places, low, median, high = plots.quartiles_over_runs(runs, window=5)
    assert places.tolist() == list(range(1, 21))
    assert set(low) == {1.5}
    assert set(median) == {2.0}
    assert set(high) == {4.0}


def test_quartiles_against_minutes_count_the_episodes_that_had_ended() -> None:
    quick = {"r": np.arange(1.0, 11), "t": np.arange(1.0, 11) * 60}
    slow = {"r": np.arange(1.0, 11), "t": np.arange(1.0, 11) * 120}
    places, low, median, high = plots.quartiles_over_runs([quick, slow], window=1, against="minutes")
    assert places[0] == pytest.approx(2)
    assert places[-1] == pytest.approx(10)
    at_six = np.searchsorted(places, 6.001)
    # The quick run has ended six episodes, the slow one three.
    assert [low[at_six], median[at_six], high[at_six]] == pytest.approx([3.75, 4.5, 5.25])


def test_quartiles_of_nothing() -> None:
    run = {"r": np.ones(3), "t": np.ones(3)}
    for runs, options, message in (
        ([], {}, "no episode has finished"),
        ([{"r": np.array([]), "t": np.array([])}], {}, "no episode has finished"),
        ([run], {"against": "steps"}, "against must be one of episodes, minutes"),
        ([run], {"window": 0}, "window must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            plots.quartiles_over_runs(runs, **options)


def test_learning_curves_of_groups(tmp_path: Path) -> None:
    seeds = [run_folder(tmp_path / f"a{n}", np.full(20, n), np.arange(20)) for n in (1, 2, 9)]
    other = run_folder(tmp_path / "b", np.full(50, 5.0), np.arange(50))
    place = axes()
    plots.learning_curves({"many": seeds, "one": [other]}, place, {"random": 0.0}, "maze", window=10)
    many, one, level = place.get_lines()
    assert set(many.get_ydata()) == {2.0}
    assert many.get_xdata()[-1] == 20
    assert one.get_xdata()[-1] == 50
    assert level.get_ydata()[0] == 0
    assert [text.get_text() for text in place.get_legend().get_texts()] == ["many (3 seeds)", "one (1 seed)"]
    assert place.get_xlabel() == "training episodes"
    assert "median and quartiles over seeds" in place.get_title()
    plots.learning_curves({"many": seeds}, tmp_path / "curves.png", against="minutes")
    assert in_file(tmp_path / "curves.png")
    with pytest.raises(ValueError, match="groups is empty"):
        plots.learning_curves({}, place)


def lives(seed: int = 0, steps: int = 60, batch: int = 30) -> Lifetimes:
    rng = np.random.default_rng(seed)
    return Lifetimes(np.where(rng.random((steps, batch)) < 0.1, 10.0, 0.0))


def test_lifetime_curves_show_the_mean_over_lifetimes() -> None:
    place, recorded = axes(), lives()
    plots.lifetime_curves({"intact": recorded}, place, window=6)
    (line,) = place.get_lines()
    steps, mean = line.get_data()
    assert steps.tolist() == list(range(6, 61))
    assert mean[0] == pytest.approx(recorded.rewards[:6].mean())
    assert mean[-1] == pytest.approx(recorded.rewards[-6:].mean())
    with pytest.raises(ValueError, match="window must lie between 1 and 60"):
        plots.lifetime_curves({"intact": recorded}, place, window=61)


def test_curves_around_the_first_hit_leave_it_out() -> None:
    place, recorded = axes(), lives()
    plots.first_hit_curves({"intact": recorded}, place, window=2, before=5, after=8)
    before, after, _ = place.get_lines()
    assert set(before.get_ydata()) == {0.0}
    assert before.get_xdata().max() == -1
    assert after.get_xdata().tolist() == list(range(2, 9))
    aligned = recorded.around_first_hit(0, 8)[1:3].mean(axis=0)
    assert after.get_ydata()[0] == pytest.approx(np.nanmean(aligned))
    with pytest.raises(ValueError, match="at least as long as window"):
        plots.first_hit_curves({"intact": recorded}, place, window=6, before=5)


def test_search_times_end_where_the_median_is_unknown() -> None:
    rewards = np.zeros((10, 3))
    # Hits: after 2, 4 and 9 steps; after 5 and 6; after 8.
    rewards[[1, 3, 8], 0] = rewards[[4, 5], 1] = rewards[[7], 2] = 10
    place = axes()
    groups = {"intact": Lifetimes(rewards), "wiped": Lifetimes(np.zeros((10, 3)))}
    plots.search_time_curves(groups, place, hits=3, best=1.5)
    medians, nothing, best = place.get_lines()
    assert not len(nothing.get_xdata())
    assert [line.get_label() for line in (medians, nothing)] == ["intact", "wiped: most have no hit"]
    assert medians.get_xydata().tolist() == [[1, 5], [2, 2]]
    assert best.get_ydata()[0] == 1.5


def test_plastic_matrices_and_their_pictures(tmp_path: Path) -> None:
    policy = PlasticA2C("MlpPolicy", "PlasticMaze-v0", device="cpu", policy_kwargs={"hidden_size": 7}).policy
    matrices = plots.plastic_matrices(policy)
    for name in ("alpha", "w"):
        np.testing.assert_array_equal(matrices[name], policy.get_parameter(f"core.{name}").detach().numpy())
    plots.weight_matrices(matrices, tmp_path / "matrices.png", np.arange(7)[::-1], "a title")
    assert in_file(tmp_path / "matrices.png")
    kwargs = {"hidden_size": 7, "alpha": "homogeneous"}
    policy = PlasticA2C("MlpPolicy", "PlasticMaze-v0", device="cpu", policy_kwargs=kwargs).policy
    assert list(plots.plastic_matrices(policy)) == ["w"]
    with pytest.raises(ValueError, match="matrices is empty"):
        plots.weight_matrices({}, tmp_path / "nothing.png")


def test_neuron_order_gathers_what_belongs_together() -> None:
    kind = np.array([1, -1, 1, 1, -1, -1, 1])
    order = plots.neuron_order(np.outer(kind, kind) + 0.01 * np.arange(49).reshape(7, 7))
    assert sorted(order) == list(range(7))
    assert np.abs(np.diff(kind[order])).sum() == 2


def test_trace_snapshots(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    traces = {"before": rng.normal(size=(9, 9)), "after": rng.normal(size=(9, 9))}
    plots.trace_snapshots(traces, tmp_path / "trace.png", alpha=rng.normal(size=(9, 9)), title="a title")
    plots.trace_snapshots(traces, tmp_path / "alone.png")
    assert in_file(tmp_path / "trace.png")
    assert iio.imread(tmp_path / "trace.png").shape[0] > iio.imread(tmp_path / "alone.png").shape[0]
    with pytest.raises(ValueError, match="traces is empty"):
        plots.trace_snapshots({}, tmp_path / "nothing.png")


def test_reconstructions(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truths = rng.uniform(-1, 1, size=(4, 64))
    probes = truths.copy()
    probes[:, 32:] = 0
    plots.reconstructions(probes, 0.9 * truths, truths, tmp_path / "images.png")
    picture = iio.imread(tmp_path / "images.png")[..., :3].astype(int)
    orange = np.abs(picture - (0xE6, 0x9F, 0x00)).sum(axis=2) < 20
    # Half of the first of three rows was erased.
    assert 0.05 < orange.mean() < 0.2
    assert not orange[len(orange) // 2 :].any()
    plots.reconstructions(truths, truths, truths, tmp_path / "row.png", shape=(1, 64))
    for arrays, shape, message in (
        ((truths[0], truths[0], truths[0]), None, "one shape"),
        ((truths, truths[:2], truths), None, "one shape"),
        ((truths, truths, truths), (5, 5), "shape must have 64 elements"),
    ):
        with pytest.raises(ValueError, match=message):
            plots.reconstructions(*arrays, tmp_path / "nothing.png", shape)  # type: ignore[call-arg]
    assert not (tmp_path / "nothing.png").exists()


def test_animation_shows_frame_and_trace() -> None:
    frames = [np.full((384, 352, 3), 10 * t, dtype=np.uint8) for t in range(3)]
    traces = np.zeros((4, 1, 120, 120), dtype=np.float32)
    traces[1:, 0, :60] = 1
    recorded = Lifetimes(np.zeros((3, 1)), traces=traces, frames=frames)
    pictures = trace_animation(recorded)
    assert len(pictures) == 3
    assert len({picture.shape for picture in pictures}) == 1
    np.testing.assert_array_equal(pictures[2][:, :352], frames[2])
    panel = pictures[2][60:300, 400:600].astype(int)
    assert (panel[:80, :, 0] - panel[:80, :, 2] > 50).all()
    assert np.ptp(panel[-80:, :, :], axis=2).max() < 10
    # The other half of the neurons first.
    turned = trace_animation(recorded, np.arange(120)[::-1])[2][60:300, 400:600].astype(int)
    assert (turned[-80:, :, 0] - turned[-80:, :, 2] > 50).all()
    with pytest.raises(ValueError, match="keep_frames=True and keep_traces=True"):
        trace_animation(Lifetimes(np.zeros((3, 1))))
