"""The core stands without the avatars: in a copy without `builtin/`, everything imports and the quick tests pass."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import latentzoo

ROOT = Path(__file__).parents[2]
QUICK = (
    *("tests/core/test_rng.py", "tests/core/test_space.py", "tests/kernels/test_seed.py"),
    *("tests/diffusion/test_schedule.py", "tests/diffusion/test_memory.py", "tests/nn"),
    *("tests/hub/test_containers.py", "tests/guides/test_preprocess.py"),
)
IMPORT_ALL = """
import pkgutil, latentzoo
from latentzoo import energies, kernels, zoo
from latentzoo.guides import networks
for module in pkgutil.walk_packages(latentzoo.__path__, "latentzoo."):
    if not module.name.endswith(("__main__", "comfy")):  # ComfyUI is its host
        __import__(module.name)
assert len(zoo.names()) > 20 and not any("avatar" in name for name in zoo.names())
assert not any("builtin" in name for name in zoo.families())
assert energies.known() and kernels.known() and networks.known()
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package without its plug-in, and its tests."""
    copy = tmp_path_factory.mktemp("core")
    left_out = shutil.ignore_patterns("builtin", "__pycache__")
    shutil.copytree(Path(latentzoo.__file__).parent, copy / "src" / "latentzoo", ignore=left_out)
    shutil.copytree(ROOT / "tests", copy / "tests", ignore=left_out)
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def python(copy: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_everything_imports(copy: Path) -> None:
    done = python(copy, "-c", IMPORT_ALL)
    assert done.returncode == 0, done.stderr


def test_the_core_passes_its_tests(copy: Path) -> None:
    done = python(copy, "-m", "pytest", *QUICK, "-p", "no:cacheprovider", "-n", "0")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "failed" not in done.stdout


def words(tree: ast.AST) -> set[str]:
    """The strings of a module that are not its prose."""
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {c.value for c in constants if isinstance(c.value, str) and id(c) not in prose}


def test_nothing_below_the_users_doors_names_it() -> None:
    package = Path(latentzoo.__file__).parent
    for path in package.rglob("*.py"):
        if path.relative_to(package).parts[0] not in ("builtin", "cli", "bridges", "app"):
            text = path.read_text()
            assert "latentzoo.builtin" not in text, path
            named = {word for word in words(ast.parse(text)) if word.startswith("avatar-")}
            assert not named, f"{path}: {named}"
