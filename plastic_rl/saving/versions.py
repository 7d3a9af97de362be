"""What wrote a file."""

import platform
from importlib import metadata

_PACKAGES = (
    "plastic-rl",
    "stable-baselines3",
    "sb3-contrib",
    "gymnasium",
    "torch",
    "numpy",
    "numba",
    "safetensors",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results and files depend on, by name."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    return found
