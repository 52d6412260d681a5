"""A mask that is painted over an upload: shown on the page, and read back as a picture with a hole.

What is painted comes back as a PNG of the generator's own size. It is decoded as every upload is, and only where it is
opaque counts.
"""

import base64
import binascii
import io
from pathlib import Path

import numpy as np
from PIL import Image

from latentzoo import picture
from latentzoo.app.limits import Limits
from latentzoo.errors import ImageError

HEAD = "data:image/png;base64,"


def canvas(path: Path, side: int) -> str:
    """The picture as the generator sees it, `side` pixels wide, with a canvas above it, as HTML; see paint.js."""
    shown = picture.embedded(_seen(path, side))
    words = (
        "Paint over what is missing. With the keyboard, arrows move the brush and space paints."
    )
    return (
        f'<canvas id="mask" tabindex="0" width="{side}" height="{side}" role="img" aria-label="{words}" '
        f'style="background-image:url({shown})"></canvas><p>{words}</p>'
    )


def holed(path: Path, painted: object, side: int, limits: Limits) -> Image.Image:
    """The picture as the generator sees it, transparent where it was painted over.

    Arguments:
        path: The picture.
        painted: The canvas, a data address of a PNG.
        side: How many pixels wide the generator's pictures are.
        limits: What the operator allows.

    Raises:
        ImageError: If nothing, or all of it, was painted over, or it is no such PNG.
    """
    if not isinstance(painted, str) or not painted.startswith(HEAD):
        raise ImageError("nothing is painted over; paint over what is missing in the picture")
    try:
        data = base64.b64decode(painted.removeprefix(HEAD), validate=True)
    except binascii.Error:
        raise ImageError("what was painted is no PNG; load the page again") from None
    alpha = np.asarray(limits.decoded(io.BytesIO(data)).getchannel("A").resize((side, side)))
    if alpha.all() or not alpha.any():
        said = "all" if alpha.all() else "nothing"
        raise ImageError(f"{said} of the picture is painted over; paint over what is missing")
    known = np.where(alpha, 0, 255).astype(np.uint8)
    return Image.fromarray(np.dstack([_seen(path, side), known]))


def _seen(path: Path, side: int) -> np.ndarray:
    return picture.to_uint8(picture.read(path, (side, side)))[0]
