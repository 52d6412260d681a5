"""The levels of a network, each of half the sides of the one before.

Users: guided diffusion, consistency models, EDM, latent diffusion, DDGAN, DiffAE, SN-DPM, the networks of diffusers.
"""

from latentzoo.errors import SpecError


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
