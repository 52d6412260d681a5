"""The walls: imports point one way, nothing in a file is executed, the library never prints."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import latentzoo

ROOT = Path(latentzoo.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
LONG = {"builtin", "pipelines"}
"""Folders in which a function may be longer than a screen."""
LIBRARY = [
    f
    for f in FILES
    if f.relative_to(ROOT).parts[0] != "cli" and "train" not in f.relative_to(ROOT).parts
]

ROOMS = (
    {"errors"},
    {"files", "markup", "options", "registry"},
    {"picture", "place", "space", "rng", "compiling"},
    {"generator"},
    {"hub", "nn"},
    {"kernels", "guides", "diffusion"},
    {"energies"},
    {"views", "posterior"},
    {"zoo"},
    {"diagnosis", "machines"},
    {"run"},
    {"record"},
    {"report"},
    {"bridges"},
    {"builtin"},
    {"app"},
    {"cli"},
)
"""The rooms in the order of the data; an import points to an earlier line, or stays in its room."""
PLACE = {room: i for i, rooms in enumerate(ROOMS) for room in rooms}


def imports(path: Path) -> set[str]:
    """The modules of latentzoo that a file imports, as dotted names below the package."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {
            name.removeprefix("latentzoo.") for name in names if name.startswith("latentzoo.")
        }
    return found


def room(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def test_every_module_is_in_a_room() -> None:
    assert {room(path) for path in FILES} - {"__init__", "__main__"} == set(PLACE)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    """Imports within functions, and for type checkers alone, count too."""
    here = room(path)
    if here in ("__init__", "__main__"):
        return
    for name in imports(path):
        there = name.split(".")[0]
        assert there == here or PLACE[there] < PLACE[here], f"it imports {name}"


def test_no_module_imports_itself_by_a_detour() -> None:
    """No circle among the modules of a room either."""
    known = {path.relative_to(ROOT).with_suffix("").parts: path for path in FILES}
    names = {".".join(p[:-1] if p[-1] == "__init__" else p): path for p, path in known.items()}
    arrows = {
        name: {
            own
            for own in map(lambda n: module(n, names), imports(path))
            if own not in (None, name)
        }
        for name, path in names.items()
        if name
    }
    while ends := _ends(arrows):
        for name in ends:
            del arrows[name]
    assert not {name: targets & arrows.keys() for name, targets in arrows.items()}


def _ends(arrows: dict[str, set[str]]) -> list[str]:
    """The modules that import no other of those here, or that none of them imports."""
    reached = set().union(*arrows.values())
    return [name for name, to in arrows.items() if name not in reached or not to & arrows.keys()]


def module(name: str, known: dict[str, Path]) -> str | None:
    """The module that a dotted name is of, or is in."""
    parts = name.split(".")
    return next(
        (
            ".".join(parts[:i])
            for i in (len(parts), len(parts) - 1)
            if ".".join(parts[:i]) in known
        ),
        None,
    )


def test_files_are_read_in_one_go_and_functions_fit_on_a_screen() -> None:
    """Of a family's `build` what it does: its signature and docstring name every setting."""
    for path in FILES:
        text = path.read_text()
        assert len(text.splitlines()) <= 350, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                settings = room(path) == "zoo" and node.name == "build"
                first = node.body[1].lineno if settings and node.body[1:] else node.lineno
                lines = (node.end_lineno or 0) - first + 1
                assert lines <= 60 or path.parent.name in LONG, f"{path}: {node.name}"


def test_a_family_never_imports_another() -> None:
    for path in (ROOT / "zoo").rglob("*.py"):
        own = path.relative_to(ROOT / "zoo").with_suffix("").parts[0]
        if own.startswith("_") or own == "pipelines":
            continue
        names = {name for name in imports(path) if name.startswith("zoo.")}
        others = {name for name in names if name.split(".")[1] != own}
        assert not others, f"{path.relative_to(ROOT)} imports {others}"


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_library_never_prints_asserts_or_executes(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Assert), f"assert in line {node.lineno}"
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in {"print", "eval", "exec", "pickle.load", "pickle.loads"}, (
                f"{name} in line {node.lineno}"
            )
            if name == "torch.load":
                safe = {k.arg: ast.unparse(k.value) for k in node.keywords}.get("weights_only")
                assert safe == "True", (
                    f"torch.load without weights_only=True in line {node.lineno}"
                )


def test_the_package_imports_without_torch() -> None:
    code = "import latentzoo, latentzoo.cli, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_public_name_is_also_a_module() -> None:
    # importing `latentzoo.X` puts the module into the package under the name X, over a function of that name
    modules = {f.stem for f in ROOT.glob("*.py")} | {
        f.parent.name for f in ROOT.glob("*/__init__.py")
    }
    assert not modules & set(latentzoo.__all__)


def test_torchvision_is_never_imported() -> None:
    for path in FILES:
        assert "torchvision" not in {name.split(".")[0] for name in all_imports(path)}, path


def all_imports(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    froms = {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}
    return froms | {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
