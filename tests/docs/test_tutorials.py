"""The tutorials are true: each is run as it stands, and prints what it says."""

from pathlib import Path

import pages
import pytest

PAGES = sorted(str(p.relative_to(pages.DOCS)) for p in (pages.DOCS / "tutorials").glob("*.md"))
REAL = ("tutorials/faces.md",)
"""Those that need networks from packages of registries."""


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.real] * (page in REAL)) for page in PAGES]
)
def test_a_tutorial_does_what_it_says(page: str, tmp_path: Path) -> None:
    assert pages.run(page, tmp_path) == ""


@pytest.mark.slow
def test_a_tutorial_does_what_it_says_with_workers(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra latentzoo[ray]")
    assert pages.run("tutorials/machines.md", tmp_path, extra="ray") == ""
