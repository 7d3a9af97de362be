"""What a package index shows: the README, whose links and pictures lead to the repository on the web.

A hook of hatchling's, called where a wheel or an archive of the sources is built. While pyproject.toml
names no repository the README is taken as it is.
"""

import sys
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

sys.path.insert(0, str(Path(__file__).parent))
from links import absolute, repository


class IndexReadme(MetadataHookInterface):
    """Fills in the dynamic field ``readme``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the text."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        address = repository()
        if address is not None:
            text = absolute(text, "README.md", address)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
