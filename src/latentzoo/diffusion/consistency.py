r"""The chain of a consistency model: few pictures, each of noise on the last one.

.. math:: x = \sigma_{max} z, \qquad x_0 = f(x; \sigma_i), \qquad
    x \leftarrow x_0 + \sqrt{\sigma_j^2 - \sigma_{min}^2} \, \varepsilon_j

along some of the N noises that the network was trained on, which are told by their index, from 0, the highest.

Users: `zoo.consistency`, `zoo.consistency_diffusers`.

References:
    | Consistency Models (Song et al., 2023), https://arxiv.org/abs/2303.01469
"""

from collections.abc import Sequence

from latentzoo.errors import SpecError


def indices(steps: int, timesteps: Sequence[int] | None, N: int) -> list[int]:
    """Which of N noises a chain visits, from the highest.

    Arguments:
        steps: How many, evenly spaced by a whole number.
        timesteps: The indices themselves, in any order; they count before `steps`.
        N: The number of noises of the training.

    Raises:
        SpecError: If there are not so many, or the indices do not begin with the highest noise.
    """
    if timesteps is None:
        if not 0 < steps <= N:
            raise SpecError(f"{steps} steps do not fit {N} noises; give a number from 1 to {N}")
        return [i * (N // steps) for i in range(steps)]
    taken = sorted(set(timesteps))
    if len(taken) != len(timesteps) or taken[:1] != [0] or taken[-1] >= N:
        raise SpecError(
            f"timesteps={list(timesteps)} are no indices of a chain; give different ones from 0, the highest noise, "
            f"which a chain begins with, to {N - 1}"
        )
    return taken
