"""The pages that are made from docstrings: one for each environment, one for each public package."""

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym

# Whose names are public, each documented on the page of the first that has it.
PACKAGES = [
    "plastic_rl.training",
    "plastic_rl.policies",
    "plastic_rl.envs",
    "plastic_rl.envs.datasets",
    "plastic_rl.ops.plastic_rnn",
    "plastic_rl.saving",
    "plastic_rl.export",
    "plastic_rl.analysis",
    "plastic_rl.analysis.plots",
    "plastic_rl.zoo",
    "plastic_rl",
]
# The picture of an environment in docs/figures, by its id.
PICTURES = {
    "PlasticMaze-v0": "episode.gif",
    "PlasticMazePrevAction-v0": "maze_trace.gif",
    "PlasticPairs-v0": "pairs_episode.gif",
    "PlasticBandit-v0": "env_pairs.png",
    "PlasticTargetDiscovery-v0": "env_target_discovery.png",
    "PlasticPatternMemory-v0": "env_pattern_memory.png",
    "PlasticImageCompletion-v0": "env_image_completion.png",
    "PlasticOmniglot-v0": "env_omniglot.png",
}


def environment_pages(root: Path) -> dict[str, str]:
    """A page for every id: its picture, how it is made, and the card in its class docstring."""
    from plastic_rl.envs import ENVIRONMENTS

    found = {}
    for name in ENVIRONMENTS:
        entry_point: Any = gym.spec(name).entry_point
        module, _, class_name = entry_point.partition(":")
        card = inspect.getdoc(getattr(import_module(module), class_name)) or ""
        picture = PICTURES[name]
        assert (root / "docs" / "figures" / picture).is_file(), picture
        arguments = ", ".join(f"{key}={value!r}" for key, value in gym.spec(name).kwargs.items())
        registered = f"\n\nIt is the class below with `{arguments}`.\n" if arguments else "\n"
        found[f"{name}.md"] = (
            f"# {name}\n\n![{name}](../figures/{picture})\n\n"
            f'```python\nimport gymnasium as gym\n\nimport plastic_rl\n\nenv = gym.make("{name}")\n```'
            f"{registered}\n{card}\n"
        )
    return found


def package_pages() -> dict[str, str]:
    """A page for every package, with all of its public names."""
    home: dict[int, str] = {}
    found = {}
    for package in PACKAGES:
        module = import_module(package)
        lines = [package, "=" * len(package), "", f".. currentmodule:: {package}", "", _intro(module), ""]
        elsewhere = []
        for name in module.__all__:
            value = getattr(module, name)
            owner = home.setdefault(id(value), package) if _documents_itself(value) else package
            if owner != package:
                elsewhere.append((name, owner))
                continue
            lines += [*_directive(package, name, value), ""]
        if elsewhere:
            lines += ["Documented elsewhere", "-" * 20, ""]
            lines += [f"* ``{name}``: :py:obj:`{owner}.{name}`" for name, owner in elsewhere]
        found[f"{package}.rst"] = "\n".join(lines) + "\n"
    return found


def _intro(module: Any) -> str:
    from conf import restructured

    return "\n".join(restructured(inspect.getdoc(module) or ""))


def _documents_itself(value: Any) -> bool:
    return inspect.isclass(value) or inspect.isroutine(value)


def _directive(package: str, name: str, value: Any) -> list[str]:
    if inspect.isclass(value):
        return [f".. autoclass:: {package}.{name}", "   :members:", "   :show-inheritance:"]
    if inspect.isroutine(value):
        return [f".. autofunction:: {package}.{name}"]
    shown = "" if isinstance(value, dict | list | tuple | str) else f"   {value!r}".replace("`", "")
    return [f".. py:data:: {name}", "", shown.replace("*", r"\*").replace("_", r"\_")]
