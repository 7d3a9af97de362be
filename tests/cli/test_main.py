"""What the commands have in common: their table, numbers, the version, what there is."""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import plastic_rl
from plastic_rl.cli import main as cli
from plastic_rl.cli.arguments import whole_number
from plastic_rl.cli.errors import CommandError
from plastic_rl.envs import ENVIRONMENTS
from plastic_rl.ops.plastic_rnn import RULES
from plastic_rl.runs.hyperparams import ALGORITHMS
from plastic_rl.runs.pretrained import available, read_record


def test_a_command_is_a_module_and_a_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("times", type=whole_number)

    def run(arguments: argparse.Namespace) -> int:
        if arguments.times < 1:
            raise CommandError("too\nseldom")
        print("hello " * arguments.times)
        return 7

    greet: Any = SimpleNamespace(SUMMARY="say hello", add_arguments=add_arguments, run=run)
    monkeypatch.setitem(cli.COMMANDS, "greet", greet)
    assert cli.main(["greet", "2"]) == 7
    assert capsys.readouterr().out == "hello hello \n"
    assert cli.main(["greet", "0"]) == 2
    assert capsys.readouterr().err == "plastic-rl: error: too seldom\n"
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    out = capsys.readouterr().out
    assert "greet" in out
    assert "say hello" in out


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e6", 1_000_000), ("12", 12), ("-3", -3), ("2.0", 2), (f"{2**53 + 1}", 2**53 + 1)],
)
def test_whole_numbers(text: str, number: int) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize("text", ["1.5", "many", "", "inf", "nan", "1e400"])
def test_what_is_no_whole_number_is_named(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number"):
        whole_number(text)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"plastic-rl {plastic_rl.__version__}\n"


def test_the_list_has_all_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    out = capsys.readouterr().out
    assert available()
    for name in (*ENVIRONMENTS, *ALGORITHMS, "rnn", "gru", "lstm", *RULES, *available()):
        assert name in out, name
    for name in available():
        score = read_record(name).score
        assert score is not None
        assert f"mean return {score['mean_return']:g}" in out
    assert "bayes-optimal 293" in out


@pytest.mark.parametrize("command", [["list"], ["sweep", "status", "sweep.yml"]])
def test_output_that_nobody_reads_is_no_error(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "sweep.yml").write_text("envs: [PlasticMaze-v0]\nfolder: runs\n")
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as nobody:
        done = subprocess.run(
            [sys.executable, "-m", "plastic_rl", *command],
            cwd=tmp_path,
            stdout=nobody,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, "")


def test_another_broken_pipe_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(arguments: argparse.Namespace) -> int:
        raise BrokenPipeError("a worker has died")

    broken: Any = SimpleNamespace(SUMMARY="break", add_arguments=lambda parser: None, run=run)
    monkeypatch.setitem(cli.COMMANDS, "break", broken)
    with pytest.raises(BrokenPipeError, match="a worker has died"):
        cli.main(["break"])


@pytest.mark.parametrize(
    "command", ["train", "evaluate", "watch", "plot", "export", "push", "data", "list", "completion"]
)
def test_the_help_of_a_command_imports_no_torch(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "plastic_rl", command, "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not {"torch", "numba", "stable_baselines3", "matplotlib"} & modules
