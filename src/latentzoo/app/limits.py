"""What the operator of a page allows."""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from latentzoo import zoo
from latentzoo.errors import ImageError, SpecError
from latentzoo.files import write_atomic

BUILT_IN = "package:"
KINDS = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True)
class Limits:
    """Creates the limits of a page.

    Arguments:
        chains: The most chains of a run.
        steps: The most gradients of a chain, those of all its extensions together.
        megapixels: The largest picture that is decoded, in millions of pixels.
        letters: The longest text.
        generators: The generators to choose from; empty for those inside the package.
        options: The arguments of the generators that are named.
        judges: The network that judges, by the kind of energy, for generators that have none of their own.

    Raises:
        SpecError: If a limit is not positive.
    """

    chains: int = 16
    steps: int = 500
    megapixels: float = 24.0
    letters: int = 300
    generators: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    judges: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("chains", "steps", "megapixels", "letters"):
            if getattr(self, name) <= 0:
                raise SpecError(
                    f"the limit of {name} is {getattr(self, name)}; give a positive number"
                )

    @property
    def choices(self) -> tuple[str, ...]:
        """The generators to choose from."""
        cards = map(zoo.card, zoo.names())
        return self.generators or tuple(
            card.name for card in cards if (card.url or "").startswith(BUILT_IN)
        )

    def count(self, name: str, given: object) -> int:
        """A whole number from 1 to the limit of that name.

        Raises:
            SpecError: If it is something else.
        """
        most = getattr(self, name)
        if not isinstance(given, int | float) or given != given or not 1 <= int(given) <= most:
            raise SpecError(f"{name} is {given}; this page allows whole numbers from 1 to {most}")
        return int(given)

    def index(self, given: object, length: int) -> int:
        """A whole number from 0 to below a length.

        Raises:
            SpecError: If it is something else.
        """
        if not isinstance(given, int | float) or given != given or not 0 <= int(given) < length:
            raise SpecError(f"{given} is out of range; give a whole number from 0 to {length - 1}")
        return int(given)

    def number(self, name: str, given: object) -> float:
        """A factor above 0, and at most 100.

        Raises:
            SpecError: If it is something else.
        """
        if not isinstance(given, int | float) or not 0 < given <= 100:
            raise SpecError(f"the {name} is {given}; give a factor above 0, and at most 100")
        return float(given)

    def nats(self, given: object) -> float:
        """A strength in nats from 0, for none, to 1000.

        Raises:
            SpecError: If it is something else.
        """
        if given is None:
            return 0.0
        if not isinstance(given, int | float) or not 0 <= given <= 1000:
            raise SpecError(f"the strength is {given}; give nats from 0 to 1000")
        return float(given)

    def text(self, given: object) -> str:
        """A text of the allowed length.

        Raises:
            SpecError: If it is too long, or no text.
        """
        if not isinstance(given, str | None):
            raise SpecError("this is no text; write words")
        text = (given or "").strip()
        if len(text) > self.letters:
            raise SpecError(f"the text has {len(text)} letters; this page allows {self.letters}")
        return text

    def decoded(self, upload: str | Path | BytesIO) -> Image.Image:
        """Decodes an upload as a picture, RGBA, and nothing else.

        Raises:
            ImageError: If it is no PNG, JPEG or WebP, or has more pixels than allowed.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with Image.open(upload, formats=KINDS) as file:  # reads the header alone
                    millions = file.width * file.height / 1e6
                    if millions > self.megapixels:
                        raise ImageError(
                            f"the picture has {millions:.0f} megapixels; this page allows {self.megapixels:g}"
                        )
                    return ImageOps.exif_transpose(file).convert("RGBA")
        except Image.DecompressionBombError:
            raise ImageError(
                f"the picture has far more megapixels than the {self.megapixels:g} that this page allows"
            ) from None
        except (OSError, ValueError, SyntaxError):
            raise ImageError(
                "the upload is no readable picture; give a PNG, JPEG or WebP file"
            ) from None

    def picture(self, upload: str | Path, folder: Path) -> Path:
        """Keeps the pixels of an upload as a PNG.

        Arguments:
            upload: The file that came over the network.
            folder: Where the PNG goes, under a name made of its pixels.

        Raises:
            ImageError: As in `decoded`.
        """
        return kept(self.decoded(upload), folder)


def kept(pixels: Image.Image, folder: Path) -> Path:
    """Writes pixels into a folder, as a PNG under a name made of them."""
    digest = sha256(repr(pixels.size).encode() + pixels.tobytes()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{digest}.png"
    if not path.exists():
        write_atomic(path, lambda place: pixels.save(place, format="PNG"))
    return path


def private(folder: Path) -> None:
    """Makes a folder that this user alone may look into."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chmod(folder, 0o700)
