"""The progress of something long: bars, lines, and how the time left reads."""

import io

import pytest

from plastic_rl.runs import progress
from plastic_rl.runs.progress import Progress, time_left


class Terminal(io.StringIO):
    """A terminal of 80 columns."""

    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_says_how_much_time_is_left(clock):
    stream = io.StringIO()
    shown = Progress(1000, "step", done=200, stream=stream, every=30)
    clock[0] = 29.0
    shown.advance(300, lambda: "early")
    clock[0] = 40.0
    shown.advance(400)
    shown.advance(400, lambda: "well")
    shown.advance(410, lambda: "too soon")
    shown.close()
    # 200 steps in 40 seconds, 600 to go.
    assert stream.getvalue() == "400 of 1,000 steps, 5 steps/s, 2 min left, well\n"


def test_a_bar_on_a_terminal(monkeypatch):
    monkeypatch.setattr(progress, "_columns", lambda stream: 80)
    stream = Terminal()
    shown = Progress(10, "episode", stream=stream)
    shown.advance(4, lambda: "return 3")
    shown.advance(12)
    shown.close("return 4")
    assert "10.0/10.0" in stream.getvalue()
    assert "return 4" in stream.getvalue()
    assert "left" not in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (99, "99 s"), (101, "2 min"), (3600, "60 min"), (12000, "3 h 20 min")],
)
def test_durations(seconds, text):
    assert time_left(seconds) == text
