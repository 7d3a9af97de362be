"""Checks an installed wheel, from a folder where the checkout is not seen: use_the_wheel.py CHECKOUT.

It holds the checkout's modules, each of which can be imported, and the files beside them, and nothing else.
"""

import importlib
import importlib.metadata
import pkgutil
import sys
from pathlib import Path

import plastic_rl

# What the package can do without, and which of its modules cannot.
EXTRAS = {"triton": "plastic_rl.ops.plastic_rnn.triton."}


def modules(package: Path) -> set[str]:
    """The names of a package's modules."""
    return {module.name for module in pkgutil.walk_packages([str(package)], f"{package.name}.")}


folder = Path(plastic_rl.__file__).parent
assert "site-packages" in folder.parts, f"plastic_rl was imported from {folder}"
names = modules(folder)
expected = modules(Path(sys.argv[1]) / "plastic_rl")
assert expected, f"no modules in {sys.argv[1]}"
assert names == expected, f"not the checkout's modules: {names ^ expected}"
for name in sorted(names):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        # What belongs to an extra is imported only where it is used.
        if error.name not in EXTRAS or not name.startswith(EXTRAS[error.name]):
            raise
assert list((folder / "zoo_configs").glob("*.yml")), "the wheel lacks zoo_configs"
assert (folder / "py.typed").is_file(), "the wheel lacks py.typed"
# Whatever else lies beside the package (tests, zoo_configs) would land in everybody's site-packages.
installed = {path.parts[0] for path in importlib.metadata.files("plastic-rl") or []}
extra = {name for name in installed if name not in ("plastic_rl", "..") and not name.endswith(".dist-info")}
assert "plastic_rl" in installed, "the wheel does not say what it installed"
assert not extra, f"the wheel also installs {extra}"
print(f"imported {len(names)} modules from {folder}")
