"""Pictures of every mode, depth and orientation are read right; what is no picture is one clear error."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latentzoo import picture
from latentzoo.errors import ImageError

ORANGE = (255, 128, 0)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "F"])
def test_every_mode_is_read(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("x.tiff" if mode in ("CMYK", "F") else "x.png")
    if mode == "I;16":
        Image.fromarray(np.full((5, 7), 32768, np.uint16)).save(path)
        expected = torch.full((3,), 0.5)
    elif mode == "F":
        Image.fromarray(np.full((5, 7), 0.2, np.float32)).save(path)
        expected = torch.full((3,), 0.2)
    else:
        one = Image.new("RGB", (7, 5), ORANGE).convert(mode)
        one.save(path)
        expected = torch.tensor(one.convert("RGB").getpixel((3, 2))) / 255
    image = picture.read(path)
    assert image.shape == (1, 3, 5, 7)
    assert torch.allclose(image[0, :, 2, 3], expected, atol=0.01)


def test_transparency_is_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (*ORANGE, 0)).save(tmp_path / "x.png")
    assert picture.read(tmp_path / "x.png").eq(1).all()


def test_the_orientation_of_exif_is_obeyed(tmp_path: Path) -> None:
    one = Image.new("RGB", (6, 4), "white")
    one.putpixel((0, 0), ORANGE)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the first row is the right column
    one.save(tmp_path / "x.png", exif=exif)
    image = picture.read(tmp_path / "x.png")
    assert image.shape == (1, 3, 6, 4) and image[0, 2, 0, 3] == 0


def test_resizing_crops_the_centre(tmp_path: Path) -> None:
    Image.new("RGB", (90, 30), ORANGE).save(tmp_path / "x.png")
    assert picture.read(tmp_path / "x.png", (16, 16)).shape == (1, 3, 16, 16)


def test_what_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="there is no such picture"):
        picture.read(tmp_path / "none.png")
    for content in (b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"x" * 50):
        (tmp_path / "x.png").write_bytes(content)
        with pytest.raises(ImageError, match=r"x\.png: not a readable picture"):
            picture.read(tmp_path / "x.png")


def test_bytes_come_back(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    picture.write(tmp_path / "x.png", pixels, {"seed": "3", "latentzoo": "generator: ä"})
    assert np.array_equal(picture.to_uint8(picture.read(tmp_path / "x.png"))[0], pixels)
    assert Image.open(tmp_path / "x.png").text == {"seed": "3", "latentzoo": "generator: ä"}


@pytest.mark.parametrize(("count", "shape"), [(1, (4, 4)), (5, (10, 16)), (16, (22, 22))])
def test_a_grid_is_about_square(count: int, shape: tuple[int, int]) -> None:
    assert picture.grid(np.zeros((count, 4, 4, 3), np.uint8)).shape[:2] == shape


def test_pairs_stand_above_each_other_and_are_small() -> None:
    shade = lambda value: np.full((3, 40, 20, 3), value, np.uint8)
    sheet = picture.pairs(shade(10), shade(200), side=20, columns=2)
    assert sheet.shape == (4 * 22 - 2, 2 * 12 - 2, 3)
    assert [int(sheet[22 * i + 10, 5, 0]) for i in range(4)] == [10, 200, 10, 200]
    assert [int(sheet[22 * i + 10, 17, 0]) for i in range(4)] == [10, 200, 255, 255]
    assert picture.pairs(shade(1), shade(2)).shape == (2 * 42 - 2, 3 * 22 - 2, 3)


def test_bytes_are_rounded_and_clipped() -> None:
    values = torch.tensor([-0.2, 0.0, 0.5 / 255 - 1e-4, 0.5 / 255 + 1e-4, 0.999, 1.0, 1.7])
    pixels = picture.to_uint8(values.expand(1, 3, 1, 7))
    assert pixels[0, 0, :, 0].tolist() == [0, 0, 0, 1, 255, 255, 255]


@pytest.mark.parametrize("value", [1, 200, 255, 256, 32768, 65535])
def test_sixteen_bits_are_known_by_the_mode(tmp_path: Path, value: int) -> None:
    Image.fromarray(np.full((4, 4), value, np.uint16)).save(tmp_path / "x.png")
    seen = picture.read(tmp_path / "x.png")
    torch.testing.assert_close(seen, torch.full((1, 3, 4, 4), value / 65535))


@pytest.mark.parametrize("most", [65535, 1023])
def test_a_portable_map_of_more_than_eight_bits_says_what_is_white(
    tmp_path: Path, most: int
) -> None:
    numbers = np.array([[0, most // 3], [most // 2, most]], dtype=">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 2 2 %d\n" % most + numbers.tobytes())
    seen = picture.read(tmp_path / "a.pgm")[0, 0].double()
    expected = torch.from_numpy(numbers.astype(float)) / most
    assert (seen - expected).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
def test_a_tiff_whose_white_is_zero_is_no_negative(tmp_path: Path, kind: str) -> None:
    tifffile = pytest.importorskip("tifffile")  # Pillow itself writes 8 bit the other way
    dark = np.array([[0.0, 0.2], [0.6, 1.0]])
    most = {"u1": 255, "u2": 65535, "f4": 1}[kind]
    tifffile.imwrite(tmp_path / "a.tif", (dark * most).astype(kind), photometric="miniswhite")
    seen = picture.read(tmp_path / "a.tif")[0, 0].double()
    assert (seen - torch.from_numpy(1 - dark)).abs().max() < 1e-2


def test_floats_are_in_the_unit_interval(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "x.tif")
    torch.testing.assert_close(picture.read(tmp_path / "x.tif")[0, 1], torch.from_numpy(ramp))
    for wrong, said in ((ramp * 255, r"0 to 255"), (ramp - 2, "-2 to -1"), (ramp * np.nan, "NaN")):
        Image.fromarray(wrong).save(tmp_path / "x.tif")
        with pytest.raises(ImageError, match=said):
            picture.read(tmp_path / "x.tif")
    Image.fromarray(np.full((4, 4), 128, np.int32)).save(tmp_path / "x.tif")
    with pytest.raises(ImageError, match="what is white"):
        picture.read(tmp_path / "x.tif")


@pytest.mark.parametrize("kind", ["gif", "tiff", "webp", "png"])
def test_a_file_of_several_pictures_does_not_say_which_is_meant(tmp_path: Path, kind: str) -> None:
    path, pictures = tmp_path / f"a.{kind}", [Image.new("L", (4, 4), n) for n in (9, 99)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    with pytest.raises(ImageError, match="has 2 pictures in it; save the one"):
        picture.read(path)
    pictures[0].save(path, save_all=True)
    assert picture.read(path).shape == (1, 3, 4, 4)


def test_a_mask_is_what_is_white_or_opaque(tmp_path: Path) -> None:
    one = Image.new("RGBA", (6, 4), (*ORANGE, 255))
    one.putpixel((2, 1), (0, 0, 0, 0))
    one.putpixel((3, 1), (0, 0, 0, 128))
    one.save(tmp_path / "x.png")
    known = torch.ones(1, 1, 4, 6)
    known[..., 1, 2:4] = 0
    assert torch.equal(picture.read_mask(tmp_path / "x.png", alpha=True), known)
    Image.fromarray((known[0, 0].numpy() * 255).astype(np.uint8)).save(tmp_path / "mask.png")
    assert torch.equal(picture.read_mask(tmp_path / "mask.png"), known)


@pytest.mark.parametrize(("size", "words"), [((6, 4), "6 x 4"), ((4, 12), "4 x 12"), ((5, 5), "")])
def test_a_reference_that_is_not_square_is_said_to_be_squeezed(tmp_path, size, words):
    """Two faces side by side, three on top of each other, a landscape: as they are, or by the energy."""
    from latentzoo import energies

    path = tmp_path / "reference.png"
    Image.new("RGB", size, (90, 60, 30)).save(path)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        energies.load("identity", str(path), model="avatar-id")
    said = [str(w.message) for w in told]
    assert len(said) == bool(words)
    assert all(f"{words} pixels are squeezed" in line and "landmarks" in line for line in said)


@pytest.mark.parametrize(
    ("kind", "channels", "said"),
    [
        *(("f2", 1, "floats of 16 bit in 1"), ("f8", 1, "floats of 64 bit in 1")),
        *(("f4", 3, "floats of 32 bit in 3"), ("f2", 4, "floats of 16 bit in 4")),
        *(("i1", 1, "bytes with a sign"), ("u8", 1, "whole numbers of 64 bit in 1")),
    ],
)
@pytest.mark.parametrize("order", "<>")
def test_a_tiff_that_cannot_be_decoded_says_what_it_holds_and_what_to_save(
    tmp_path: Path, kind: str, channels: int, said: str, order: str
) -> None:
    tifffile = pytest.importorskip("tifffile")
    numbers = np.zeros((4, 4, channels) if channels > 1 else (4, 4), np.dtype(order + kind))
    colours = "minisblack" if channels == 1 else "rgb"
    tifffile.imwrite(tmp_path / "a.tif", numbers, byteorder=order, photometric=colours)
    with pytest.raises(ImageError, match=f"{said}.*; save ") as error:
        picture.read(tmp_path / "a.tif")
    assert "\n" not in str(error.value)
