"""Pictures in and out: files become (1, 3, H, W) in [0, 1], tensors become PNG files that know their record."""

import base64
import io
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from latentzoo.errors import ImageError


def read(path: str | Path, size: tuple[int, int] | None = None) -> Float[Tensor, "1 3 H W"]:
    """Reads a picture of any mode (RGBA on white, grey, palette, 16 bit) and orientation (EXIF).

    Arguments:
        path: The file.
        size: Height and width to resize to, after cropping the centre to that aspect; None keeps
            the picture's own.

    Returns:
        The picture, (1, 3, H, W) in [0, 1].

    Raises:
        ImageError: If the file is missing or is not a picture that can be decoded.
    """
    try:
        with Image.open(path) as file:
            picture = _to_rgb(ImageOps.exif_transpose(file))
    except FileNotFoundError:
        raise ImageError(f"{path}: there is no such picture; check the path") from None
    except (
        UnidentifiedImageError,
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
    ) as error:
        raise ImageError(
            f"{path}: not a readable picture ({error}); give a PNG, JPEG or WebP file"
        ) from error
    if size is not None and picture.size != (size[1], size[0]):
        picture = ImageOps.fit(picture, (size[1], size[0]), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(
        ("I", "F")
    ):  # 16 bit and more: Pillow's own conversion would clip, not scale
        grey = np.asarray(picture, dtype=np.float64)
        top = 65535 if grey.max() > 255 else 255
        return Image.fromarray(np.uint8(np.clip(grey * (255 / top), 0, 255).round())).convert(
            "RGB"
        )
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def to_uint8(image: Float[Tensor, "B 3 H W"]) -> np.ndarray:
    """Rounds images of nominal range [0, 1] to bytes, (B, H, W, 3); values outside are clipped here and only here."""
    pixels = (image.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()


def write(path: Path, pixels: np.ndarray, texts: Mapping[str, str] | None = None) -> None:
    """Writes bytes (H, W, 3) as PNG with text chunks."""
    info = PngInfo()
    for key, text in (texts or {}).items():
        info.add_itxt(key, text)
    Image.fromarray(pixels).save(path, format="PNG", pnginfo=info)


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
