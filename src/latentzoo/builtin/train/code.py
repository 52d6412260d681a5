r"""What the latents of a generator mean that is told so: the attributes of avatars as regions of a Gaussian.

.. math:: a_k(z) = \arg\max_v (z_{kv} + b_{kv}), \qquad P(a_k = v) = p_k(v)

Every value has a style of its own, :math:`e_{kv}`, orthogonal to all others, and a face the sum of those that can be
seen of it, :math:`w = \sum_k e_{k v_k}`, with :math:`E\, w_i^2 = 1`.
"""

import itertools
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from latentzoo.builtin import avatars
from latentzoo.builtin.avatars import FREQUENCIES, GROUPS, NAMES, VALUES, drawn

TRIED = 256
"""How many latents are tried for one that means what it should."""


class Code:
    """Creates the code; the coordinates that are left mean nothing.

    Arguments:
        dim: The size of the latents and of the styles.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        stream = torch.Generator().manual_seed(0)
        tables = [torch.tensor(list(FREQUENCIES[name].values())) for name in NAMES]
        self.sizes = [len(table) for table in tables]
        self.bias = [_bias(table, stream) for table in tables]
        sizes = torch.tensor([len(VALUES[name]) for name in NAMES])
        self.first = sizes.cumsum(0) - sizes
        frame, _ = torch.linalg.qr(torch.randn(dim, int(sizes.sum()), generator=stream))
        self.words = frame.T * (dim / len(NAMES)) ** 0.5

    def drawn(self, seed: int, index: int) -> list[int]:
        """The index of each attribute's draw, before some are hidden."""
        values = drawn(seed, index)
        return [list(FREQUENCIES[name]).index(values[name]) for name in NAMES]

    def style(self, visible: Int[Tensor, "B 13"]) -> Float[Tensor, "B W"]:
        """The style of visible attributes."""
        return self.words[visible + self.first].sum(1)

    def styles(self, z: Float[Tensor, "B Z"]) -> Float[Tensor, "B W"]:
        """The style of what latents mean."""
        parts = zip(z[:, : sum(self.sizes)].split(self.sizes, 1), self.bias, strict=True)
        return self.style(visible(torch.stack([(part + b).argmax(1) for part, b in parts], 1)))

    def latents(
        self, values: Int[Tensor, "B 13"], stream: torch.Generator
    ) -> Float[Tensor, "B Z"]:
        """Normal numbers given the draws that they mean: the first that fit, of many."""
        parts = []
        for value, bias in zip(values.unbind(1), self.bias, strict=True):
            z = torch.randn(len(value), TRIED, len(bias), generator=stream)
            fits = (z + bias).argmax(2) == value[:, None]
            parts.append(z[torch.arange(len(z)), fits.byte().argmax(1)])
        free = torch.randn(len(values), self.dim - sum(self.sizes), generator=stream)
        return torch.cat([*parts, free], 1)


def visible(drawn: Int[Tensor, "B 13"]) -> Int[Tensor, "B 13"]:
    """What can be seen of draws: `avatars.visible` for a batch of indices."""
    seen = drawn.clone()
    for group in GROUPS:
        places = [NAMES.index(name) for name in group]
        seen[:, places] = _seen(group)[tuple(drawn[:, places].unbind(1))]
    return seen


@cache
def _seen(group: tuple[str, ...]) -> Int[Tensor, "..."]:
    """What can be seen of each combination of draws of a group, (V_1, V_2, ..., the size of the group)."""
    tables = [list(FREQUENCIES[name]) for name in group]
    rows = []
    for values in itertools.product(*tables):
        shown = avatars.visible(dict(zip(group, values, strict=True)))
        rows.append([VALUES[name].index(shown[name]) for name in group])
    return torch.tensor(rows).view(*map(len, tables), len(group))


def _bias(p: Tensor, stream: torch.Generator, draws: int = 200_000) -> Tensor:
    """The biases with which each value is the largest as often as it should be."""
    z, bias = torch.randn(draws, len(p), generator=stream), torch.zeros(len(p))
    for _ in range(60):
        seen = torch.bincount((z + bias).argmax(1), minlength=len(p)) / draws
        bias += 0.5 * (p.log() - seen.clamp(min=1 / draws).log())
    return bias - bias.mean()
