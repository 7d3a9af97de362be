"""Builds the documentation site: python docs/site/build.py [FOLDER], by default build/site.

The pages are the Markdown files of the repository. Beside them come a page for each environment, from its
class docstring, and one for each public package, from the docstrings of its names. All is put together in a
folder `source` beside the site, links are turned into links between the site's pages; Sphinx does the rest.
A warning, a broken link or a missing anchor is an error.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import main as sphinx

sys.path.insert(0, str(Path(__file__).parent))
from links import colab_link, replaced, repository
from reference import environment_pages, package_pages

ROOT = Path(__file__).parents[2]
# Where files that lie elsewhere in the repository are found on the site.
ELSEWHERE = {
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    "plastic_rl/ops/plastic_rnn/README.md": "operator.md",
}
# Every page of docs/ stands in one of these, by its name; a page that stands in none is an error of Sphinx's.
CONTENTS = {
    "Start": [
        "contents",
        "getting_started",
        "features",
        "notebooks",
        "idea",
        "when",
        "choosing",
        "migrating",
        "faq",
        "troubleshooting",
    ],
    "Environments": ["environments", "environments/*"],
    "Agents": ["plastic_a2c", "plastic_ppo", "your_environment", "rules", "own_core", "own_algorithm"],
    "Studies": [
        "results",
        "pairs",
        "core_steps",
        "discovery",
        "maze",
        "scarce_memory",
        "memory",
        "popgym",
        "supervised",
    ],
    "In use": [
        "activity",
        "export",
        "share",
        "sweeps",
        "distributed",
        "scaling",
        "zoo",
        "tracking",
        "performance",
        "reliability",
        "model_files",
    ],
    "Reference": ["api/*", "operator", "benchmarks", "changes", "contributing"],
}


def pages() -> dict[str, str]:
    """The path of every Markdown file of the site in the repository, and its name on the site."""
    found = {f"docs/{page.name}": page.name for page in sorted((ROOT / "docs").glob("*.md"))}
    found["docs/README.md"] = "contents.md"
    return {"README.md": "index.md"} | found | ELSEWHERE


def relinked(text: str, path: str, copied: dict[str, str]) -> str:
    """The page with links between the site's pages; what else it links to is noted in ``copied``.

    text: of the file at ``path`` in the repository
    copied: from paths in the repository to paths on the site
    """
    known, address = pages(), repository()

    def replacement(before: str, target: str, after: str) -> str:
        file, hash_, anchor = target.partition("#")
        there = os.path.normpath(os.path.join(os.path.dirname(path), file))
        if not (ROOT / there).exists():
            raise SystemExit(f"{path}: {target} does not exist")
        if there in known:
            return f"{before}{known[there]}{hash_}{anchor}{after}"
        if (ROOT / there).is_dir():
            return before.removesuffix("](").lstrip("[")
        on_site = there.removeprefix("docs/") if there.startswith("docs/") else f"files/{there}"
        copied[there] = on_site
        badge = colab_link(address, there) if address and there.endswith(".ipynb") else None
        return f"{before}{on_site}{after}" + (f" {badge}" if badge else "")

    return replaced(text, replacement)


def index(text: str) -> str:
    """The first page with the tables of contents that the side bar shows."""
    trees = []
    for caption, names in CONTENTS.items():
        glob = "\n:glob:" if any("*" in name for name in names) else ""
        trees.append(
            f"```{{toctree}}\n:hidden:\n:caption: {caption}{glob}\n\n" + "\n".join(names) + "\n```\n"
        )
    return text + "\n" + "\n".join(trees)


def assemble(source: Path) -> None:
    """Write the site's pages, and what they show, into an empty folder."""
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    copied: dict[str, str] = {}
    for path, name in pages().items():
        text = relinked((ROOT / path).read_text(encoding="utf-8"), path, copied)
        (source / name).write_text(index(text) if name == "index.md" else text, encoding="utf-8")
    for folder, made in (("environments", environment_pages(ROOT)), ("api", package_pages())):
        (source / folder).mkdir()
        for name, text in made.items():
            (source / folder / name).write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "docs" / "figures", source / "figures")
    for there, on_site in copied.items():
        (source / on_site).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / there, source / on_site)


def main() -> int:
    """Build the site; return Sphinx's exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "site")
    folder = parser.parse_args().folder.resolve()
    source = folder.parent / "source"
    assemble(source)
    shutil.rmtree(folder, ignore_errors=True)
    options = [
        "-c",
        str(Path(__file__).parent),
        "-W",
        "--keep-going",
        "-q",
        "-d",
        str(folder.parent / "trees"),
    ]
    code = sphinx(["-b", "html", *options, "-E", str(source), str(folder)])
    if code == 0:
        add_demo(folder / "demo")
    return code


def add_demo(folder: Path) -> None:
    """The agent in the browser, where what runs it is at hand."""
    sys.path.insert(0, str(ROOT / "docs" / "demo"))
    import build_demo

    try:
        build_demo.build(folder)
    except FileNotFoundError as error:
        print(f"The site has no page with the agent in the browser: {error}")


if __name__ == "__main__":
    sys.exit(main())
