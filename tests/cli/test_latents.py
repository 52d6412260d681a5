"""Commands on latents: a picture is encoded, decoded, translated to another world, and guided from.

The commands run in this process, which has loaded torch already.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from typer.testing import CliRunner, Result

from latentzoo.cli import app

Command = Callable[..., Result]

WORLDS = ("--from", "avatar-ldm-bareheaded", "--to", "avatar-ldm-hats")
FEW = ("--option", "steps=4")


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `latentzoo WORDS...` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LATENTZOO_OFFLINE", "1")
    return lambda *words: CliRunner().invoke(app, words)


@pytest.fixture
def face(tmp_path: Path) -> Path:
    """A face of the built-in model: skin, a dark mouth, a plain background."""
    import torch

    from latentzoo import zoo
    from latentzoo.picture import to_uint8, write
    from latentzoo.rng import Rng

    with torch.no_grad():
        picture = zoo.load("avatar-turbo")(Rng(3).normal(1024))
    write(tmp_path / "face.png", to_uint8(picture)[0])
    return tmp_path / "face.png"


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(float) / 255


@pytest.mark.parametrize("eta", ["0", "1"])
def test_what_is_encoded_is_decoded(
    command: Command, face: Path, tmp_path: Path, eta: str
) -> None:
    options = ("--option", "steps=8", "--option", f"eta={eta}")
    done = command("encode", "face.png", "avatar-ldm", *options, "--out", "z.safetensors")
    assert done.exit_code == 0, done.stderr
    numbers = 1024 * (8 if eta == "1" else 1)
    assert load_file(tmp_path / "z.safetensors")["z"].shape == (1, numbers)
    assert f"{numbers} numbers" in done.stdout
    error = float(done.stdout.split("within ")[1].split()[0])
    done = command("decode", "z.safetensors", "avatar-ldm", *options, "--out", "back")
    assert done.exit_code == 0, done.stderr
    off = pixels(tmp_path / "back" / "00000.png") - pixels(face)
    assert np.sqrt(np.square(off).mean()) == pytest.approx(error, abs=0.005) and error < 0.06


def test_a_latent_of_another_map_is_refused(command: Command, face: Path) -> None:
    assert command("encode", "face.png", "avatar-ldm", *FEW).exit_code == 0
    done = command("decode", "z.safetensors", "avatar-ldm", *FEW, "--option", "eta=1")
    assert done.exit_code == 2 and "1024 numbers, 'avatar-ldm' takes 4096" in done.stderr


def test_translation_and_its_baseline(command: Command, face: Path, tmp_path: Path) -> None:
    for name, words in (("cycle", ()), ("sdedit", ("--sdedit", "0.5"))):
        done = command("translate", "face.png", *WORLDS, *FEW, *words, "--out", f"{name}.png")
        assert done.exit_code == 0, done.stderr
    cycle, sdedit = pixels(tmp_path / "cycle.png"), pixels(tmp_path / "sdedit.png")
    assert cycle.shape == (64, 64, 3) and np.abs(cycle - sdedit).mean() > 0.01
    # The mouth, cheeks and chin stay in place; the top of the head is where worlds differ.
    off = np.abs(cycle - pixels(face)).mean(2)
    assert off[36:52, 20:44].mean() < 0.15


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (("--from", "avatar-turbo", "--to", "avatar-ldm"), "the source cannot encode a picture"),
        ((*WORLDS, "--sdedit", "2"), "strength=2.0 is out of range"),
    ],
)
def test_what_cannot_be_translated(
    command: Command, face: Path, words: tuple[str, ...], fact: str
) -> None:
    done = command("translate", "face.png", *words)
    assert done.exit_code == 2 and fact in " ".join(done.stderr.split())


def test_a_chain_begins_at_a_picture(command: Command, face: Path, tmp_path: Path) -> None:
    words = ("sample", "avatar-ldm", "--text", "a person with sunglasses", "--init", "face.png")
    words += ("--chains", "2", "--steps", "2", "--kernel", "ula", "--step-size", "1e-4", "--quiet")
    done = command(*words, "--option", "steps=6", "--out", "run")
    assert done.exit_code == 0, done.stderr
    start = pixels(tmp_path / "run" / "start" / "00000.png")
    assert np.abs(start - pixels(face)).mean() < 0.05
    done = command(
        "sample", "avatar-turbo", "--init", "face.png", "--steps", "1", "--text", "a hat"
    )
    assert done.exit_code == 2 and "cannot encode a picture" in " ".join(done.stderr.split())
