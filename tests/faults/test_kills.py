"""Trainings that are killed and terminated lose nothing that was saved: kills.py says what is looked at.

Two of each here; ``python tests/faults/kills.py --kills 20 --terms 20`` takes half an hour and more.
"""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("kills.py")


@pytest.mark.slow
@pytest.mark.long
def test_trainings_survive() -> None:
    command = [sys.executable, str(PROGRAM), "--kills", "2", "--terms", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 SIGKILL" in done.stdout
    assert "the same weights as in one go: {'killed': True, 'termed': True}" in done.stdout
