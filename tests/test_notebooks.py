"""The notebooks run from the first cell to the last, with shorter trainings, and hold no output."""

import json
import re
from pathlib import Path

import gymnasium as gym
import matplotlib.pyplot as plt
import pytest

from plastic_rl.envs.datasets import BadDataError, omniglot
from plastic_rl.ops.plastic_rnn import rules

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"
LONGEST_TRAINING = 10_000

pytestmark = pytest.mark.skipif(not NOTEBOOKS.is_dir(), reason="not a checkout")


def cells(notebook):
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


def shortened(code):
    """At most LONGEST_TRAINING steps in every training."""
    return re.sub(r"\b(learn\(|steps=)([\d_]+)", lambda m: m[1] + str(min(int(m[2]), LONGEST_TRAINING)), code)


@pytest.mark.parametrize(
    "notebook",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem == "few_shot" else [])
        for path in sorted(NOTEBOOKS.glob("*.ipynb"))
    ],
)
def test_it_runs(notebook, tmp_path, monkeypatch):
    if notebook.stem == "few_shot":
        try:
            omniglot()
        except (FileNotFoundError, BadDataError) as error:
            pytest.skip(str(error))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rules, "_RULES", dict(rules._RULES))
    before = dict(gym.registry)
    plt.switch_backend("Agg")
    namespace = {"__name__": "__main__"}
    try:
        for k, cell in enumerate(cells(notebook)):
            if cell["cell_type"] == "code":
                code = shortened("".join(cell["source"]))
                exec(compile(code, f"{notebook.name}, cell {k}", "exec"), namespace)
    finally:
        plt.close("all")
        for name in set(gym.registry) - set(before):
            del gym.registry[name]


@pytest.mark.parametrize("notebook", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_it_holds_no_output(notebook):
    for cell in cells(notebook):
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def test_all_of_them_are_listed():
    listed = (NOTEBOOKS.parent / "notebooks.md").read_text(encoding="utf-8")
    names = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))
    assert len(names) == 5
    assert all(f"](notebooks/{name})" in listed for name in names)
