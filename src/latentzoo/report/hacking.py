r"""Whether a reward was hacked: how much of its gain another network, which did not guide, sees too.

.. math:: h = \frac{\overline{\Delta E'} / s'}{\overline{\Delta E} / s}, \qquad \Delta E = E(x_{start}) - E(x_{end})

with the spreads `s` of the starts, so that networks with units of their own can be compared. Where pictures became
better for both alike h is near 1; where only the optimised reward rose it is near 0.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.diagnosis.metrics import Estimate

DRAWS = 1000


def share(
    optimised: tuple[Float[Tensor, "N"], Float[Tensor, "N"]],
    held_out: tuple[Float[Tensor, "N"], Float[Tensor, "N"]],
) -> Estimate:
    """The held-out gain over the optimised one, with the 95 % interval of the bootstrap over chains.

    Arguments:
        optimised: The energies that guided, at the starts and at the ends.
        held_out: Those of the network that did not.
    """
    pairs = [torch.stack(pair).double().cpu() for pair in (optimised, held_out)]
    stream = torch.Generator().manual_seed(0)
    rows = torch.randint(pairs[0].shape[1], (DRAWS, pairs[0].shape[1]), generator=stream)
    spread = [float(start.std()) for start, _ in pairs]
    gain = [start - end for start, end in pairs]
    ratio = lambda own, other: other / spread[1] / (own / spread[0])
    drawn = ratio(gain[0][rows].mean(1), gain[1][rows].mean(1))
    low, high = (float(q) for q in drawn.quantile(torch.tensor([0.025, 0.975]).double()))
    return Estimate(float(ratio(gain[0].mean(), gain[1].mean())), low, high)
