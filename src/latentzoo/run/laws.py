r"""The laws of a map and of an energy, each measured by one function that answers in words.

.. math::
    G(z) = G(z), \qquad G(z_{1:B})_b = G(z_b), \qquad G(z) \in [0, 1]^{3 \times H \times W}

and the first two for every energy, on the same images. Nothing is kept between two calls. The first two are one
measurement: a row that has the same value alone as in a batch has it again.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.energies.base import Energy
from latentzoo.errors import EnergyError, SpecError
from latentzoo.generator import Generator

SHARE = 1e-3
"""How much a row alone may differ from the same row in a batch, as a part of what differs anyhow."""
OVERSHOOT = 0.25
"""How far a hundredth of the numbers of an image may lie outside of [0, 1]."""


def require_eval(what: str, network: nn.Module, kind: type[SpecError] | type[EnergyError]) -> None:
    """Refuses a network that would mix the chains by the statistics of a batch.

    Raises:
        kind: If a normalisation by batch statistics is in train mode.
    """
    for name, layer in network.named_modules():
        if layer.training and isinstance(layer, nn.modules.batchnorm._NormBase):
            if isinstance(layer, nn.modules.instancenorm._InstanceNorm) and (
                not layer.track_running_stats
            ):
                continue
            raise kind(
                f"the {what} is in train mode: its {type(layer).__name__} '{name}' mixes the chains of a batch "
                "and learns from them; call .eval() on it"
            )


def require_images(generator: Generator, image: object, count: int) -> Tensor:
    """Gives back what a generator returned, if that is images of the size it says.

    Raises:
        SpecError: If it is something else.
    """
    wanted = (count, 3, *generator.size)
    if not isinstance(image, Tensor):
        raise SpecError(
            f"the generator returned a {type(image).__name__}; return the images alone, a tensor of shape {wanted}"
        )
    if tuple(image.shape) != wanted:
        raise SpecError(
            f"the generator returned shape {tuple(image.shape)} for {count} latents, and its size is "
            f"{tuple(generator.size)}; {_reshaped(image, wanted)}"
        )
    if not image.is_floating_point():
        raise SpecError(
            f"the generator returned {str(image.dtype).removeprefix('torch.')}, through which no gradient passes; "
            "return floats in [0, 1]"
        )
    return image


def _reshaped(image: Tensor, wanted: tuple[int, ...]) -> str:
    """How images of another shape become what is wanted."""
    count, _, *size = wanted
    if tuple(image.shape) == (count, *size, 3):
        return "put the channels first: image.permute(0, 3, 1, 2)"
    if tuple(image.shape) in {(count, 1, *size), (count, *size)}:
        return "make three channels of the grey one: image.expand(-1, 3, -1, -1)"
    if tuple(image.shape[:2]) == (count, 3) and image.ndim == 4:
        return f"set self.size = {tuple(image.shape[2:])}"
    return f"return {wanted}"


def require_numbers(what: str, energy: Energy, image: Tensor) -> Tensor:
    """Rates images by an energy.

    Raises:
        EnergyError: If it does not return one number per image.
    """
    value = energy(image)
    given = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    if not isinstance(value, Tensor) or value.shape != image.shape[:1]:
        raise EnergyError(
            f"the {what} returned {given} for {len(image)} images; return one number per image, ({len(image)},)"
        )
    return value.to(image.dtype)


def out_of_range(image: Float[Tensor, "B 3 H W"]) -> Iterator[str]:
    """Says in words where images lie if that is not [0, 1], but for an overshoot of single pixels."""
    low, high = span(image)
    if not -OVERSHOOT <= low <= high <= 1 + OVERSHOOT:
        found = (
            f"the generator's images run from {low:.3g} to {high:.3g}, and energies expect [0, 1]"
        )
        yield f"{found}; {_scaled(low, high)}"


def _scaled(low: float, high: float) -> str:
    if low >= -1 - OVERSHOOT and high <= 1 + OVERSHOOT:
        return "that looks like [-1, 1]: return (image + 1) / 2"
    if low >= -OVERSHOOT and high > 64:
        return "that looks like bytes, 0 to 255: return image / 255"
    return "scale them"


def span(image: Tensor) -> tuple[float, float]:
    """From where to where images run, a hundredth of their numbers left out at either end."""
    numbers = image.detach().flatten().float()
    out = numbers.numel() // 100
    low = numbers.kthvalue(out + 1).values
    high = numbers.kthvalue(numbers.numel() - out).values
    return float(low), float(high)


def unsteady(
    what: str,
    function: Callable[[slice], Tensor],
    whole: Tensor,
    eps: float = torch.finfo(torch.float32).eps,
    training: bool = False,
) -> Iterator[str]:
    """Says whether a function of rows is random, or gives a row alone another value than in a batch.

    Arguments:
        what: How it is called.
        function: Computes the values of some of the rows.
        whole: The values of all rows at once.
        eps: The relative rounding of what it computes in.
        training: Whether it is in train mode, which is then the likely reason.
    """
    allowed = max(SHARE, 32 * eps) * float(whole.float().std(correction=0))
    allowed += 32 * eps * float(whole.abs().max())
    for row in sorted({0, len(whole) - 1}):
        alone = function(slice(row, row + 1))
        if not apart(alone[0], whole[row]) > allowed:
            continue
        again = function(slice(row, row + 1))
        cure = "call .eval() on it" if training else None
        if apart(again, alone) > 0:
            yield _random(what, alone, again, cure)
        else:
            yield (
                f"the {what} gives a row alone another value than in a batch (they differ by "
                f"{apart(alone[0], whole[row]):.3g}), so chains depend on each other; "
                + (cure or "compute each row from that row alone")
            )
        return


def _random(what: str, first: Tensor, second: Tensor, cure: str | None) -> str:
    differ = (
        f"{float(first):.6g} and {float(second):.6g}"
        if first.numel() == 1
        else f"images up to {apart(first, second):.3g} apart"
    )
    return (
        f"the {what} is random: {differ} for the same latent, so accept/reject steps are biased and replays differ; "
        + (cure or "fix its draws once per run")
    )


def apart(a: Tensor, b: Tensor) -> float:
    """The largest distance of two tensors' numbers; those that are both not finite count as the same."""
    same = (a == b) | ~(a.isfinite() | b.isfinite())
    return float((a - b).abs().masked_fill(same, 0).max())


def precision(network: nn.Module) -> float:
    """The relative rounding of a network's number type; convolutions on CUDA round to TF32."""
    first = next((w for w in network.parameters() if w.is_floating_point()), torch.empty(0))
    eps = torch.finfo(first.dtype).eps
    return max(eps, 2**-11) if first.device.type == "cuda" else eps


def kept(network: nn.Module) -> dict[str, Tensor]:
    """A copy of all that a network keeps besides its parameters: running statistics, counters, fixed noise."""
    return {name: buffer.detach().clone() for name, buffer in network.named_buffers()}


def moved(what: str, network: nn.Module, before: dict[str, Tensor]) -> Iterator[str]:
    """Says whether a network keeps something else than before."""
    for name, buffer in network.named_buffers():
        if name in before and not torch.equal(buffer.nan_to_num(), before[name].nan_to_num()):
            cure = "call .eval() on it" if network.training else "keep nothing between calls"
            yield f"the {what} changes its '{name}' whenever it is evaluated, so it is no fixed function; {cure}"
            return
