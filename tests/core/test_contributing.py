"""CONTRIBUTING is followed literally: its files are put where it says, and work."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import latentzoo

GUIDE = Path(__file__).parents[2] / "CONTRIBUTING.md"
BLOCK = re.compile(
    r'^```\w+ title="src/(?P<path>[^"]+)"\n(?P<code>.*?)^```$', re.MULTILINE | re.DOTALL
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the guide's files in it; the weights are links."""
    root = tmp_path_factory.mktemp("tree")
    package = Path(latentzoo.__file__).parent
    shutil.copytree(
        package,
        root / "latentzoo",
        copy_function=_link,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for block in BLOCK.finditer(GUIDE.read_text()):
        (root / block["path"]).write_text(block["code"])
    return root


def _link(source: str, target: str) -> None:
    os.symlink(source, target)


def run(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = "from latentzoo.cli import main; main()"
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
        cwd=tree,
    )


def test_all_three_are_listed(tree: Path) -> None:
    listed = run(tree, "list", "--json").stdout
    assert all(
        f'"name": "{name}"' in listed for name in ("semi_implicit", "colour", "stripes-toy-8")
    )


def test_the_three_work_together(tree: Path) -> None:
    save_file(
        {"net.w": torch.randn(24, 4, generator=torch.Generator().manual_seed(0))},
        tree / "toy.safetensors",
    )
    words = "sample toy.safetensors --energy colour=1,0.8,0:50 --kernel semi_implicit --steps 40 --chains 4 --out r"
    done = run(tree, *words.split())
    assert done.returncode == 0, done.stderr
    assert (tree / "r" / "grid.png").exists()
    checked = run(tree, "check", "toy.safetensors")
    assert checked.returncode == 0, checked.stdout + checked.stderr
