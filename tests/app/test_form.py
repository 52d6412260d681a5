"""What a page sends is not trusted: every field has its list or its bounds, and nothing names a file or a module."""

import base64
import io
import random
import shlex
import string
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

import latentzoo as lz
from latentzoo.app.form import PAINTED, PICTURES, USES, Fields, asked, canvas, command_line
from latentzoo.app.limits import Limits
from latentzoo.cli import fields as options
from latentzoo.errors import ImageError, LatentzooError, SpecError
from latentzoo.record import spec
from latentzoo.record.experiment import Experiment

LIMITS = Limits(chains=8, steps=100, megapixels=1.0)
FACE = Fields("avatar-turbo", texts="a person with a hat:500", chains=2, steps=20)


def painted(side: int = 64, box: tuple[int, int, int, int] | None = (8, 8, 40, 24)) -> str:
    """What the canvas of the page sends: a PNG that is opaque where it was painted."""
    image, memory = Image.new("RGBA", (side, side), (0, 0, 0, 0)), io.BytesIO()
    if box is not None:
        image.paste((217, 72, 15, 255), box)
    image.save(memory, format="PNG")
    return "data:image/png;base64," + base64.b64encode(memory.getvalue()).decode()


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
        ({"texts": "a hat:-3"}, "weight -3"),
        ({"texts": "a hat:inf"}, "weight inf"),
        ({"nats": -1}, "nats from 0 to 1000"),
        ({"nats": float("nan")}, "nats from 0 to 1000"),
        ({"nats": "1"}, "nats from 0 to 1000"),
        ({"prompt": "x" * 301}, "301 letters"),
        ({"prompt": {"a": 1}}, "no text"),
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
        try:
            run = asked(FACE._replace(texts=words, attributes=words), LIMITS, tmp_path)
        except SpecError as error:
            assert "ends in a colon without a weight" in str(error)
            continue
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
    )._replace(painted=painted())
    run = Experiment(asked(fields, LIMITS, tmp_path)).resolved
    words = shlex.split(command_line(run))
    assert words[:2] == ["latentzoo", "sample"]
    heard: list[spec.Run] = []
    app = typer.Typer()
    app.command()(options.asked(lambda record: heard.append(record)))
    assert CliRunner().invoke(app, words[2:]).exit_code == 0
    for name in (
        "generator",
        "energies",
        "scale",
        "init",
        "chains",
        "steps",
        "seed",
        "options",
        "strength",
    ):
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


def test_a_line_has_a_weight_and_all_of_it_a_strength(tmp_path: Path) -> None:
    run = asked(FACE._replace(texts="a hat:30\na beard", nats=7), LIMITS, tmp_path)
    assert [(t.target, t.weight) for t in run.energies] == [("a hat", 30), ("a beard", None)]
    assert run.strength == 7 and run.scale is None
    assert "--strength 7nats" in command_line(run)
    free = asked(Fields("avatar-turbo", nats=7, weight=3), LIMITS, tmp_path)
    assert free.strength is None and free.scale is None  # nothing is asked for


def test_a_prompt_is_a_text_and_its_judges_are_the_operators(tmp_path: Path) -> None:
    owner = Limits(generators=("some/pipeline",), judges={"reward": "pickscore", "clip": "a/clip"})
    words = Fields("some/pipeline", prompt="yes: {a}", texts="a cube", rewarded=True, chains=2)
    run = asked(words, owner, tmp_path)
    assert run.options == {"prompt": "yes: {a}"}
    assert [(t.energy, t.target, t.model) for t in run.energies] == [
        ("clip", "a cube", "a/clip"),
        ("reward", "", "pickscore"),
    ]
    assert shlex.split(command_line(run))[-8:-6] == ["--prompt", "yes: {a}"]
    with pytest.raises(SpecError, match="--judge attribute=NETWORK"):
        asked(words._replace(attributes="x"), owner, tmp_path)
    up = tmp_path / "up.png"
    Image.new("RGB", (8, 8)).save(up)
    with pytest.raises(SpecError, match="no card that tells its size"):
        asked(words._replace(upload=str(up), use="give it colours"), owner, tmp_path)


def test_what_is_painted_over_is_a_hole_of_the_picture(upload: Path, tmp_path: Path) -> None:
    drawn = FACE._replace(upload=str(upload), use=PAINTED, painted=painted(), texts="")
    assert "data:image/png" in canvas(drawn, LIMITS, tmp_path)
    assert canvas(drawn._replace(use="the same face"), LIMITS, tmp_path) == ""
    assert canvas(drawn._replace(upload=None), LIMITS, tmp_path) == ""
    (term,) = Experiment(asked(drawn, LIMITS, tmp_path)).weighted.values()
    known = term[1].operator.known[0, 0].bool()
    hole = torch.zeros(64, 64, dtype=torch.bool)
    hole[8:24, 8:40] = True
    assert (known == ~hole).all()
    for sent, said in (
        (None, "nothing is painted over"),
        (painted(box=None), "nothing of the picture"),
        (painted(box=(0, 0, 64, 64)), "all of the picture"),
        ("data:image/png;base64,@@", "no PNG"),
        ("data:image/png;base64,aGVsbG8=", "no readable picture"),
        (painted(2000), "4 megapixels"),
        ("/etc/passwd", "nothing is painted over"),
    ):
        with pytest.raises(ImageError, match=said):
            asked(drawn._replace(painted=sent), LIMITS, tmp_path)
