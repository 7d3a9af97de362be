"""Links of the Markdown files, which are relative to the file: what they are where the files are not."""

import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^)\s]+)(\))")


def repository() -> str | None:
    """The repository's address in pyproject.toml, where `address.py` writes it; None where there is none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address: str | None = project.get("urls", {}).get("Repository")
    return address


def replaced(text: str, replacement: Callable[[str, str, str], str]) -> str:
    """The text with other links.

    text: Markdown
    replacement: gets what stands before the target of a link to another file, the target, and what stands
        after it; gives all three anew
    """

    def replace(match: re.Match[str]) -> str:
        if re.match(r"[a-z]+:|#", match[2]):
            return match[0]
        return replacement(*match.groups())

    return LINK.sub(replace, text)


def absolute(text: str, path: str, address: str, branch: str = "main") -> str:
    """The text with links into the repository on the web.

    text: of the file at ``path`` in the repository, Markdown
    address: of the repository
    """

    def replacement(before: str, target: str, after: str) -> str:
        file, hash_, anchor = target.partition("#")
        there = os.path.normpath(os.path.join(os.path.dirname(path), file)).replace(os.sep, "/")
        view = "raw" if before.startswith("!") else "blob"
        return f"{before}{address}/{view}/{branch}/{there}{hash_}{anchor}{after}"

    return replaced(text, replacement)


def colab_link(address: str, notebook: str, branch: str = "main") -> str | None:
    """A badge that opens a notebook of the repository in Colab; None where that is not on GitHub.

    notebook: its path in the repository
    """
    host, _, name = address.removeprefix("https://").partition("/")
    if host != "github.com":
        return None
    colab = "https://colab.research.google.com"
    return (
        f"[![Open in Colab]({colab}/assets/colab-badge.svg)]({colab}/github/{name}/blob/{branch}/{notebook})"
    )
