"""Trainings that are killed and terminated lose nothing that was saved: kills.py says what is looked at."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("kills.py")


@pytest.mark.parametrize(
    ("kills", "terms"), [(2, 2), pytest.param(20, 20, marks=pytest.mark.slow)], ids=["quick", "whole"]
)
def test_trainings_survive(kills: int, terms: int) -> None:
    command = [sys.executable, str(PROGRAM), "--kills", str(kills), "--terms", str(terms)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{kills} SIGKILL" in done.stdout
    assert "the same weights as in one go: {'killed': True, 'termed': True}" in done.stdout
