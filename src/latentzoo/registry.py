"""What a folder of the package offers, read from its source without importing it.

Adding a kernel, an energy or a family is adding a file: nothing lists them by hand. The name is
the file's, the description the first line of its docstring.
"""

import ast
import re
import sys
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from latentzoo.errors import SpecError, UnknownName

OBJECT = re.compile(r"(?P<module>[^\W\d][\w.]*):(?P<name>[^\W\d]\w*)")
"""How an object of one's own is named: `module:Class`, or `module:object`."""


@dataclass(frozen=True)
class Entry:
    """One module of a folder: its name, its description, and the public object it is there for."""

    name: str
    module: str
    symbol: str
    summary: str

    def load(self) -> Any:
        """Imports the module and returns the object."""
        return getattr(import_module(self.module), self.symbol)


@cache
def entries(
    package: str, *, base: str | None = None, function: str | None = None
) -> dict[str, Entry]:
    """Finds the modules of a package that define a class with a given base, or a function of a
    given name.

    Arguments:
        package: The package's name below latentzoo, e.g. "kernels".
        base: The name of the base class, e.g. "Kernel".
        function: The name of the function, e.g. "build".
    """
    found = {}
    for path in sorted((Path(__file__).parent / package).glob("*.py")):
        if path.stem.startswith("_"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        symbol = next(filter(None, (_symbol(node, base, function) for node in tree.body)), None)
        if symbol is not None:
            summary = (ast.get_docstring(tree) or "").split("\n")[0].rstrip(".")
            found[path.stem] = Entry(
                path.stem, f"latentzoo.{package}.{path.stem}", symbol, summary
            )
    return found


def find(kind: str, name: str, known: dict[str, Entry]) -> Entry:
    """Looks an entry up by name.

    Raises:
        UnknownName: With the nearest names, if there is none.
    """
    if name not in known:
        raise UnknownName(kind, name, known)
    return known[name]


def imported(words: str) -> Any:
    """Imports an object of one's own, `package.module:name`, from what is installed or from this folder.

    Raises:
        SpecError: If the words are no such name, there is no such module or object, or the module
            cannot be imported.
    """
    match = OBJECT.fullmatch(words)
    if match is None:
        raise SpecError(f"'{words}' names no object; write module:Class")
    module, name = match.groups()
    sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(import_module(module), name)
    except AttributeError:
        raise SpecError(f"the module '{module}' has no '{name}'; look at its spelling") from None
    except ImportError as error:
        raise SpecError(
            f"'{words}' cannot be imported ({error}); call this from its folder, or install it"
        ) from error
    finally:
        sys.path.pop(0)


def _symbol(node: ast.stmt, base: str | None, function: str | None) -> str | None:
    if isinstance(node, ast.ClassDef) and base is not None:
        return node.name if any(ast.unparse(b) == base for b in node.bases) else None
    return node.name if isinstance(node, ast.FunctionDef) and node.name == function else None
