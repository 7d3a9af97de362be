"""The memory benchmark: what a call takes is seen, and a setting is named by what it changes."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed.memory import Setting, added_at_peak


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_what_a_call_takes_and_gives_back_is_seen() -> None:
    taken = 200_000_000

    def run() -> None:
        np.ones(taken // 8).sum()

    assert 0.9 * taken < added_at_peak(run) < 1.3 * taken
    assert added_at_peak(lambda: None) < 0.1 * taken


def test_a_setting_is_named_by_what_it_changes() -> None:
    assert str(Setting(n_envs=64)) == ""
    assert str(Setting(n_steps=1000, rule="modulated")) == "`n_steps=1000`, `rule=modulated`"
