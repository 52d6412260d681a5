"""The wheel runs outside the checkout, with its weights inside."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.11", "3.12", "3.13")


def built(folder: Path) -> Path:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("latentzoo-*.whl")
    return wheel


def interpreter(version: str) -> str | None:
    """A Python of this version on the path, or one of pyenv's."""
    theirs = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    return str(theirs[-1]) if theirs else shutil.which(f"python{version}")


def test_the_wheel_samples_on_its_own(tmp_path: Path) -> None:
    wheel = built(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    assert wheel.stat().st_size < 45e6
    code = "import latentzoo; print(latentzoo.__file__); from latentzoo.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "sample", "avatar-turbo", "--chains", "1", "--out", "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "LATENTZOO_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "site") in done.stdout
    assert (tmp_path / "run" / "grid.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_the_wheel_is_installed_into_an_empty_environment(version: str, tmp_path: Path) -> None:
    """Its dependencies come from the package index; then the first guided picture is made."""
    if (python := interpreter(version)) is None:
        pytest.skip(f"there is no Python {version} here")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}

    def run(*words: object) -> str:
        done = subprocess.run(
            [*map(str, words)],
            cwd=tmp_path,
            env=clean,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
        return done.stdout

    run(python, "-m", "venv", "empty")
    pip = ("empty/bin/python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt")
    run(*pip, "torch")  # first and alone, as in the Makefile
    run(*pip, built(tmp_path))
    clean["LATENTZOO_OFFLINE"] = "1"
    latentzoo = "empty/bin/latentzoo"
    text = ("--text", "a person with a yellow hat")
    run(latentzoo, "sample", "avatar-turbo", *text, "--chains", 1, "--steps", 5, "--out", "run")
    assert (tmp_path / "run" / "grid.png").exists() and (tmp_path / "run" / "report.html").exists()
    assert "avatar-turbo" in run(latentzoo, "list") and "latentzoo 0" in run(
        latentzoo, "--version"
    )
