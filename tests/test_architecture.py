"""The package's structure: who imports whom, read from the source."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import plastic_rl

PACKAGE = Path(plastic_rl.__file__).parent
# Rooms from the ground up: each may import itself and those that stand in its set.
MAY_IMPORT = {
    "ops": set(),
    "envs": set(),
    "saving": set(),
    "policies": {"ops", "saving"},
    "training": {"ops", "policies", "envs", "saving"},
    "runs": {"ops", "policies", "envs", "saving", "training"},
    "tracking": {"ops", "policies", "envs", "saving", "training", "runs"},
    "analysis": {"ops", "policies", "envs", "saving", "training", "runs", "tracking"},
    "export": {"ops", "policies", "envs", "saving", "training", "runs"},
    "zoo": {"ops", "policies", "envs", "saving", "training", "runs", "tracking"},
    "cli": {"ops", "policies", "envs", "saving", "training", "runs", "tracking", "analysis", "export"},
}
# Run by the user, or by name: nothing has to import them.
ENTRY_POINTS = {"plastic_rl", "plastic_rl.__main__", "plastic_rl.cli.main", "plastic_rl.zoo.__main__"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def statements(tree: ast.AST, *, lazy: bool) -> Iterator[ast.stmt]:
    """The import statements: those that run when the module is imported, or (lazy) all of them."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and not lazy:
            continue
        elif lazy or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from statements(node, lazy=lazy)


def imported(name: str, *, lazy: bool) -> set[str]:
    """The modules of the package that a module imports."""
    found = set()
    for node in statements(ast.parse(MODULES[name].read_text(encoding="utf-8")), lazy=lazy):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            candidates = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {one if one in MODULES else str(node.module) for one in candidates}
        else:
            found |= {alias.name for alias in node.names}
    return {one for one in found if one in MODULES and one != name}


def room(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in MAY_IMPORT else None


def test_every_room_is_known():
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms == set(MAY_IMPORT)


@pytest.mark.parametrize("name", [name for name in MODULES if room(name)])
def test_imports_run_one_way(name):
    own = room(name)
    assert own is not None
    above = {one for one in imported(name, lazy=True) if room(one) not in {None, own} | MAY_IMPORT[own]}
    assert not above, f"{name} imports {above}"


def test_nothing_imports_itself_in_a_circle():
    graph = {name: imported(name, lazy=False) for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for one in sorted(graph[name]):
                visit(one, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_every_module_is_used():
    # What a table names as text is reached, too: entry points of environments, lazily imported names.
    text = "".join(path.read_text(encoding="utf-8") for path in MODULES.values())
    reached: set[str] = set()
    waiting = [*ENTRY_POINTS, *(name for name in MODULES if f'"{name}"' in text or f'"{name}:' in text)]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += imported(name, lazy=True)
            waiting += [".".join(name.split(".")[:i]) for i in range(1, name.count(".") + 1)]
    assert set(MODULES) - reached == set()


@pytest.mark.parametrize("name", ["plastic_rl.arguments", "plastic_rl.files"])
def test_what_every_room_may_use_imports_nothing_of_the_package(name):
    assert imported(name, lazy=True) == set()


def test_the_environments_need_no_torch():
    heavy = {"torch", "stable_baselines3", "matplotlib", "numba"}
    for name in (name for name in MODULES if room(name) == "envs"):
        for node in statements(ast.parse(MODULES[name].read_text(encoding="utf-8")), lazy=True):
            module = getattr(node, "module", None) or ""
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [module]
            assert not heavy & {one.split(".")[0] for one in names}, name


@pytest.mark.parametrize("program", ["plastic_rl", "plastic_rl.zoo"])
def test_the_help_imports_no_torch(program):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", program, "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "plastic_rl.envs" in modules
    assert not {"torch", "numba", "stable_baselines3", "rl_zoo3"} & modules
