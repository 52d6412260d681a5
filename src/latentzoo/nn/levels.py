"""The levels of a network, each of half the sides of the one before.

Users: guided diffusion, consistency models, EDM, latent diffusion, DDGAN, DiffAE, SN-DPM, the networks of diffusers.
"""

from collections.abc import Collection

from latentzoo.errors import SpecError

ATTENTION = (16,)
"""The sides of the maps at which published networks attend."""


def attending(
    resolution: int, sides: Collection[int] | None, levels: Collection[int] | None
) -> list[int]:
    """The levels at which a network attends, 0 that of the picture.

    Arguments:
        resolution: The side of the picture.
        sides: The sides of their maps, as authors say it; None for those of `levels`, or `ATTENTION`.
        levels: The levels themselves, as tensors tell them; None for what the sides say.

    Raises:
        SpecError: If both are given and are not the same, or the picture has no such level.
    """
    asked = ATTENTION if sides is None else sides
    halves = [resolution >> i for i in range(resolution.bit_length())]
    if none := sorted({*(sides or ())} - {*halves}):
        raise SpecError(
            f"attention at the sides {none} is at no level of {resolution} pixels, whose sides are {halves}; give these"
        )
    if none := sorted({*(levels or ())} - {*range(len(halves))}):
        raise SpecError(
            f"attention at the levels {none} is at none of {resolution} pixels, whose levels are 0 to "
            f"{len(halves) - 1}; give these, or another resolution"
        )
    found = [i for i, side in enumerate(halves) if side in asked]
    if levels is None:
        return found
    if sides is not None and found != sorted(levels):
        own = [resolution >> level for level in sorted(levels)]
        raise SpecError(
            f"attention at the sides {sorted(sides)} does not fit {resolution} pixels and the levels {sorted(levels)} "
            f"that attend, whose sides are {own}; give these sides, another resolution, or leave one of both out"
        )
    return sorted(levels)


def require(sides: tuple[int, int], levels: int) -> tuple[int, int]:
    """Checks that a network can halve its maps from each level to the next, and gives their sides.

    Arguments:
        sides: The height and the width of its maps.
        levels: How many levels it has.

    Raises:
        SpecError: If a side is no multiple of two to the power of the number of halvings.
    """
    part = 2 ** (levels - 1)
    if any(side % part or side < part for side in sides):
        near = " x ".join(str(max(round(side / part), 1) * part) for side in sides)
        raise SpecError(
            f"maps of {sides[0]} x {sides[1]} do not halve {levels - 1} times, as the network's {levels} levels do; "
            f"give sides that are multiples of {part}, as {near}"
        )
    return sides
