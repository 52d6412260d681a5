"""Makes the pictures of the gallery by the commands that the page shows above them.

    python tools/site/gallery.py docs/gallery.md docs/images/gallery     # five minutes on two cores

A block of the page is a command line or two; the picture below it is what the last of them leaves: `pairs.png`, where
chains began and where they ended, `orbit.png`, `grid.png`, or the file that it names.
"""

import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ENTRY = re.compile(
    r"^```sh\n(?P<code>.*?)^```\n+!\[[^\]]*\]\(images/gallery/(?P<name>[a-z-]+)\.webp\)",
    re.DOTALL | re.MULTILINE,
)
FILES = ("orbit.png", "pairs.png", "grid.png")
ROOT = Path(__file__).resolve().parents[2]


def entries(page: str) -> list[tuple[str, list[list[str]]]]:
    """The pictures of the page by name, each with its commands."""
    return [
        (found["name"], [shlex.split(line) for line in found["code"].splitlines()])
        for found in ENTRY.finditer(page)
    ]


def made(commands: list[list[str]], folder: Path) -> Path:
    """Runs commands in a folder; where the picture is that the last of them left."""
    for words in commands:
        subprocess.run([sys.executable, "-m", *words, *_quiet(words)], cwd=folder, check=True)
    said = dict(zip(commands[-1], commands[-1][1:], strict=False))
    out = folder / said.get("--out", commands[-1][2])
    return out if out.suffix else next(out / name for name in FILES if (out / name).exists())


def _quiet(words: list[str]) -> list[str]:
    return ["--quiet"] if words[1] in ("sample", "run") else []


def main(page: Path, images: Path) -> None:
    """Makes all pictures that are not there yet."""
    images.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "experiments").symlink_to(ROOT / "experiments")
        for name, commands in entries(page.read_text("utf-8")):
            to = images / f"{name}.webp"
            if not to.exists():
                with Image.open(made(commands, Path(place))) as picture:
                    picture.convert("RGB").save(to, quality=88, method=6)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
