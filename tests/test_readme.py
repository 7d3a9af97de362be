"""The README's code runs as it stands, with shorter trainings."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("block", blocks("python"))
def test_python_blocks_run(block, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shortened, count = re.subn(r"learn\([\d_]+\)", "learn(4_000)", block)
    assert count > 0
    exec(compile(shortened, str(README), "exec"), {})
    out = capsys.readouterr().out
    assert "mean return" in out
    assert "trace (1, 100, 100)" in out


def test_commands_name_options_that_exist():
    from plastic_rl.training.cli import _parser

    lines = [
        line for block in blocks("bash") for line in block.splitlines() if line.startswith("plastic-rl ")
    ]
    assert len(lines) >= 4
    for line in lines:
        _parser().parse_args(line.split()[1:])


def test_files_it_links_to_exist():
    text = README.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert len(links) >= 5
    for link in links:
        assert (README.parent / link).exists(), link
