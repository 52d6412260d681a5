"""The extras of the package: named alike in errors, pages and pyproject."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = set(PROJECT["optional-dependencies"])
FILES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py")]
PAGES = "\n".join(path.read_text() for path in FILES if path.suffix == ".md")


@pytest.mark.parametrize("path", [p for p in FILES if "latentzoo[" in p.read_text()], ids=str)
def test_an_extra_that_is_named_is_there(path: Path) -> None:
    named = re.findall(r"latentzoo\[([a-z_,]+)\]", path.read_text())
    assert {extra for words in named for extra in words.split(",")} <= EXTRAS


def test_an_error_names_an_extra_that_is_there() -> None:
    named = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "MissingExtra":
                named |= {arg.value for arg in node.args[1:2] if isinstance(arg, ast.Constant)}
    assert named and named <= EXTRAS


@pytest.mark.parametrize("extra", sorted(EXTRAS - {"dev", "docs"}))
def test_the_pages_say_what_an_extra_is_for(extra: str) -> None:
    assert re.search(rf"extras? [^.;]*`{extra}`|latentzoo\[{extra}\]", PAGES)
