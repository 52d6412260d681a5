"""The picture of an avatar: the head of the drawing, `(64, 64, 3)` in 8 bits; it needs the extra `avatars`.

References:
    | python-avatars (Ibrahim Berkay Ceylan, 2021), https://github.com/ibonn/python_avatars
    | Avataaars, artwork by Pablo Stanley (2017), https://avataaars.com
"""

import importlib
import io
import re
from typing import Any

import numpy as np

from latentzoo.builtin.avatars import (
    BACKGROUND,
    CLOTHING,
    EYEBROWS,
    EYES,
    FABRIC,
    FACIAL_HAIR,
    GLASSES,
    HAIR,
    HAIR_COLOR,
    HAT,
    MOUTH,
    SKIN,
    Avatar,
)
from latentzoo.errors import MissingExtra

SIZE = 64
VIEW = (24, 4, 216, 216)
"""The left and top end, width and height of the head, in the drawing's own units."""


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(name, "avatars", "drawing an avatar") from error


def draw_svg(avatar: Avatar) -> str:
    """The drawing as an SVG document, cropped to the head."""
    pa = _library("python_avatars")
    bare = avatar.hat == "none"
    svg = pa.Avatar(
        style=pa.AvatarStyle.TRANSPARENT,
        top=pa.HairType[HAIR[avatar.hair]] if bare else pa.HatType[HAT[avatar.hat]],
        hat_color=FABRIC.get(avatar.hat_color, ""),
        skin_color=SKIN[avatar.skin],
        hair_color=HAIR_COLOR.get(avatar.hair_color, ""),
        facial_hair=pa.FacialHairType[FACIAL_HAIR[avatar.facial_hair]],
        facial_hair_color=HAIR_COLOR.get(avatar.hair_color, ""),
        accessory=pa.AccessoryType[GLASSES[avatar.glasses]],
        eyebrows=pa.EyebrowType[EYEBROWS[avatar.eyebrows]],
        eyes=pa.EyeType[EYES.get(avatar.eyes, "DEFAULT")],
        nose=pa.NoseType.DEFAULT,
        mouth=pa.MouthType[MOUTH[avatar.mouth]],
        clothing=pa.ClothingType[CLOTHING[avatar.clothing]],
        clothing_color=FABRIC[avatar.clothing_color],
    ).render()
    x, y, width, height = VIEW
    start = svg.index(">", svg.index("<svg"))
    head = re.sub(r'\s(width|height|viewBox)="[^"]*"', "", svg[:start])
    return (
        f'{head} viewBox="{x} {y} {width} {height}"><rect x="{x}" y="{y}" width="{width}" '
        f'height="{height}" fill="{BACKGROUND[avatar.background]}"/>{svg[start + 1 :]}'
    )


def render(avatar: Avatar, size: int = SIZE) -> np.ndarray:
    """The picture of an avatar, `(size, size, 3)`, unsigned 8-bit.

    Raises:
        MissingExtra: The extra `avatars` is not installed.
    """
    resvg = _library("resvg_py")
    image = _library("PIL.Image")
    png = resvg.svg_to_bytes(svg_string=draw_svg(avatar), width=2 * size, height=2 * size)
    picture = image.open(io.BytesIO(bytes(png))).convert("RGB")
    return np.asarray(picture.resize((size, size), image.Resampling.BOX))
