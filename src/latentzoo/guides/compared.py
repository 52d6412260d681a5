"""What is seen of a network before it is used: its own way of pictures against ours, and whether it takes them."""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from latentzoo.errors import CheckpointError, LatentzooError
from latentzoo.guides.preprocess import Preprocess

GAP = 0.02
"""The largest difference in [0, 1]: what rounding to bytes makes of a resize."""


def agree(ours: Preprocess, theirs: Callable[[Image.Image], Tensor], *, source: str) -> None:
    """Compares ours with a library's own way, on a wide picture that grows and a high one that shrinks, of odd sides.

    Raises:
        CheckpointError: If they differ by more than `GAP` of [0, 1].
    """
    small = probe(47, 61)
    height, width = ours(tensor(small)).shape[2:]
    for picture in (small, probe(3 * height + 1, 2 * width + 35)):
        expected, seen = theirs(picture), ours(tensor(picture))[0]
        if expected.shape != seen.shape:
            shapes = f"it makes {tuple(expected.shape)} of a picture, not {tuple(seen.shape)}"
            raise refused(source, shapes)
        black, white = (ours(torch.full((1, 3, 47, 61), level)) for level in (0.0, 1.0))
        scale = (white - black)[0, :, height // 2, width // 2].abs().view(3, 1, 1)
        gap = ((seen - expected).abs() / scale).max().item()
        if not gap <= GAP:
            raise refused(source, f"its pictures differ by {gap:.3f} of [0, 1] from what it says")


def probe(height: int, width: int) -> Image.Image:
    """A picture with waves, grain and edges from black to white, at which bicubic interpolation overshoots."""
    y, x, channel = np.ogrid[:height, :width, :3]
    waves = np.sin(0.9 * y + channel) + np.cos(0.31 * x - 2.0 * channel) + np.sin(0.05 * x * y)
    return Image.fromarray((127.5 + 100 * waves).clip(0, 255).astype(np.uint8))


def tensor(picture: Image.Image) -> Tensor:
    """A picture as numbers in [0, 1], (1, 3, H, W)."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255


def tried(see: Callable[[Tensor], Tensor], *, source: str, what: str = "pictures") -> Tensor:
    """What a network says of a picture, or of something else that its caller gives it.

    Raises:
        CheckpointError: If it does not take it, or what it says is not finite.
    """
    try:
        with torch.no_grad():
            said = see(tensor(probe(47, 61)))
    except LatentzooError:
        raise
    except Exception as error:  # whatever a network of somebody else raises
        line = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"the network of '{source}' does not take the {what} that its settings ask for ({line}); take another"
        ) from error
    if not said.isfinite().all():
        raise CheckpointError(
            f"the network of '{source}' makes numbers that are not finite; take another"
        )
    return said


def refused(name: str, fact: str) -> CheckpointError:
    """The error that says of which network the pictures cannot be made ready, and why."""
    line = " ".join(fact.split())[:200]
    return CheckpointError(
        f"the pictures of {name} are made ready in a way that is not known here: {line}; take another model"
    )
