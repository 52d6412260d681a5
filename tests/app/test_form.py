"""What a page sends is not trusted: every field has its list or its bounds, and nothing names a file or a module."""

import random
import shlex
import string
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import latentzoo as lz
from latentzoo.app.form import PICTURES, USES, Fields, asked, command_line
from latentzoo.app.limits import Limits
from latentzoo.cli import fields as options
from latentzoo.errors import ImageError, LatentzooError, SpecError
from latentzoo.record import spec
from latentzoo.record.experiment import Experiment

LIMITS = Limits(chains=8, steps=100, megapixels=1.0)
FACE = Fields("avatar-turbo", texts="a person with a hat:500", chains=2, steps=20)


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    path = tmp_path / "up.jpg"
    Image.fromarray(np.full((50, 40, 3), 99, np.uint8)).save(path)
    return path


def test_the_built_in_generators_are_the_choices() -> None:
    assert {"avatar-turbo", "avatar-gan", "avatar-3d"} <= set(LIMITS.choices)
    assert not any("/" in name or ":" in name for name in LIMITS.choices)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"generator": "/etc/passwd"}, "unknown generator on this page"),
        ({"generator": "os:system"}, "unknown generator on this page"),
        ({"generator": None}, "unknown generator on this page"),
        ({"generator": "stylegan2-ffhq-1024"}, "unknown generator on this page"),
        ({"texts": "x" * 10_000}, "10000 letters; this page allows 300"),
        ({"texts": ["a"]}, "no text"),
        ({"chains": 9}, "from 1 to 8"),
        ({"chains": float("nan")}, "from 1 to 8"),
        ({"steps": 0}, "from 1 to 100"),
        ({"steps": "many"}, "from 1 to 100"),
        ({"seed": -1}, "seed"),
        ({"seed": "x"}, "seed"),
        ({"weight": 0}, "above 0"),
        ({"weight": float("inf")}, "at most 100"),
        ({"use": "__import__"}, "unknown use of a picture"),
    ],
)
def test_a_field_beyond_its_bounds_is_one_line(change: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(LatentzooError, match=said) as caught:
        asked(FACE._replace(**change), LIMITS, tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_words_of_any_kind_never_name_a_file_or_a_module(tmp_path: Path) -> None:
    draw = random.Random(0)
    kinds = [
        "identity=/etc/passwd",
        "measure(operator=mask:/etc/passwd)=x",
        "a(model=os:system)=b",
        "../..",
        "~",
    ]
    kinds += ["".join(draw.choices(string.printable, k=40)) for _ in range(50)]
    for words in kinds:
        run = asked(FACE._replace(texts=words, attributes=words), LIMITS, tmp_path)
        for term in run.energies:
            assert term.energy in ("clip", "attribute") and term.model in (
                "avatar-clip",
                "avatar-attributes",
            )
            assert term.options == {}


@pytest.mark.filterwarnings("ignore:.*squeezed to a square")
@pytest.mark.parametrize("use", USES)
def test_the_command_line_says_the_same_run(use: str, upload: Path, tmp_path: Path) -> None:
    fields = FACE._replace(
        generator="avatar-ldm", attributes="hat=hijab", upload=str(upload), use=use, weight=2
    )
    run = Experiment(asked(fields, LIMITS, tmp_path)).resolved
    words = shlex.split(command_line(run))
    assert words[:2] == ["latentzoo", "sample"]
    heard: list[spec.Run] = []
    app = typer.Typer()
    app.command()(options.asked(lambda record: heard.append(record)))
    assert CliRunner().invoke(app, words[2:]).exit_code == 0
    for name in ("generator", "energies", "scale", "init", "chains", "steps", "seed", "options"):
        assert getattr(heard[0], name) == getattr(run, name), name


@pytest.mark.parametrize("kind", ["text", "svg", "large", "huge", "gif", "cut"])
def test_an_upload_that_is_no_picture_is_refused_before_it_is_decoded(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "up.png"
    if kind == "text":
        path.write_text("hello")
    elif kind == "svg":
        path.write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>')
    elif kind == "huge":
        Image.new("1", (20_000, 20_000)).save(path)  # 400 megapixels in 50 kB
    elif kind == "large":
        Image.new("1", (2_000, 1_000)).save(path)
    elif kind == "gif":
        Image.new("L", (4, 4)).save(path, format="GIF")
    else:
        Image.new("RGB", (64, 64), "red").save(path)
        path.write_bytes(path.read_bytes()[:60])
    said = "2 megapixels; this page allows 1" if kind == "large" else "no readable picture"
    said = "the 1 that this page allows" if kind == "huge" else said
    with pytest.raises(ImageError, match=said):
        LIMITS.picture(path, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_an_upload_is_kept_as_its_pixels_alone(upload: Path, tmp_path: Path) -> None:
    run = asked(FACE._replace(upload=str(upload)), LIMITS, tmp_path)
    kept = Path(run.energies[-1].target)
    assert (
        kept.parent == tmp_path / PICTURES
        and kept.suffix == ".png"
        and b"Exif" not in kept.read_bytes()
    )
    assert (
        asked(FACE._replace(upload=str(upload)), LIMITS, tmp_path) == run
    )  # one file for one picture


def test_a_generator_without_a_judge_says_so(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no judge of its own"):
        asked(FACE._replace(generator="avatar-3d", attributes="hat=hijab"), LIMITS, tmp_path)
    with pytest.raises(SpecError, match="positive"):
        Limits(chains=0)
    assert lz.LatentzooError in SpecError.__mro__
