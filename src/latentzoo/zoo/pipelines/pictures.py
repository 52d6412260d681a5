"""Pictures as arguments of a pipeline's call: opened by their paths, and looked at before the call.

A pipeline takes what it is given for a picture: of four channels for a code, of any numbers for colours, and
resizes what has another size.
"""

import os
from collections.abc import Iterator, Mapping, Set
from typing import Any

import numpy as np
import torch
from diffusers.utils.outputs import BaseOutput
from PIL import Image
from torch import Tensor

from latentzoo import picture
from latentzoo.errors import SpecError

NAMES = {"image", "images", "mask", "hint"}
"""The last words of the names of arguments that are pictures."""
OTHERS = {"attention", "embeds", "input"}
"""Words in the names of masks that are of texts."""
MASKS = {"mask", "mask_image", "control_mask"}
WHOLE = ("original_image", "image", "control_image")
"""What a mask is of, the first one that is given."""
GREY = ("L", "1")
COLOURS = (1, 3)
"""Channels of a picture."""
OVERSHOOT = 0.2
"""By how much a resize by a cubic may leave the range of a picture."""
MULTIPLE = 32
"""Pictures are rounded down to multiples of at most so many pixels; what loses more, or gains, has a size that the
pipeline chose."""

EIGHT = 8
"""What sides are multiples of, in most pipelines."""

Size = tuple[int, int]
"""Height and width in pixels."""


def is_picture(name: str) -> bool:
    """Whether an argument is a picture, by its name."""
    words = name.split("_")
    return words[-1] in NAMES and not OTHERS & {*words}


def opened(name: str, value: Any) -> Any:
    """A picture by its path, a grey one in colours, true and false as numbers, and an array of one picture as a batch.

    Whatever else an argument is stays as it is.
    """
    if not is_picture(name):
        return value
    if isinstance(value, list | tuple):
        return [opened(name, one) for one in value]
    if isinstance(value, str | os.PathLike):
        return Image.fromarray(picture.to_uint8(picture.read(os.fspath(value)))[0])
    if isinstance(value, Tensor | np.ndarray):
        return _batch(name, value)
    grey = isinstance(value, Image.Image) and value.mode in GREY and name not in MASKS
    return value.convert("RGB") if grey else value


def _batch(name: str, x: Any) -> Any:
    if isinstance(x, Tensor):
        x = x.float() if x.dtype == torch.bool else x
        alone = x.ndim == 3 and x.shape[0] in COLOURS
    else:
        x = x.astype(np.float32) if x.dtype == bool else x
        alone = x.ndim == 3 and x.shape[-1] in COLOURS
    return x[None] if alone and name not in MASKS else x


def judge(kind: str, given: Mapping[str, Any]) -> None:
    """Looks at the pictures of a call.

    Arguments:
        kind: The class of the pipeline.
        given: The arguments that the user gives, opened.

    Raises:
        SpecError: If one is of other colours or numbers than a picture's, or a mask of another size than its picture.
    """
    for name, value in given.items():
        if is_picture(name):
            if isinstance(value, list) and not value:
                raise SpecError(
                    f"{name} of {kind} is an empty list; give a picture, or leave it out"
                )
            for one in each(value):
                _colours(name, one)
                _numbers(name, one)
    seen = next((given[n] for n in WHOLE if given.get(n) is not None), None)
    for name in MASKS & {*given}:
        pixels = (x for x in each(seen) if not _code(x))
        sizes = [next(map(size, x), None) for x in (each(given[name]), pixels)]
        if None not in sizes and sizes[0] != sizes[1]:
            mask, whole = sizes
            raise SpecError(
                f"{name} of {kind} has {_say(mask)} pixels and its picture {_say(whole)}; give both in one size"
            )


def resized(
    kind: str, found: Set[tuple[Size, Size]], asked: Size | None, *, free: bool = False
) -> list[str]:
    """What a pipeline says of pictures whose size it changes.

    Arguments:
        kind: Its class.
        found: Each size before and after.
        asked: The size of the picture that the user asks for.
        free: Whether the user could ask for one, and does not.

    Returns:
        A line for each size that the pipeline chose itself; none where nothing is changed, or the user asked for the
        size and the picture keeps its shape.

    Raises:
        SpecError: If a picture is rounded down, or changed to the size that is asked for, out of its shape.
    """
    lines = []
    again = {new for _, new in found}  # what it made itself, which it may show an encoder in small
    for old, new in sorted(found):
        in_shape = old[0] * new[1] == old[1] * new[0]
        if old == new or old in again or (new == asked and in_shape):
            continue
        line = f"{kind} resizes a picture of {_say(old)} pixels to {_say(new)}"
        rounded = all(0 <= a - b < MULTIPLE for a, b in zip(old, new, strict=True))
        if new == asked or rounded:
            whole = free and not any(side % EIGHT for side in old)
            own = f", or height={old[0]}, width={old[1]}" if whole else ""
            raise SpecError(f"{line}; give one of that size{own}")
        lines.append(f"{line}; give one of that size to keep its pixels")
    return lines


def cure(given: Mapping[str, Any]) -> str:
    """What helps where a call with these arguments is refused."""
    several = [n for n, x in given.items() if is_picture(n) and isinstance(x, list) and len(x) > 1]
    if several:
        return f"is {several[0]} meant to be a list? give one picture, or one prompt for each"
    return "check its options and its scheduler"


def drawless(given: Mapping[str, Any]) -> str:
    """What helps where a call with these arguments is made of no draw."""
    if given.get("denoising_start") is not None:
        return (
            "denoising_start takes its image as it is, without noise: leave it out and give strength, or give a "
            "picture, whose code is drawn"
        )
    return "take another scheduler"


def size(x: Any) -> Size | None:
    """Height and width of what may be a picture."""
    if isinstance(x, Image.Image):
        return x.height, x.width
    if isinstance(x, Tensor) and x.ndim > 1:
        return int(x.shape[-2]), int(x.shape[-1])
    if isinstance(x, np.ndarray) and x.ndim > 1:
        last = x.ndim > 2 and x.shape[-1] in (1, 3, 4)
        height, width = x.shape[-3:-1] if last else x.shape[-2:]
        return int(height), int(width)
    return None


def made(given: Any) -> Size | None:
    """Height and width of the arrays that a call gives; None where it gives none."""
    while not isinstance(given, np.ndarray):
        if not isinstance(given, list | tuple | BaseOutput) or not len(given):
            return None
        given = given[0]  # pyright: ignore[reportArgumentType]
    return size(given)


def each(value: Any) -> Iterator[Any]:
    """All that is in a list, and in lists within it."""
    if isinstance(value, list | tuple):
        for one in value:
            yield from each(one)
    elif value is not None:
        yield value


def _code(x: Any) -> bool:
    """Whether a picture is given as a code, which has other channels and fewer pixels."""
    return isinstance(x, Tensor) and x.ndim > 2 and x.shape[-3] not in (1, 3)


def _colours(name: str, x: Any) -> None:
    known = ("RGB", *(GREY if name in MASKS else ()))
    if isinstance(x, Image.Image) and x.mode not in known:
        raise SpecError(
            f"{name} is a picture of mode {x.mode}, which would be read as something else; give "
            f"{name}.convert('RGB')"
        )


def _numbers(name: str, x: Any) -> None:
    """A code, which has other channels than a picture, may have any numbers."""
    if not isinstance(x, Tensor | np.ndarray):
        return
    shape, least_axes = tuple(x.shape), 2 if name in MASKS or isinstance(x, np.ndarray) else 3
    if not all(shape) or x.ndim < least_axes:
        raise SpecError(
            f"{name} has shape {shape}, which is no picture's; give colours, height and width, none of them 0"
        )
    values = torch.as_tensor(x)
    if isinstance(x, Tensor) and not values.is_floating_point():
        raise SpecError(
            f"{name} is a tensor of {str(x.dtype).removeprefix('torch.')}; give numbers from 0 to 1, by "
            f"{name}.float() / 255 where they are bytes"
        )
    values = values.double()
    if isinstance(x, Tensor) and x.ndim == 3 and x.shape[0] not in COLOURS and x.shape[-1] == 3:
        raise SpecError(
            f"{name} has shape {tuple(x.shape)}, and a tensor's colours come first; give {name}.movedim(-1, 0)"
        )
    if not values.isfinite().all():
        raise SpecError(f"{name} has values that are not finite; give a picture")
    low, high = float(values.min()), float(values.max())
    least = 0 if name in MASKS else -1
    if not _code(x) and not least <= low <= high <= 1:
        cure = _cure(low, high, least)
        raise SpecError(
            f"{name} has values from {low:.6g} to {high:.6g}, and a picture's are from 0 to 1; {cure}"
        )


def _cure(low: float, high: float, least: int) -> str:
    """What to do with numbers that are no picture's: such as overshoot little, as a resize does, are clamped."""
    if max(high - 1, least - low) < OVERSHOOT:
        return "clamp it"
    if low < least:
        return "scale it"
    return f"divide it by {255 if high > 2 else high:.6g}"


def _say(found: Size | None) -> str:
    return "x".join(map(str, found or ()))
