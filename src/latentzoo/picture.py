"""Pictures in and out: files become (1, 3, H, W) in [0, 1], tensors become PNG files that know their record."""

import base64
import io
import math
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from torch import Tensor

from latentzoo.errors import ImageError
from latentzoo.files import write_atomic


def read(path: str | Path, size: tuple[int, int] | None = None) -> Float[Tensor, "1 3 H W"]:
    """Reads a picture of any mode (RGBA on white, grey, palette, 16 bit, float in [0, 1]) and orientation (EXIF).

    Arguments:
        path: The file.
        size: Height and width to resize to, after cropping the centre to that aspect; None keeps
            the picture's own.

    Returns:
        The picture, (1, 3, H, W) in [0, 1]; grey of more than 8 bits keeps them, colours of 16 bit are read at 8.

    Raises:
        ImageError: If the file is missing, is not one picture that can be decoded, or does not say what is white.
    """
    picture = _opened(path)
    deep = picture.mode.startswith(("I", "F"))
    picture = _fitted(_unit(picture, path) if deep else _to_rgb(picture), size)
    if deep:
        return torch.from_numpy(np.array(picture)).expand(1, 3, -1, -1).clone()
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255


def read_square(path: str | Path) -> Float[Tensor, "1 3 H W"]:
    """Reads a picture that is going to be seen as a square, and warns if it is none: it will be squeezed.

    Raises:
        ImageError: As in `read`.
    """
    picture = read(path)
    height, width = picture.shape[2:]
    if height != width:
        warnings.warn(
            f"{path}: its {width} x {height} pixels are squeezed to a square; cut out the face as FFHQ aligns it, "
            "or give its landmarks",
            stacklevel=2,
        )
    return picture


def read_mask(
    path: str | Path, size: tuple[int, int] | None = None, *, alpha: bool = False
) -> Float[Tensor, "1 1 H W"]:
    """Reads a mask: 1 where the picture is white, or opaque, and 0 elsewhere.

    Arguments:
        path: The file.
        size: As in `read`.
        alpha: Whether the mask is what is opaque, 1 everywhere if the file has no alpha.

    Raises:
        ImageError: As in `read`.
    """
    if not alpha:
        return (read(path, size).mean(1, keepdim=True) > 0.5).float()
    picture = _opened(path)
    opaque = picture.convert("RGBA").getchannel("A") if _has_alpha(picture) else None
    if opaque is None:
        opaque = Image.new("L", picture.size, 255)
    return torch.from_numpy(np.array(_fitted(opaque, size)) == 255)[None, None].float()


def _opened(path: str | Path) -> Image.Image:
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            picture.format = file.format  # a copy forgets it
            tags = getattr(file, "tag_v2", {})
            picture.info[NEGATIVE] = tags.get(PHOTOMETRIC) == 0
            frames = 1 if file.format == "MPO" else getattr(file, "n_frames", 1)
            signed = file.mode == "L" and SIGNED in tags.get(NUMBERS, ())
    except FileNotFoundError:
        raise ImageError(f"{path}: there is no such picture; check the path") from None
    except UnidentifiedImageError as error:
        cure = _unread_tiff(path) or "give a PNG, JPEG or WebP file"
        raise ImageError(f"{path}: not a readable picture; {cure}") from error
    except (
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
    ) as error:
        raise ImageError(
            f"{path}: not a readable picture ({error}); give a PNG, JPEG or WebP file"
        ) from error
    if frames > 1:  # a camera's MPO has a picture and previews of it
        raise ImageError(f"{path}: has {frames} pictures in it; save the one that is meant alone")
    if signed:
        raise ImageError(
            f"{path}: bytes with a sign do not say what is white; save them without it"
        )
    return picture


def _unread_tiff(path: str | Path) -> str | None:
    """What a TIFF holds that cannot be decoded, and what it can be saved as; None if the file is no TIFF."""
    try:
        with Path(path).open("rb") as file:
            tags = ImageFileDirectory_v2(file.read(8))
            file.seek(tags.next)
            tags.load(file)
            bits, kind = tags.get(BITS, (1,)), tags.get(NUMBERS, (1,))[0]
    except (SyntaxError, ValueError, OSError, struct.error, IndexError, TypeError):
        return None
    numbers = {1: "whole numbers", SIGNED: "signed numbers", 3: "floats"}.get(kind, "numbers")
    return (
        f"its TIFF has {numbers} of {bits[0]} bit in {len(bits)} channels, which Pillow does not read; "
        "save 8 or 16 bit, or one channel of 32 bit floats in [0, 1]"
    )


def _fitted(picture: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    if size is None or picture.size == (size[1], size[0]):
        return picture
    return ImageOps.fit(picture, (size[1], size[0]), Image.Resampling.LANCZOS)


PHOTOMETRIC, NEGATIVE = 262, "white is zero"
"""The tag of a TIFF that says which end is white: Pillow obeys it in 8 bit alone."""
BITS, NUMBERS, SIGNED = 258, 339, 2
"""The tags of a TIFF that say how many bits its numbers have, and of which kind they are."""
SIXTEEN = ("PNG", "PPM")
"""The formats whose whole numbers Pillow gives as those of 16 bit, in a mode of 32."""


def _unit(picture: Image.Image, path: str | Path) -> Image.Image:
    """A grey picture of 16 bit, or of floats in [0, 1], as floats; its mode says which, not its largest value."""
    grey = np.asarray(picture, dtype=np.float32)
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in SIXTEEN):
        grey = grey / 65535
    elif picture.mode != "F":
        raise ImageError(
            f"{path}: whole numbers of 32 bit do not say what is white; save 8 or 16 bit, or floats in [0, 1]"
        )
    if not np.isfinite(grey).all():
        raise ImageError(f"{path}: some of its values are NaN or infinite; repair the picture")
    if grey.min() < 0 or grey.max() > 1:
        span = f"{grey.min():.4g} to {grey.max():.4g}"
        raise ImageError(f"{path}: its floats reach from {span}; save them in [0, 1]")
    return Image.fromarray(1 - grey if picture.info[NEGATIVE] else grey)


def _has_alpha(picture: Image.Image) -> bool:
    return picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info


def _to_rgb(picture: Image.Image) -> Image.Image:
    if _has_alpha(picture):
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def to_uint8(image: Float[Tensor, "B 3 H W"]) -> np.ndarray:
    """Rounds images of nominal range [0, 1] to bytes, (B, H, W, 3); values outside are clipped here and only here."""
    pixels = (image.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()


def read_uint8(path: Path) -> np.ndarray:
    """Reads the bytes (H, W, 3) that `write` wrote.

    Raises:
        ImageError: If the file is missing or cannot be read.
    """
    return np.array(_to_rgb(_opened(path)))


def write(path: Path, pixels: np.ndarray, texts: Mapping[str, str] | None = None) -> None:
    """Writes bytes (H, W, 3) as PNG with text chunks, atomically."""
    info = PngInfo()
    for key, text in (texts or {}).items():
        info.add_itxt(key, text)
    save = lambda place: Image.fromarray(pixels).save(place, format="PNG", pnginfo=info)
    write_atomic(path, save)


def embedded(pixels: np.ndarray) -> str:
    """Bytes (H, W, 3) as the address of a PNG inside a page: nothing is loaded from elsewhere."""
    memory = io.BytesIO()
    Image.fromarray(pixels).save(memory, format="PNG")
    return "data:image/png;base64," + base64.b64encode(memory.getvalue()).decode()


def grid(pixels: np.ndarray, *, columns: int | None = None, gap: int = 2) -> np.ndarray:
    """Lays (B, H, W, 3) bytes out in rows on white, about square unless `columns` is given."""
    count, height, width, _ = pixels.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, picture in enumerate(pixels):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        sheet[y : y + height, x : x + width] = picture
    return sheet


def pairs(
    before: np.ndarray, after: np.ndarray, *, side: int = 256, columns: int = 8
) -> np.ndarray:
    """Lays two sets of (B, H, W, 3) bytes out, each picture of the first above its own of the second.

    Arguments:
        before, after: The pictures; larger ones than `side` pixels are shown smaller.
        side: The longer side of a picture in the sheet, at most.
        columns: How many pairs stand beside each other, at most.
    """
    rows = []
    for i in range(0, len(before), columns):
        for part in (before[i : i + columns], after[i : i + columns]):
            short = np.full(
                (min(columns, len(before)) - len(part), *part.shape[1:]), 255, np.uint8
            )
            rows.append(np.concatenate([part, short]))
    return grid(
        np.stack([_small(one, side) for one in np.concatenate(rows)]), columns=len(rows[0])
    )


def _small(pixels: np.ndarray, side: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
