"""What every public docstring says: what the function does, and each error that it raises itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import latentzoo

ROOT = Path(latentzoo.__file__).parent
FILES = [f for f in sorted(ROOT.rglob("*.py")) if f.relative_to(ROOT).parts[0] != "cli"]
"""The docstrings of commands are their help."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
PROMISED = {"forward", "backward", "extra_repr"}
"""Methods that torch documents."""


def public(body: list[ast.stmt], owner: str = "") -> Iterator[tuple[str, ast.ClassDef | Function]]:
    """The public classes and functions of a module, methods included."""
    for node in body:
        if isinstance(node, (ast.ClassDef, *Function.__args__)) and node.name[0] != "_":
            if (
                ast.unparse(node.body) == "..."
            ):  # a protocol's attribute, which its class describes
                continue
            yield owner + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{node.name}.")


def definitions(path: Path) -> list[tuple[str, ast.ClassDef | Function]]:
    return list(public(ast.parse(path.read_text()).body))


METHODS = {
    name.split(".")[1]
    for path in FILES
    for name, node in definitions(path)
    if "." in name and ast.get_docstring(node)
}
"""What a base class or a protocol says of a method holds for those that carry it out."""


def raised(node: Function) -> set[str]:
    """The errors that a function raises itself and does not catch itself."""
    found = set[str]()
    todo: list[ast.AST] = list(node.body)
    while todo:
        part = todo.pop()
        if isinstance(part, (*Function.__args__, ast.Lambda)):
            continue
        if isinstance(part, ast.Try):
            todo += [*part.handlers, *part.orelse, *part.finalbody]
            caught = {
                ast.unparse(e)
                for h in part.handlers
                if h.type is not None
                for e in (h.type.elts if isinstance(h.type, ast.Tuple) else [h.type])
            }
            inner = ast.FunctionDef("inner", node.args, part.body, [])
            found |= raised(inner) - caught
            continue
        if isinstance(part, ast.Raise) and isinstance(part.exc, ast.Call):
            found.add(ast.unparse(part.exc.func))
        todo += ast.iter_child_nodes(part)
    return {name for name in found if name[0].isupper()}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_is_public_is_documented(path: Path) -> None:
    known = METHODS | PROMISED
    bare = {
        name
        for name, node in definitions(path)
        if not ast.get_docstring(node) and not ("." in name and name.split(".")[1] in known)
    }
    assert not bare


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_error_is_announced(path: Path) -> None:
    silent = {
        name: missing
        for name, node in definitions(path)
        if isinstance(node, Function)
        and (said := ast.get_docstring(node))
        and (missing := {e for e in raised(node) if e not in said.partition("Raises:")[2]})
    }
    assert not silent


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_first_line_of_a_module_is_a_whole_sentence(path: Path) -> None:
    """A listing shows it alone."""
    first = (ast.get_docstring(ast.parse(path.read_text())) or ".").split("\n")[0]
    assert first.endswith((".", "?", ":"))
