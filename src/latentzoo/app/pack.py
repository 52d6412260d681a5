"""A run folder as one file to download, and words about it, which need not tell where the page keeps its runs."""

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from latentzoo import picture
from latentzoo.record import layout, places
from latentzoo.record.saved import SavedRun

WORDS = ".yaml", ".html", ".json"


def placeless(words: str, folder: Path) -> str:
    """Words in which files are named from the folder of the runs, and not by their whole path."""
    return words.replace(f"{folder.resolve()}/", "").replace(f"{folder}/", "")


def packed(saved: SavedRun, place: Path) -> Path:
    """The run folder as a zip below `place`, as it is."""
    folder = Path(mkdtemp(dir=place))
    return Path(
        shutil.make_archive(str(folder / saved.name), "zip", saved.path.parent, saved.name)
    )


def packed_placeless(saved: SavedRun, place: Path) -> Path:
    """The same without the place of the runs: its uploads are in the zip, and the record names them there."""
    root, runs = Path(mkdtemp(dir=place)), saved.path.parent
    inside = root / "whole" / saved.name
    shutil.copytree(saved.path, inside, ignore=shutil.ignore_patterns(layout.LOCK))
    for path in inside.rglob("*"):
        _cleaned(path, lambda words: placeless(words, runs))
    for _, words in places.named(saved.record):
        upload = Path(words)
        if upload.is_file() and upload.is_relative_to(runs.resolve()):
            copy = root / "whole" / placeless(words, runs)
            copy.parent.mkdir(exist_ok=True)
            shutil.copy(upload, copy)
    return Path(shutil.make_archive(str(root / saved.name), "zip", root / "whole"))


def _cleaned(path: Path, clean: Callable[[str], str]) -> None:
    """Rewrites the words in a file, those beside its pixels or numbers too."""
    if path.suffix in WORDS:
        path.write_text(clean(path.read_text("utf-8")), "utf-8")
    elif path.suffix == ".png":
        with Image.open(path) as image:
            texts = {key: clean(text) for key, text in getattr(image, "text", {}).items()}
        picture.write(path, picture.to_uint8(picture.read(path))[0], texts)
    elif path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            texts = {key: clean(text) for key, text in (file.metadata() or {}).items()}
        layout.write_latents(path, load_file(path), texts)
