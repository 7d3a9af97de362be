"""``plastic-rl sweep``: what is missing is trained, what failed is named, and compared is what is there."""

import csv
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from plastic_rl.cli import sweep_report
from plastic_rl.cli.main import main
from plastic_rl.runs import folder as runs
from plastic_rl.runs.lock import locked
from plastic_rl.runs.sweep import Sweep, read_sweep

pytest.importorskip("submitit")

FILE = """
envs: {PlasticMaze-v0: {size: 5, max_episode_steps: 12}}
folder: FOLDER
seeds: SEEDS
algo: plastic_a2c
timesteps: 240
settings:
  full: {n_envs: 4, n_steps: 6, policy_kwargs: {hidden_size: 5, rule: hebb, backend: reference}}
  none: {n_envs: 4, n_steps: 6, policy_kwargs: {hidden_size: 5, rule: hebb, backend: reference, alpha: none}}
evaluate: {episodes: 4}
table: {window: 4, levels: [-5, 900]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path)


def write(tmp_path: Path, seeds: str = "1", **changes: str) -> Path:
    text = FILE.replace("FOLDER", str(tmp_path / "out")).replace("SEEDS", seeds)
    for old, new in changes.items():
        text = text.replace(f"{old}:", new)
    path = tmp_path / "small.yml"
    path.write_text(text)
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "plastic_rl", "sweep", *map(str, arguments)]


def test_what_is_missing_is_trained_and_what_fails_is_named(file, capsys):
    sweep = read_sweep(file)
    missing, broken = sweep.runs
    runs.create_folder(broken.folder, broken.record())
    (broken.folder / runs.MODEL).write_text("no model")
    assert main(["sweep", str(file), "--jobs", "2"]) == 1
    output = capsys.readouterr().out
    assert "2 of 2 runs are to be trained" in output
    assert "PlasticMaze-v0, none, seed 0 failed, in" in output
    assert "plastic-rl: error:" in output, "the end of the log is missing"
    assert [run.state() for run in sweep.runs] == ["finished", "failed"]
    record = runs.read_config(missing.folder)
    assert record.condition == missing.condition
    assert record.hyperparams == missing.config.hyperparams
    result = missing.result()
    assert result is not None
    assert result["steps"] == 240
    assert result["processor_seconds"] > 0.1
    assert set(result["measures"]) == {"return"}

    # One result is lost; what failed stays so until somebody asks.
    (missing.folder / "result.json").unlink()
    before = (missing.folder / runs.MODEL).read_bytes()
    assert main(["sweep", str(file)]) == 1
    assert "1 of 2 runs are to be trained" in capsys.readouterr().out
    assert (missing.folder / runs.MODEL).read_bytes() == before
    assert [run.state() for run in sweep.runs] == ["finished", "failed"]


@pytest.mark.slow
def test_what_failed_is_retried_on_request(file):
    sweep = read_sweep(file)
    for run in sweep.runs:
        run.folder.mkdir(parents=True)
        (run.folder / "failure.txt").write_text("long ago\n")
    assert main(["sweep", str(file), "--retry"]) == 0
    assert [run.state() for run in sweep.runs] == ["finished", "finished"]


@pytest.mark.slow
def test_a_sweep_that_is_stopped_goes_on(tmp_path):
    file = write(tmp_path, timesteps="timesteps: 40000000 #")
    process = subprocess.Popen(command(file, "--jobs", "2"), stdout=subprocess.PIPE, text=True)
    logs = [run.folder / runs.MONITOR for run in read_sweep(file).runs]
    deadline = time.monotonic() + 120
    while not all(log.is_file() and log.stat().st_size > 500 for log in logs):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    # A second one has no place here.
    second = subprocess.run(command(file), capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert second.stderr.startswith("plastic-rl: error: another process trains in")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "every run is saved" in output
    sweep = read_sweep(file)
    assert len(sweep.of("stopped")) == 2
    for run in sweep.runs:
        assert (run.folder / "training_state.safetensors").is_file(), "it was not stopped between rollouts"
        assert not (run.folder / "failure.txt").exists()
        steps = int(runs.read_progress(run.folder, 10**9)[-1]["time/total_timesteps"])
        assert "from step 0" in (run.folder / "sweep.log").read_text()
        assert steps > 0


def test_two_sweeps_on_one_folder(file, capsys):
    folder = read_sweep(file).folder
    folder.mkdir()
    with locked(folder):
        assert main(["sweep", str(file)]) == 2
    assert "another process trains in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"evaluate": "evaluation:"}, "unknown key 'evaluation' in the file"),
        ({"n_steps": "nsteps:"}, "settings 'full': unknown key 'nsteps' among the given hyper-parameters"),
        ({"hidden_size": "hiden_size:"}, "unknown key 'hiden_size' among policy_kwargs"),
        ({"size": "sise:"}, "unknown key"),
    ],
)
def test_unknown_settings_are_one_line_before_anything_starts(tmp_path, changes, words, capsys):
    file = write(tmp_path, **changes)
    assert main(["sweep", str(file)]) == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no.yml"], "no sweep file no.yml"),
        (["look", "no.yml"], "sweep takes FILE, or one of status, table, plot and FILE, not 'look'"),
        (["no.yml", "--jobs", "0"], "--jobs and --threads must be at least 1"),
    ],
)
def test_bad_arguments(arguments, words, capsys):
    assert main(["sweep", *arguments]) == 2
    assert words in capsys.readouterr().err


def finished(sweep: Sweep) -> None:
    """Results as trainings would leave them: full has 10 times the seed more than none."""
    for run in sweep.runs:
        runs.create_folder(run.folder, run.record())
        mean = 50.0 + run.seed + (10 * run.seed if run.condition == "full" else 0)
        result = {"steps": 240, "weights": 1234, "processor_seconds": 90.0}
        (run.folder / "result.json").write_text(
            json.dumps({**result, "measures": {"return": {"mean": mean}}})
        )
        ramp = np.repeat([0.0, 100.0], 10) if run.condition == "full" else np.zeros(20)
        rows = "".join(f"{r},12,{(i + 1) * 6.0}\n" for i, r in enumerate(ramp))
        (run.folder / "monitor.csv").write_text('#{"t_start": 0.0}\nr,l,t\n' + rows)


def test_the_table_counts_right(tmp_path, capsys):
    file = write(tmp_path, seeds="[1, 2, 3]", table="table: {window: 4, levels: [50]} #")
    sweep = read_sweep(file)
    finished(sweep)
    assert main(["sweep", "table", str(file)]) == 0
    text = (sweep.folder / "table.md").read_text()
    assert text in capsys.readouterr().out
    assert "| full | 3 | 1,234 | 72.0 [61.0, 83.0] | 61.0, 72.0, 83.0 | 2.0 | 1.5 |" in text
    assert "| none | 3 | 1,234 | 52.0 [51.0, 53.0] | 51.0, 52.0, 53.0 | 2.0 | 1.5 |" in text
    (difference,) = (line for line in text.splitlines() if line.startswith("| full minus none"))
    assert difference.startswith("| full minus none | 20.0 [")
    # Two of the last four episodes are at 100 for the first time after twelve.
    assert "| full | 12, 1.2 min |" in text
    assert "| none | - (0 of 3) |" in text
    rows = list(csv.DictReader((sweep.folder / "table.csv").read_text().splitlines()))
    assert len(rows) == 6
    assert rows[0]["settings"] == "full"
    assert float(rows[0]["return"]) == 61.0


def test_the_table_says_how_far_trainings_were_after_so_many_episodes(tmp_path, capsys):
    file = write(tmp_path, seeds="[1, 2, 3]", table="table: {window: 4, at: [11, 20, 21]} #")
    finished(read_sweep(file))
    assert main(["sweep", "table", str(file)]) == 0
    text = capsys.readouterr().out
    # One of the last four episodes is at 100 after eleven; there is no twenty-first.
    assert "| full | 25.0 [25.0, 25.0] | 100.0 [100.0, 100.0] | - |" in text
    assert "| full minus none | 25.0 [25.0, 25.0] | 100.0 [100.0, 100.0] | - |" in text


def test_what_is_kept_stands_for_runs_that_are_elsewhere(tmp_path, capsys):
    file = write(tmp_path, seeds="[1, 2, 3]", table="results: kept\ntable: {window: 4, levels: [50]} #")
    sweep = read_sweep(file)
    finished(sweep)
    assert main(["sweep", "table", str(file)]) == 0
    text = (sweep.folder / "table.md").read_text()
    (sweep.runs[0].folder / "result.json").unlink()
    for run in sweep.runs:
        run.keep()
    kept = sorted((tmp_path / "kept").rglob("*.json"))
    assert len(kept) == 5, "the run without a result is not finished"
    assert kept[-1] == tmp_path / "kept" / "PlasticMaze-v0" / "none" / "seed_3.json"
    assert "hyperparams_file" not in kept[0].read_text()
    sweep.runs[0].folder.joinpath("result.json").write_text(json.dumps(sweep.runs[2].result()))
    sweep.runs[0].keep()
    shutil.rmtree(sweep.folder)

    for action, name in (("table", "table.md"), ("plot", "curves_PlasticMaze-v0.png")):
        assert main(["sweep", action, str(file)]) == 0
        assert (sweep.folder / name).stat().st_size > 100
        shutil.rmtree(sweep.folder)

    sweep = read_sweep(file)
    assert len(sweep.of("finished")) == 6
    assert main(["sweep", str(file)]) == 0
    assert "0 of 6 runs are to be trained" in capsys.readouterr().out
    assert main(["sweep", "table", str(file)]) == 0
    changed = text.replace("61.0, 72.0, 83.0", "72.0, 72.0, 83.0")
    there = (sweep.folder / "table.md").read_text()
    assert [line for line in there.splitlines() if "none | 3" in line or "12, 1.2 min" in line] == [
        line for line in changed.splitlines() if "none | 3" in line or "12, 1.2 min" in line
    ]
    assert "72.0, 72.0, 83.0" in there
    assert main(["sweep", "plot", str(file)]) == 0
    # What was kept of other settings is not theirs, and what is damaged is named.
    text = file.read_text()
    file.write_text(text.replace("hidden_size: 5", "hidden_size: 6"))
    assert main(["sweep", str(file)]) == 2
    assert "seed_1.json was trained with another hyperparams" in capsys.readouterr().err
    file.write_text(text)
    kept[0].write_text("{}")
    assert main(["sweep", str(file)]) == 2
    assert f"{kept[0]} is damaged, remove it" in capsys.readouterr().err


def test_a_folder_of_results_that_cannot_be_written_is_named(tmp_path, capsys):
    file = write(tmp_path, table="results: kept\ntable: {window: 4} #")
    finished(read_sweep(file))
    (tmp_path / "kept").write_text("no folder")
    assert main(["sweep", str(file)]) == 2
    errors = capsys.readouterr().err
    assert str(tmp_path / "kept") in errors
    assert errors.count("\n") == 1


def test_states_and_curves(tmp_path, capsys):
    file = write(tmp_path, seeds="[1, 2]")
    sweep = read_sweep(file)
    for action, words in (("table", "is finished: there is nothing to compare"), ("plot", "nothing to draw")):
        assert main(["sweep", action, str(file)]) == 2
        assert words in capsys.readouterr().err
    assert main(["sweep", "status", str(file)]) == 0
    assert "| PlasticMaze-v0 | full |  |  |  |  | 2 | 0% |" in capsys.readouterr().out
    finished(sweep)
    (sweep.runs[0].folder / "result.json").unlink()
    (sweep.runs[0].folder / "failure.txt").write_text("first\nlast words\n")
    status = sweep_report.status(sweep)
    assert "| PlasticMaze-v0 | full | 1 |  | 1 |  |  | 50% |" in status
    assert f"seed 1 failed, in {sweep.runs[0].folder}:\n    first\n    last words" in status
    assert main(["sweep", "plot", str(file)]) == 0
    assert iio.imread(sweep.folder / "curves_PlasticMaze-v0.png")[..., :3].std() > 5


def test_the_file_in_the_docs_is_one(tmp_path, read_blocks):
    page = Path(__file__).parents[2] / "docs" / "sweeps.md"
    if not page.is_file():
        pytest.skip("not a checkout")
    (block,) = read_blocks(page, "yaml")
    (tmp_path / "compare.yml").write_text(block.text)
    assert len(read_sweep(tmp_path / "compare.yml").runs) == 15


PRETENDER = {
    "sbatch": 'cp "$1" "$SLURM_PRETENDED/job.sh"; echo Submitted batch job 77',
    "srun": 'while [ "${1#-}" != "$1" ]; do case "$1" in --output|--error) shift;; esac; shift; done; "$@"',
    "sacct": 'printf "JobID|State|NodeList\\n77_0|PENDING|\\n77_1|PENDING|\\n"',
    "scontrol": "exit 1",
}


def test_slurm_gets_what_is_not_queued_and_runs_it(file, tmp_path, monkeypatch, capsys):
    """With programs in the place of SLURM's that take a submission, say that it waits, and run it later."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in PRETENDER.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755 | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_PRETENDED", str(tmp_path))
    assert main(["sweep", str(file), "--slurm", "timeout_min:30", "slurm_partition:cpu", "--jobs", "1"]) == 0
    assert "2 jobs submitted, 77_0 to 77_1" in capsys.readouterr().out
    script = (tmp_path / "job.sh").read_text()
    for line in ("--partition=cpu", "--time=30", "--array=0-1%1", "--cpus-per-task=1"):
        assert f"#SBATCH {line}" in script
    assert main(["sweep", str(file), "--slurm"]) == 0
    assert "0 jobs submitted; 2 are queued or running already" in capsys.readouterr().out
    job = {"SLURM_JOB_ID": "78", "SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "0", "SLURM_NTASKS": "1"}
    job |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_NUM_NODES": "1"}
    done = subprocess.run(
        ["bash", str(tmp_path / "job.sh")],
        env={**os.environ, **job},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [run.state() for run in read_sweep(file).runs] == ["finished", "missing"]
    assert main(["sweep", str(file), "--slurm", "no_such:1"]) == 2
    assert "no_such" in capsys.readouterr().err
