"""The documentation site: it is built without a warning, and every public name is on a page of it."""

import importlib.util
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import gymnasium as gym
import pytest

ROOT = Path(__file__).parents[1]
SITE = ROOT / "docs" / "site"

pytestmark = pytest.mark.skipif(not SITE.is_dir(), reason="not a checkout")


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
