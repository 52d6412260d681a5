r"""How far a picture is from a measurement of the one that is looked for.

.. math:: E(x) = \frac{|A(x) - y|^2}{2 \sigma^2}

This is minus the logarithm of the likelihood of :math:`y = A(x) + \sigma \epsilon, \; \epsilon \sim \mathcal{N}(0, I)`,
without its constant: at weight 1 the posterior is the Bayesian one, and the weight is no matter of taste. Inpainting,
super-resolution, deblurring and colourisation are operators A. With `perceptual`, the squared distance is LPIPS, and
the likelihood one of taste again.

References:
    | Compressed Sensing using Generative Models (Bora et al., 2017), https://arxiv.org/abs/1703.03208
    | The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (Zhang et al., 2018)
    | https://arxiv.org/abs/1801.03924
"""

import math
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo import picture
from latentzoo.energies.base import Energy
from latentzoo.errors import SpecError, UnknownName
from latentzoo.guides.perceptual import load as lpips
from latentzoo.options import Positive

LUMA = 0.299, 0.587, 0.114
HIDDEN: dict[str, Callable[[int, int], tuple[slice, slice]]] = {
    "left": lambda height, width: (slice(None), slice(0, width // 2)),
    "right": lambda height, width: (slice(None), slice(width // 2, None)),
    "top": lambda height, width: (slice(0, height // 2), slice(None)),
    "bottom": lambda height, width: (slice(height // 2, None), slice(None)),
    "box": lambda height, width: (
        slice(height // 4, height - height // 4),
        slice(width // 4, width - width // 4),
    ),
}


class Measure(Energy):
    """Creates the energy of a measurement.

    Arguments:
        operator: The operator A, any differentiable function of images (B, 3, H, W); or the name of one, see `load`.
            A physics of deepinv, which adds noise when it is called, goes by `measured`.
        y: The measurement, of the operator's output shape with batch 1, or one per chain.
        sigma: The standard deviation of its noise.
        perceptual: Whether the squared distance is LPIPS, for outputs that are pictures in [0, 1].

    Raises:
        SpecError: If sigma is not positive and finite, or the operator is a physics of deepinv; and when called, if
            A(x) and y have different shapes.
        UnknownName: If there is no operator of that name.
        MissingExtra: If `perceptual` is asked for and the package lpips is not installed.
    """

    y: Tensor

    def __init__(
        self,
        operator: str | Callable[[Tensor], Tensor],
        y: Float[Tensor, "N *shape"],
        sigma: float = 0.1,
        *,
        perceptual: bool = False,
    ) -> None:
        super().__init__()
        if not 0 < sigma < float("inf"):
            raise SpecError(f"sigma is {sigma}; the noise of a measurement is positive and finite")
        if hasattr(operator, "noise_model"):
            raise SpecError(
                "a physics of deepinv adds noise when it is called, another one each time; give lz.measured(physics, y)"
            )
        self.operator = load(operator) if isinstance(operator, str) else operator
        self.sigma = sigma
        self.register_buffer("y", y.detach(), persistent=False)
        self.lpips = lpips("a perceptual measurement") if perceptual else None

    @property
    def chains(self) -> int | None:
        return len(self.y) if len(self.y) > 1 else None

    def select(self, index: Int64[Tensor, "b"]) -> Energy:
        if self.chains is None:
            return self
        chosen = copy(self)  # the same operator, other measurements
        chosen._buffers = {**self._buffers, "y": self.y[index.to(self.y.device)]}
        return chosen

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        measured, y = self.operator(image), self.y.to(image)
        if measured.shape[1:] != y.shape[1:] or len(y) not in (1, len(measured)):
            raise SpecError(
                f"the operator makes {tuple(measured.shape)} of the pictures, the measurement is {tuple(y.shape)}; "
                "give a measurement of that shape"
            )
        return self.distance(measured, y) / (2 * self.sigma**2)

    def distance(self, measured: Tensor, y: Tensor) -> Float[Tensor, "B"]:
        """The squared distance of what is measured to the measurement."""
        if self.lpips is None:
            return (measured - y).square().flatten(1).sum(1)
        pair = (part.expand(len(measured), 3, -1, -1) for part in (measured, y))
        return self.lpips(*pair, normalize=True).flatten()


class Mask(nn.Module):
    """Creates the operator of inpainting, which blackens what is not known.

    Arguments:
        hidden: The half that is not known, `left`, `right`, `top` or `bottom`; `box`, the middle half of both sides;
            the path of a picture that is white where it is known; or what is known itself, 1 and 0, (1, 1, H, W).

    Raises:
        UnknownName: If it is something else.
        SpecError: When called, if the mask has another size than the pictures.
    """

    known: Tensor | None

    def __init__(self, hidden: str | Float[Tensor, "1 1 H W"] = "box") -> None:
        super().__init__()
        if isinstance(hidden, str) and hidden not in HIDDEN:
            if not Path(hidden).is_file():
                raise UnknownName("mask", hidden, HIDDEN)
            hidden = picture.read_mask(hidden)
        self.hidden = hidden if isinstance(hidden, str) else ""
        known = None if isinstance(hidden, str) else hidden
        self.register_buffer("known", known, persistent=False)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        if self.known is not None:
            if self.known.shape[2:] != image.shape[2:]:
                sides = "x".join(map(str, self.known.shape[2:]))
                raise SpecError(
                    f"the mask has {sides} pixels, the pictures {image.shape[2]}x{image.shape[3]}; give one that fits"
                )
            return image * self.known.to(image)
        known = image.new_ones(image.shape[2:])
        known[HIDDEN[self.hidden](*known.shape)] = 0
        return image * known


class Downsample(nn.Module):
    """Creates the operator of super-resolution: the means of k x k pixels.

    Arguments:
        factor: The factor k.

    Raises:
        SpecError: If it is not a positive whole number; and when called, if it does not divide the picture's sides.
    """

    def __init__(self, factor: str | int = 4) -> None:
        super().__init__()
        self.factor = _number(int, factor, "the factor of downsample")

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 h w"]:
        if image.shape[2] % self.factor or image.shape[3] % self.factor:
            raise SpecError(
                f"{self.factor} does not divide the sides of {image.shape[2]}x{image.shape[3]} pixels; "
                "give a factor that does"
            )
        return F.avg_pool2d(image, self.factor)


class Blur(nn.Module):
    """Creates the operator of deblurring: a Gaussian of given width, cut at three widths; the edges reflect.

    Arguments:
        width: The Gaussian's standard deviation in pixels.

    Raises:
        SpecError: If it is not a positive number; and when called, if the picture is smaller than the Gaussian.
    """

    def __init__(self, width: str | float = 2.0) -> None:
        super().__init__()
        self.width = _number(float, width, "the width of blur")
        self.radius = math.ceil(3 * self.width)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        if min(image.shape[2:]) <= self.radius:
            raise SpecError(
                f"a blur that reaches {self.radius} pixels does not fit a picture of "
                f"{image.shape[2]}x{image.shape[3]}; give a smaller width"
            )
        at = torch.arange(-self.radius, self.radius + 1, device=image.device, dtype=image.dtype)
        weight = (-(at**2) / (2 * self.width**2)).softmax(0).expand(3, 1, -1)
        padded = F.pad(image, [self.radius] * 4, mode="reflect")
        rows = F.conv2d(padded, weight[:, :, None], groups=3)
        return F.conv2d(rows, weight[:, :, :, None], groups=3)


class Grey(nn.Module):
    """Creates the operator of colourisation: the luma of ITU-R BT.601."""

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 H W"]:
        return (image * image.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)


OPERATORS: dict[str, Callable[..., nn.Module]] = {
    "mask": Mask,
    "downsample": Downsample,
    "blur": Blur,
    "grey": Grey,
    "identity": nn.Identity,
}


def load(words: str) -> nn.Module:
    """Creates an operator from words, `NAME` or `NAME:ARGUMENT`.

    mask:box, mask:left, mask:FILE   inpainting   downsample:4   super-resolution
    blur:2                     deblurring     grey           colourisation

    Raises:
        UnknownName: If there is no such operator.
        SpecError: If its argument cannot be meant.
    """
    name, _, argument = words.partition(":")
    if name not in OPERATORS:
        raise UnknownName("operator", name, OPERATORS)
    if argument and name in ("grey", "identity"):
        raise SpecError(f"the operator '{words}' has an argument; {name} takes none")
    return OPERATORS[name](*([argument] if argument else []))


def _number(kind: type[int] | type[float], words: str | float, what: str) -> Any:
    try:
        number = kind(words)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise SpecError(f"{what} is '{words}'; give a positive {'whole ' * (kind is int)}number")
    return number


def build(
    target: str,
    *,
    model: str | None = None,
    operator: str | None = None,
    sigma: Positive = 0.1,
    clean: bool = False,
    size: Sequence[int] | None = None,
    perceptual: bool = False,
) -> Measure:
    """Reads a measurement.

    Arguments:
        target: The path of the picture y. What a mask hides of it, or the colours that grey takes away, do not matter.
        model: None; a measurement has no network.
        operator: The operator, see `load`; None hides what is transparent in the picture, or where nothing is, its
            middle (`mask:box`).
        sigma: The standard deviation of the noise.
        clean: Whether the picture is what is looked for, and the operator makes the measurement from it.
        size: Height and width to resize the picture to; None keeps its own.
        perceptual: Whether the squared distance is LPIPS.

    Raises:
        SpecError: If a network is named, or an operator for a picture with transparent pixels, which were not measured.
        ImageError: If the picture cannot be read.
    """
    if model is not None:
        raise SpecError(f"a measurement has no network, but '{model}' is given; leave it out")
    sides = None if size is None else (size[0], size[1])
    y, opaque = picture.read(target, sides), picture.read_mask(target, sides, alpha=True)
    if opaque.all():
        function = load(operator or "mask:box")
    elif operator is None:
        function = Mask(opaque)
    else:
        raise SpecError(
            f"{target} has transparent pixels, which are a mask of its own; leave out the operator, or the alpha"
        )
    if clean or isinstance(function, Mask | Grey):  # these two change nothing a second time
        y = function(y)
    return Measure(function, y, sigma, perceptual=perceptual)
