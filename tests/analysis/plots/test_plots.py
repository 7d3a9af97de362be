"""The learning curve: its numbers, its lines and the file it leaves."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from matplotlib.figure import Figure

from plastic_rl.analysis.plots import learning_curve, running_statistics
from plastic_rl.analysis.plots.style import line_style


def axes_of(returns: np.ndarray, **options: object):
    axes = Figure().add_subplot()
    learning_curve(returns, axes, **options)
    return axes


def test_running_statistics_look_back_over_the_window() -> None:
    returns = np.random.default_rng(0).normal(size=500)
    ends, mean, low, high = running_statistics(returns, window=100)
    assert ends.tolist() == list(range(1, 501))
    assert mean[249] == pytest.approx(returns[150:250].mean())
    assert mean[9] == pytest.approx(returns[:10].mean())
    assert (low[-1], high[-1]) == pytest.approx(tuple(np.quantile(returns[400:], [0.1, 0.9])))


def test_long_runs_are_thinned_out_but_keep_both_ends() -> None:
    returns = np.arange(100_000.0)
    ends, mean, _, _ = running_statistics(returns, window=10, points=50)
    assert len(ends) == 50
    assert (ends[0], ends[-1]) == (1, 100_000)
    assert mean[-1] == pytest.approx(returns[-10:].mean())


def test_curve_and_labelled_levels() -> None:
    axes = axes_of(np.arange(30.0), levels={"random": 0.0, "bayes-optimal": 293.0}, title="a title", window=5)
    curve, *levels = axes.get_lines()
    assert curve.get_xydata()[-1].tolist() == [30.0, 27.0]
    assert [line.get_ydata()[0] for line in levels] == [0.0, 293.0]
    assert [text.get_text() for text in axes.texts] == ["random (0)", "bayes-optimal (293)"]
    assert axes.get_title() == "a title"
    assert axes.get_xlabel() == "training episodes"
    assert axes.get_ylabel() == "return (sum of rewards per episode)"


def test_where_a_training_was_resumed() -> None:
    axes = axes_of(np.arange(30.0), levels={"random": 0.0}, resumed=[7, 20])
    *_, marks = axes.get_lines()
    assert list(marks.get_xdata()) == [7, 20]
    assert [text.get_text() for text in axes.get_legend().get_texts()][-1] == "resumed"
    assert "resumed" not in [text.get_text() for text in axes_of(np.arange(30.0)).get_legend().get_texts()]


def test_without_levels_only_the_curve() -> None:
    assert len(axes_of(np.arange(30.0)).get_lines()) == 1


def test_reads_monitor_logs_and_writes_a_picture(tmp_path: Path) -> None:
    header = '#{"t_start": 100.0, "env_id": "X"}\nr,l,t\n'
    (tmp_path / "0.monitor.csv").write_text(header + "1.0,10,1.0\n3.0,10,3.0\n")
    (tmp_path / "1.monitor.csv").write_text(header + "2.0,10,2.0\n")
    axes = Figure().add_subplot()
    learning_curve(tmp_path, axes, window=1)
    assert axes.get_lines()[0].get_ydata().tolist() == [1.0, 2.0, 3.0]
    learning_curve(tmp_path, tmp_path / "curve.png")
    learning_curve(tmp_path / "1.monitor.csv", second := Figure().add_subplot(), window=1)
    assert second.get_lines()[0].get_ydata().tolist() == [2.0]
    picture = iio.imread(tmp_path / "curve.png")
    assert picture.shape == (675, 1200, 4)
    assert picture[..., :3].std() > 10


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no episode"):
        learning_curve(np.array([]), tmp_path / "curve.png")
    with pytest.raises(ValueError, match="window"):
        learning_curve(np.ones(3), tmp_path / "curve.png", window=0)
    with pytest.raises(FileNotFoundError, match="no monitor log"):
        learning_curve(tmp_path, tmp_path / "curve.png")
    (tmp_path / "monitor.csv").write_text('#{"t_start": 100.0}\nr,l,t\n1.0,ten,1.0\n')
    with pytest.raises(ValueError, match=r"monitor\.csv is not a monitor log, or is damaged"):
        learning_curve(tmp_path, tmp_path / "curve.png")
    assert not (tmp_path / "curve.png").exists()


def test_no_two_of_42_lines_look_alike() -> None:
    assert len({line_style(i) for i in range(42)}) == 42
