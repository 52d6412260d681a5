"""The wheel runs outside the checkout, with its weights inside."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_samples_on_its_own(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("latentzoo-*.whl")
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
