"""Sphinx's settings; the site is built by build.py."""

import re
from typing import Any

import plastic_rl

project = "plastic_rl"
author = "The plastic_rl authors"
copyright = author
version = release = plastic_rl.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
myst_heading_anchors = 4
html_theme = "furo"
html_title = "plastic_rl"
html_static_path = ["wide.css"]
html_css_files = ["wide.css"]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
default_role = "code"
# Equations in text blocks, and shells that Pygments does not know, are shown as they are.
suppress_warnings = ["misc.highlighting_failure"]


SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields|Note|Example):$")
SHAPE = re.compile(r"([a-z_][\w, /*]*): \S")


def restructured(text: str) -> list[str]:
    """A docstring as reStructuredText, which was written to be read as it is.

    Lists of arguments with their shapes, one to a line, become lists; what is indented without being part of
    a section, such as equations, is shown as it is.
    """
    lines: list[str] = []
    section = False
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        rows = paragraph.splitlines()
        if SECTION.match(rows[0]):
            section = True
        elif not rows[0].startswith(" "):
            section = False
        if section:
            lines += [escaped(row) for row in rows]
        elif rows[0].startswith(" "):
            announced = len(lines) > 1 and lines[-2].endswith("::")
            lines += [*([] if announced else ["::", ""]), *rows]
        elif SHAPE.match(rows[0]) and all(SHAPE.match(row) or row.startswith(" ") for row in rows):
            for row in rows:
                name, _, rest = row.partition(": ")
                lines.append(
                    f"  {escaped(row.strip())}" if row.startswith(" ") else f"* ``{name}``: {escaped(rest)}"
                )
        else:
            lines += [escaped(row) for row in rows]
        lines.append("")
    return lines


def escaped(line: str) -> str:
    """What reStructuredText would take for markup: underscores at the end of names, and stars."""
    parts = re.split(r"(``.*?``|`[^`]*`)", line)
    for k in range(0, len(parts), 2):
        parts[k] = re.sub(r"(?<=\w)_(?!\w)", r"\\_", parts[k])
        parts[k] = re.sub(r"(?<![\w\\*])(\*+)(?=\w)", lambda match: match[1].replace("*", r"\*"), parts[k])
        parts[k] = parts[k].replace("|", r"\|")
    return "".join(parts)


def tidy(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Runs before napoleon. Cards of environments are Markdown, on pages of their own."""
    text = "\n".join(lines)
    if "\n## " in text:
        text = text.partition("\n## ")[0] + "\nIts card is on the page of its environment.\n"
    lines[:] = restructured(text)


def setup(app: Any) -> None:
    """Connect it."""
    app.connect("autodoc-process-docstring", tidy, priority=100)
