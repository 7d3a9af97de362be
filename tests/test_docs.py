"""What the README and the pages of docs/ say is so: their code runs, their commands and links exist.

The Python blocks of a page run one after the other in one namespace, with shorter trainings, in an empty
folder. A block that cannot run everywhere says why in a comment on the line above it:

    <!-- needs: wandb, tensorboard -->     runs where these packages can be imported
    <!-- not run: it needs the images of Omniglot -->     is only compiled
"""

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from plastic_rl.cli.main import make_parser
from plastic_rl.ops.plastic_rnn import rules
from plastic_rl.tracking.options import TRACKERS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
LINKING = [*PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"))]
LONGEST_TRAINING = 500
# Trainings of this page run in tests/tracking/test_wandb_output.py, which looks at what they leave.
TRAINED_ELSEWHERE = DOCS / "tracking.md"
# What the code of a page is known to print.
SHOWN = {"docs/features.md": ["mean return", "trace (1, 69, 69)"]}

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="not a checkout")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def reason_to_skip(block: Any) -> str | None:
    """Why a block does not run here; a comment of any other form is an error."""
    if not block.comment:
        return None
    kind, colon, value = block.comment.partition(": ")
    assert colon, f"line {block.line}: {block.comment!r} is no reason"
    assert kind in ("needs", "not run"), f"line {block.line}: {block.comment!r} is no reason"
    if kind == "not run":
        return value
    missing = [name for name in value.split(", ") if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} not installed" if missing else None


def shortened(code: str) -> str:
    """The code with at most LONGEST_TRAINING steps in every learn()."""
    return re.sub(r"\blearn\(([\d_]+)", lambda match: f"learn({min(int(match[1]), LONGEST_TRAINING)}", code)


@pytest.fixture
def clean_slate(tmp_path, monkeypatch):
    """An empty folder, and nothing that the page registers outlives it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rules, "_RULES", dict(rules._RULES))
    before, trackers = dict(gym.registry), dict(TRACKERS)
    yield
    for name in set(TRACKERS) - set(trackers):
        del TRACKERS[name]
    for name in set(gym.registry) - set(before):
        # What a package registers as it is imported has to stay: it is not imported a second time.
        if getattr(gym.registry[name].entry_point, "__module__", "") == "__main__":
            del gym.registry[name]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
@pytest.mark.usefixtures("clean_slate")
def test_python_blocks_run(page, read_blocks, capsys):
    namespace = {"__name__": "__main__"}
    for block in read_blocks(page, "python"):
        # Empty lines in front, so that an error names the line of the page.
        code = compile("\n" * block.line + shortened(block.text), str(page), "exec")
        elsewhere = page == TRAINED_ELSEWHERE and "learn(" in block.text
        if reason_to_skip(block) is None and not elsewhere:
            exec(code, namespace)
    out = capsys.readouterr().out
    for shown in SHOWN.get(name_of(page), []):
        assert shown in out


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist(page, read_blocks):
    for block in read_blocks(page, "bash"):
        for line in block.text.replace("\\\n", " ").splitlines():
            for command in line.split("&&"):
                words = shlex.split(command, comments=True)
                if words and Path(words[0]).name == "plastic-rl":
                    make_parser().parse_args(words[1:])


def without_blocks(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def prose(page: Path) -> str:
    """A page without its code."""
    return re.sub(r"`[^`\n]*`", "", without_blocks(page))


def anchors(page: Path) -> set[str]:
    """What links can point at: GitHub's names of the headings."""
    headings = re.findall(r"^#+ +(.+)$", without_blocks(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKING, ids=name_of)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def columns(row: str) -> int:
    return row.replace("\\|", "").strip().removeprefix("|").removesuffix("|").count("|") + 1


@pytest.mark.parametrize("page", LINKING, ids=name_of)
def test_a_tables_rows_have_its_columns(page):
    lines = without_blocks(page).splitlines()
    for start, line in enumerate(lines):
        if not re.fullmatch(r"\|(\s*:?-+:?\s*\|)+", line.strip()):
            continue
        wanted = columns(line)
        assert columns(lines[start - 1]) == wanted, lines[start - 1]
        for row in lines[start + 1 :]:
            if not row.lstrip().startswith("|"):
                break
            assert columns(row) == wanted, row


def test_the_index_has_every_page():
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    for page in DOCS.glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in index, page.name
    assert "](docs/README.md)" in PAGES[0].read_text(encoding="utf-8")
