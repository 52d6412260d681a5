"""What there is by name: the modules of the package's folders, and what other packages add to them.

Adding a kernel, an energy or a family is adding a file, or a folder: nothing lists them by hand. The name is its own,
the description the first line of its docstring; both are read from the source without importing it.

Another package adds its own by entry points of the groups `latentzoo.generators`, `latentzoo.energies`,
`latentzoo.kernels` and `latentzoo.guides`:

    [project.entry-points."latentzoo.energies"]
    sharpness = "my_package.sharpness:build"     an object: a class, or a function that makes one
    [project.entry-points."latentzoo.generators"]
    my-models = "my_package.models"              a package: with cards, and families as modules

A folder inside this package may be such a package too; its entry points are in its file `entry_points.txt`, in the
format that installed packages have. What no entry point names can be written as `module:Class`.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from latentzoo.errors import SpecError, UnknownName

HERE = Path(__file__).parent
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
        """Imports the module and returns the object.

        Raises:
            SpecError: If there is no such module or object.
        """
        try:
            module = import_module(self.module)
            return getattr(module, self.symbol) if self.symbol else module
        except (ImportError, AttributeError) as error:
            raise SpecError(
                f"'{self.module}:{self.symbol}' cannot be imported ({error}); is its package installed?"
            ) from error

    def maker(self, role: type) -> Callable[..., Any]:
        """Imports what makes a thing of a role: a class of it, or the function that an entry point names.

        A name that was written down, `module:Class`, stands for a class of the role alone, so that no other function
        is ever called because a record names it.

        Raises:
            SpecError: If it is something else.
        """
        made = self.load()
        is_class = isinstance(made, type)
        if is_class and issubclass(made, role):
            return made
        if not is_class and callable(made) and OBJECT.fullmatch(self.name) is None:
            return made
        kind = made.__name__ if is_class else f"a {type(made).__name__}"
        raise SpecError(f"'{self.name}' is {kind}, and no {role.__name__}; give a subclass of it")


@cache
def entries(
    package: str, *, base: str | None = None, function: str | None = None
) -> dict[str, Entry]:
    """Finds the modules of a package that define a class with a given base, or a function of a
    given name; a module that is a folder may define it in one of its files, and import it.

    Arguments:
        package: The package's name, e.g. "latentzoo.kernels".
        base: The name of the base class, e.g. "Kernel".
        function: The name of the function, e.g. "build".
    """
    found = {}
    here = folder(package)
    sources = {path.stem: path for path in here.glob("*.py")}
    sources |= {path.parent.name: path for path in here.glob("*/__init__.py")}
    for name, path in sorted(sources.items()):
        if name.startswith("_"):
            continue
        text = path.read_text(encoding="utf-8")
        if not any(word in text for word in (base, function) if word):  # quicker than to parse it
            continue
        tree, module = ast.parse(text), f"{package}.{name}"
        symbols = (_symbol(node, base, function, module) for node in tree.body)
        if (symbol := next(filter(None, symbols), None)) is not None:
            found[name] = Entry(name, module, symbol, _summary(tree))
    return found


@cache
def plugins(role: str) -> dict[str, Entry]:
    """What other packages add to a role, "generators", "energies", "kernels" or "guides", by name.

    Raises:
        SpecError: If two packages add one name.
    """
    found: dict[str, Entry] = {}
    for name, value in _declared(f"latentzoo.{role}"):
        module, _, symbol = value.partition(":")
        entry = Entry(name, module, symbol, _described(module))
        if found.get(name, entry) != entry:
            both = f"'{found[name].module}' and '{module}'"
            raise SpecError(f"{both} both add '{name}' to latentzoo.{role}; uninstall one of them")
        found[name] = entry
    return found


def added(role: str) -> dict[str, Entry]:
    """The plug-ins of a role that are objects."""
    return {name: entry for name, entry in plugins(role).items() if entry.symbol}


def shelves(role: str) -> list[str]:
    """The plug-ins of a role that are packages, by their dotted names."""
    return [entry.module for entry in plugins(role).values() if not entry.symbol]


def find(kind: str, name: str, known: dict[str, Entry]) -> Entry:
    """Looks an entry up by name, or takes it as `module:Class`.

    Raises:
        UnknownName: With the nearest names, if there is none.
    """
    if name not in known:
        if (entry := written(name)) is not None:
            return entry
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


def written(name: str) -> Entry | None:
    """The entry that `module:Class` means; None for other words, or where there is no such module.

    Nothing is imported but the packages that hold the module.
    """
    if OBJECT.fullmatch(name) is None:
        return None
    module, _, symbol = name.partition(":")
    try:
        there = find_spec(module) is not None
    except (ImportError, ValueError):
        there = False
    return Entry(name, module, symbol, _described(module)) if there else None


def folder(package: str) -> Path:
    """The folder of a package, without importing it.

    Raises:
        SpecError: If there is no such package.
    """
    try:
        spec = find_spec(package)
    except ImportError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise SpecError(f"there is no package '{package}'; is it installed?")
    return Path(next(iter(spec.submodule_search_locations)))


def packaged(url: str) -> Path | None:
    """The file of an address "package:NAME/PATH", which a package ships; None for another address."""
    if not url.startswith("package:"):
        return None
    package, _, path = url.removeprefix("package:").partition("/")
    return folder(package) / path


@cache
def _installed() -> Any:
    """The entry points of all packages, each of which has a file to read."""
    from importlib.metadata import entry_points

    return entry_points()


def _declared(group: str) -> Iterator[tuple[str, str]]:
    for path in sorted(HERE.glob("*/entry_points.txt")):
        table = ConfigParser(delimiters=("=",), interpolation=None)
        table.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]
        table.read_string(path.read_text(encoding="utf-8"))
        if table.has_section(group):
            yield from table.items(group)
    for point in _installed().select(group=group):
        yield point.name, point.value


def _described(module: str) -> str:
    """The first line of a module's docstring, without importing it; empty if it cannot be found."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return ""
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return ""
    return _summary(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))


def _summary(tree: ast.Module) -> str:
    return (ast.get_docstring(tree) or "").split("\n")[0].rstrip(".")


def _symbol(node: ast.stmt, base: str | None, function: str | None, module: str) -> str | None:
    if isinstance(node, ast.ClassDef) and base is not None:
        return node.name if any(ast.unparse(b) == base for b in node.bases) else None
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{module}."):
        return function if function in {alias.name for alias in node.names} else None
    return node.name if isinstance(node, ast.FunctionDef) and node.name == function else None
