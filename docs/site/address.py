"""Writes the address of the repository wherever it has to stand.

    python docs/site/address.py https://github.com/OWNER/NAME

That is pyproject.toml (from where the site and the README of a package index take it), CITATION.cff, and
the notebooks: a link that opens them in Colab, and a cell that installs the package there. Called again, it
replaces the address.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

from links import ROOT, colab_link

ADDRESS = re.compile(r"https://[\w.-]+(/[\w.-]+){2,}")
_LINK, _INSTALL = "colab-link", "colab-install"


def write(root: Path, address: str) -> None:
    """Write the address into a checkout."""
    urls = f'[project.urls]\nRepository = "{address}"\n\n'
    _edit(root / "pyproject.toml", r"(?m)^(\[project\.urls\]\n.*\n\n)?(?=\[project\.scripts\])", urls)
    code = f"repository-code: {address}\n"
    _edit(root / "CITATION.cff", r"(?m)^(repository-code: .*\n)?(?=license: )", code)
    for notebook in sorted((root / "docs" / "notebooks").glob("*.ipynb")):
        content = json.loads(notebook.read_text(encoding="utf-8"))
        cells = [cell for cell in content["cells"] if cell["id"] not in (_LINK, _INSTALL)]
        link = colab_link(address, notebook.relative_to(root).as_posix())
        if link is not None:
            cells[:0] = [_link_cell(link), _install_cell(address)]
        content["cells"] = cells
        notebook.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _edit(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, lambda _: replacement, path.read_text(encoding="utf-8"), count=1)
    assert count == 1, path
    path.write_text(text, encoding="utf-8")


def _link_cell(link: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": _LINK, "metadata": {}, "source": [link]}


def _install_cell(address: str) -> dict[str, Any]:
    source = [
        "import subprocess\n",
        "import sys\n",
        "\n",
        f'PACKAGE = "git+{address}"\n',
        'if "google.colab" in sys.modules:\n',
        '    subprocess.run([sys.executable, "-m", "pip", "install", "-q", PACKAGE], check=True)',
    ]
    return {
        "cell_type": "code",
        "id": _INSTALL,
        "metadata": {},
        "source": source,
        "execution_count": None,
        "outputs": [],
    }


def main() -> None:
    """Write the address that is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("address", help="https://HOST/OWNER/NAME")
    address = parser.parse_args().address.rstrip("/").removesuffix(".git")
    if not ADDRESS.fullmatch(address):
        parser.error(f"the address must be https://HOST/OWNER/NAME, got {address}")
    write(ROOT, address)


if __name__ == "__main__":
    main()
