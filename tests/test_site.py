"""The documentation site: it is built without a warning, and every public name is on a page of it."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import pytest
import yaml

ROOT = Path(__file__).parents[1]
SITE = ROOT / "docs" / "site"

pytestmark = pytest.mark.skipif(not (SITE / "build.py").is_file(), reason="not a checkout")


@pytest.fixture
def reference(monkeypatch):
    monkeypatch.syspath_prepend(str(SITE))
    return import_module("reference")


def test_every_page_is_in_the_contents(monkeypatch):
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(SITE))
    # Not by its name, which is a package's, too.
    spec = importlib.util.spec_from_file_location("build_site", SITE / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    listed = {f"{name}.md" for names in build.CONTENTS.values() for name in names}
    assert set(build.pages().values()) - {"index.md"} <= listed


def test_every_public_name_is_on_a_page(reference):
    pages = reference.package_pages()
    for package in reference.PACKAGES:
        text = pages[f"{package}.rst"]
        for name in import_module(package).__all__:
            assert f"{package}.{name}\n" in text or f":: {name}\n" in text or f"``{name}``" in text, name


def test_every_package_with_public_names_has_a_page(reference):
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "plastic_rl").rglob("__init__.py")
        if "\n__all__ = [" in path.read_text(encoding="utf-8")
    }
    # What these offer is public in the package above them.
    families = {f"plastic_rl.envs.{name}" for name in ("discovery", "maze", "pairs", "tasks", "wrappers")}
    assert found - families == set(reference.PACKAGES)


def test_every_environment_has_a_page_with_its_card(reference):
    pages = reference.environment_pages(ROOT)
    ours = {
        name for name, spec in gym.registry.items() if str(spec.entry_point).startswith("plastic_rl.envs")
    }
    assert set(pages) == {f"{name}.md" for name in ours}
    for text in pages.values():
        assert "## Observation Space" in text
        assert "![" in text


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("sphinx")
    command = [sys.executable, str(SITE / "build.py"), str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "getting_started.html" in home
    assert (
        'src="../_images/pairs_episode.gif"'
        in (tmp_path / "site" / "environments" / "PlasticPairs-v0.html").read_text()
    )
    assert "plastic_rl.training.PlasticA2C" in (tmp_path / "site/api/plastic_rl.training.html").read_text()


ADDRESS = "https://github.com/somebody/plastic_rl"


@pytest.fixture
def checkout(tmp_path):
    """The files that the address is written into."""
    for name in ("pyproject.toml", "CITATION.cff", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    for folder in ("notebooks", "site"):
        shutil.copytree(ROOT / "docs" / folder, tmp_path / "docs" / folder)
    return tmp_path


def address(checkout, *arguments):
    command = [sys.executable, str(checkout / "docs" / "site" / "address.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def contents(checkout):
    return {
        path: path.read_text() for path in checkout.rglob("*") if path.suffix in (".toml", ".cff", ".ipynb")
    }


def test_the_address_of_the_repository_is_written_once(checkout):
    assert address(checkout, "https://example.org/a/b").returncode == 0
    assert address(checkout, f"{ADDRESS}.git").returncode == 0
    once = contents(checkout)
    assert address(checkout, f"{ADDRESS}/").returncode == 0
    assert contents(checkout) == once
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    assert project["urls"] == {"Repository": ADDRESS}
    assert yaml.safe_load((checkout / "CITATION.cff").read_text())["repository-code"] == ADDRESS
    assert not any("example.org" in text for text in once.values())
    notebook = json.loads((checkout / "docs" / "notebooks" / "maze.ipynb").read_text())
    original = json.loads((ROOT / "docs" / "notebooks" / "maze.ipynb").read_text())
    link, install, *others = notebook["cells"]
    ours = [cell for cell in original["cells"] if not cell["id"].startswith("colab-")]
    assert others == ours
    assert "github/somebody/plastic_rl/blob/main/docs/notebooks/maze.ipynb" in link["source"][0]
    assert all(len(line.rstrip("\n")) <= 110 for line in install["source"]), "the linter reads notebooks, too"
    ran = []
    fake = {"subprocess": SimpleNamespace(run=lambda command, check: ran.append(command))}
    code = "".join(install["source"]).replace("import subprocess\n", "")
    exec(code, dict(fake))
    assert not ran, "nothing is installed elsewhere than in Colab"
    modules = SimpleNamespace(modules={"google.colab": None}, executable="python")
    exec(code.replace("import sys\n", ""), {**fake, "sys": modules})
    assert ran == [["python", "-m", "pip", "install", "-q", f"git+{ADDRESS}"]]


@pytest.mark.parametrize("given", ["http://github.com/a/b", "github.com/a/b", "https://github.com/a", "x"])
def test_what_is_no_address_is_refused(checkout, given):
    before = contents(checkout)
    done = address(checkout, given)
    assert done.returncode == 2
    assert f"the address must be https://HOST/OWNER/NAME, got {given}" in done.stderr
    assert contents(checkout) == before


def test_a_package_index_shows_the_readme_with_links_that_lead_somewhere(checkout, monkeypatch):
    pytest.importorskip("hatchling")
    monkeypatch.syspath_prepend(str(checkout / "docs" / "site"))
    for name in ("links", "index_readme"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def shown():
        metadata: dict[str, dict[str, str]] = {}
        import_module("index_readme").IndexReadme(str(checkout), {}).update(metadata)
        assert metadata["readme"]["content-type"] == "text/markdown"
        return metadata["readme"]["text"]

    if "[project.urls]" not in (ROOT / "pyproject.toml").read_text():
        assert shown() == (ROOT / "README.md").read_text()
    assert address(checkout, ADDRESS).returncode == 0
    text = shown()
    targets = re.findall(r"\]\(([^)]*)\)", text)
    assert len(targets) > 15
    assert all(re.match("https://", target) for target in targets)
    assert f"{ADDRESS}/raw/main/docs/figures/pairs_episode.gif)" in text
    assert f"{ADDRESS}/blob/main/docs/when.md#find-out-in-five-minutes)" in text
