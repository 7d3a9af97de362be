"""The progress of a training: a bar where it can be seen, plain lines elsewhere."""

import os
import struct
import sys
from pathlib import Path

import pytest

from plastic_rl.runs import progress
from plastic_rl.runs.callbacks import ProgressCallback
from plastic_rl.training.a2c import PlasticA2C


@pytest.mark.parametrize(("terminal", "columns", "lines"), [(True, 80, 0), (True, 0, 4), (False, 80, 4)])
def test_there_are_plain_lines_where_a_bar_would_not_be_seen(
    terminal: bool,
    columns: int,
    lines: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setattr(progress, "_columns", lambda stream: columns)
    model = PlasticA2C("MlpPolicy", "CartPole-v1", n_steps=10, policy_kwargs={"hidden_size": 4}, device="cpu")
    model.learn(40, callback=ProgressCallback(every=0.0))
    out = capsys.readouterr().out
    assert out.count(" of 40 steps, ") == lines
    assert ("step/s" in out) == (lines == 0)


@pytest.mark.skipif(sys.platform != "linux", reason="sets the size of a terminal as Linux does")
@pytest.mark.parametrize("columns", [0, 120])
def test_the_width_is_that_of_the_terminal(columns: int) -> None:
    import fcntl
    import termios

    outer, inner = os.openpty()
    try:
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        with Path(f"/dev/fd/{inner}").open("w") as stream:
            assert progress._columns(stream) == columns
    finally:
        os.close(outer)
        os.close(inner)
