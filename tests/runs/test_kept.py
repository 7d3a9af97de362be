"""The small file that a sweep keeps of a run."""

import json

import numpy as np
import pytest

from plastic_rl.runs.kept import POINTS, keep, read_kept
from plastic_rl.runs.record import RunRecord

RECORD = RunRecord(
    env_id="PlasticMaze-v0",
    env_kwargs={"size": 7},
    algo="plastic_a2c",
    seed=3,
    n_envs=4,
    n_timesteps=100,
    hyperparams={"gamma": 0.9, "policy_kwargs": {"rule": "hebb"}},
)
RESULT = {"steps": 100, "weights": 7, "processor_seconds": 1.5, "measures": {"return": {"mean": 2.25}}}


def monitor(episodes: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.5, 1.5, episodes))
    return {"r": rng.normal(size=episodes), "l": rng.integers(1, 20, episodes), "t": times}


@pytest.mark.parametrize("episodes", [0, 1, 7, POINTS, 5 * POINTS + 3])
def test_what_is_kept_comes_back(tmp_path, episodes):
    logged = monitor(episodes)
    path = tmp_path / "there" / "seed_3.json"
    keep(path, RECORD, RESULT, logged)
    kept = read_kept(path)
    assert kept.record == RECORD
    assert kept.result == RESULT
    assert path.stat().st_size < 15_000
    for name, values in logged.items():
        assert kept.monitor[name].shape == values.shape
    if episodes <= POINTS:
        for name, values in logged.items():
            np.testing.assert_allclose(kept.monitor[name], values, rtol=1e-4)
    else:
        for name in ("r", "l"):
            assert kept.monitor[name].mean() == pytest.approx(logged[name].mean(), rel=1e-3)
            ours, theirs = (np.cumsum(values[name]) for values in (kept.monitor, logged))
            # Equal at the end of every stretch, of five or six episodes here.
            assert np.abs(ours - theirs).max() < 6 * np.abs(logged[name]).max()
        np.testing.assert_allclose(kept.monitor["t"], logged["t"], atol=5)
        assert (np.diff(kept.monitor["t"]) >= 0).all()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"record": 1, "result": {}, "curve": {}}'])
def test_a_damaged_file_is_named(tmp_path, text):
    path = tmp_path / "seed_3.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"seed_3\.json is damaged, remove it"):
        read_kept(path)


@pytest.mark.parametrize(
    ("part", "lost"), [("result", "steps"), ("result", "measures"), ("curve", "t"), ("record", "algo")]
)
def test_what_a_file_lacks_is_damage(tmp_path, part, lost):
    path = tmp_path / "seed_3.json"
    keep(path, RECORD, RESULT, monitor(5))
    content = json.loads(path.read_text())
    del content[part][lost]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"seed_3\.json is damaged, remove it"):
        read_kept(path)


def test_a_curve_that_is_cut_off_is_damage(tmp_path):
    path = tmp_path / "seed_3.json"
    keep(path, RECORD, RESULT, monitor(5))
    content = json.loads(path.read_text())
    content["curve"]["r"].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="columns of different lengths"):
        read_kept(path)
