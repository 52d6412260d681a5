r"""Galaxies: score networks of astronomers, mixers over patches, as the flow from noise to a galaxy's light.

The variance preserving path of constant rate, :math:`\alpha_t = e^{-t/2}`, is followed back from :math:`t = 10` by its
probability flow,

.. math:: \frac{dy}{dt} = -\tfrac12 (y + s(y, t)), \qquad y_{10} = z, \qquad x = e^{\sigma y} - 1

with the score s and :math:`\sigma = 0.1`. The networks know the logarithm y of the flux x; a picture is the flux,
linear as a telescope measures it, three times the same. Backgrounds scatter around zero.

The score of patches :math:`Y` (channels by patches) goes through blocks that mix along either side,

.. math:: Y \leftarrow Y + m_p(\mathrm{LN}(Y)), \qquad Y^\top \leftarrow Y^\top + m_c(\mathrm{LN}(Y^\top))

References:
    | Score-matching neural networks for improved multi-band source separation (Sampson et al., 2024)
    | https://arxiv.org/abs/2401.07313
    | MLP-Mixer: An all-MLP Architecture for Vision (Tolstikhin et al., 2021), https://arxiv.org/abs/2105.01601
    | Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2020)
    | https://arxiv.org/abs/2011.13456
"""

from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo import options
from latentzoo.diffusion.memory import Recompute
from latentzoo.diffusion.parametrisation import Estimate, from_score
from latentzoo.diffusion.sampler import Chain, Heun
from latentzoo.diffusion.schedule import VP, Level
from latentzoo.errors import SpecError
from latentzoo.generator import Generator
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.nn import channels as pictures
from latentzoo.options import Count, Positive
from latentzoo.space import Space

T = 10.0
SIGMA = 0.1
"""What the logarithm of the flux was divided by."""


class Galaxies(Generator):
    """Creates the map from noise to a galaxy; its latent is the block `start`, one channel.

    Arguments:
        network: The score.
        side: The picture's side in pixels.
        unit: The flux that is white, in the network's units.
        steps: The number of steps, even in log t.
        end: The time at which the flow stops; the scores blow up towards 0.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        SpecError: If there is no step, or the end is not before the start.
    """

    def __init__(
        self,
        network: "Mixer",
        side: int,
        *,
        unit: float = 1.0,
        steps: int = 40,
        end: float = 0.01,
        recompute: Recompute = "auto",
    ) -> None:
        super().__init__()
        if steps < 1:
            raise SpecError(f"{steps} steps do not make a chain; give 1 or more")
        if not 0 < end < T:
            raise SpecError(f"the end {end} is out of range; give a time between 0 and {T:g}")
        if not unit > 0:
            raise SpecError(f"the unit {unit} is out of range; give a positive flux")
        self.network, self.unit, self.recompute = network, unit, recompute
        times = [T * (end / T) ** (i / steps) for i in range(steps + 1)]
        self.pairs = list(pairwise(VP(1.0, 1.0).levels(times)))
        self.space, self.size = Space(start=(1, side, side)), (side, side)

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        return pictures.coloured((SIGMA * self.logarithm(z)).expm1() / self.unit)

    def logarithm(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 1 H W"]:
        """The end y of the flow, the logarithm of the flux in units of `SIGMA`."""
        chain = Chain(self.denoise, self.pairs, self.recompute)
        return Heun().run(chain, self.space.split(z)["start"], [])

    def denoise(self, y: Tensor, t: Level) -> Estimate:
        """What the network thinks is mixed in logarithms (B, 1, H, W) at a level."""
        return from_score(self.network(y, t.time), y, t)


class Mixer(nn.Module):
    """Creates the score network.

    Arguments:
        side: The picture's side in pixels.
        channels: The number of channels of a patch.
        patch: The patch's side in pixels.
        blocks: The number of blocks.
        width: The hidden width of the mixing networks.
    """

    def __init__(self, side: int, channels: int, patch: int, blocks: int, width: int) -> None:
        super().__init__()
        n = (side // patch) ** 2
        self.conv_in = nn.Conv2d(2, channels, patch, patch)
        self.weight_out = nn.Parameter(torch.randn(1, channels, patch, patch))
        self.bias_out = nn.Parameter(torch.zeros(1))
        self.blocks = nn.ModuleList(Block(n, channels, width) for _ in range(blocks))
        self.norm = nn.LayerNorm([channels, n])

    def forward(self, y: Float[Tensor, "B 1 H W"], t: float) -> Float[Tensor, "B 1 H W"]:
        h = self.conv_in(torch.cat([y, torch.full_like(y, t / T)], 1))
        Y = h.flatten(2)
        for block in self.blocks:
            Y = block(Y)
        # as JAX has transposed convolutions: a plain one of the spread picture
        kernel = self.weight_out.transpose(0, 1).flip(2, 3)
        return F.conv_transpose2d(
            self.norm(Y).view_as(h), kernel, self.bias_out, stride=kernel.shape[2]
        )


class Block(nn.Module):
    """Creates a block that mixes patches, then channels."""

    def __init__(self, patches: int, channels: int, width: int) -> None:
        super().__init__()
        mlp = lambda n: nn.Sequential(nn.Linear(n, width), nn.ReLU(), nn.Linear(width, n))
        self.patch_mixer, self.hidden_mixer = mlp(patches), mlp(channels)
        self.norm1, self.norm2 = (
            nn.LayerNorm([channels, patches]),
            nn.LayerNorm([patches, channels]),
        )

    def forward(self, Y: Float[Tensor, "B C N"]) -> Float[Tensor, "B C N"]:
        Y = Y + self.patch_mixer(self.norm1(Y))
        return (Y.mT + self.hidden_mixer(self.norm2(Y.mT))).mT


def build(
    side: Count,
    *,
    channels: Count = 64,
    patch: Count = 4,
    blocks: Count = 4,
    width: Count = 512,
    unit: Positive = 1.0,
    steps: Count = 40,
    end: float = 0.01,
    recompute: Recompute = "auto",
) -> Galaxies:
    """Creates a galaxy generator, see `Galaxies` and `Mixer`."""
    network = Mixer(side, channels, patch, blocks, width)
    return Galaxies(network, side, unit=unit, steps=steps, end=end, recompute=recompute)


def equinox(generator: Galaxies) -> list[Rule]:
    """The rules for the records' places: the order of the fields of the authors' modules, T last."""
    inner = (
        "patch_mixer.0",
        "patch_mixer.2",
        "hidden_mixer.0",
        "hidden_mixer.2",
        "norm1",
        "norm2",
    )
    layers = [f"blocks.{n}.{name}" for n in range(len(generator.network.blocks)) for name in inner]
    names = ["conv_in.weight", "conv_in.bias", "weight_out", "bias_out"]
    names += [f"{layer}.{kind}" for layer in [*layers, "norm"] for kind in ("weight", "bias")]
    patterns = {"conv_in.bias": "c 1 1 -> c", "bias_out": "c 1 1 -> c"}
    rules = [Rule(str(i), f"network.{name}", patterns.get(name)) for i, name in enumerate(names)]
    return [*rules, Rule(str(len(names)), None)]


KEYS = {"equinox": equinox}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Describes the records by their shapes."""
    if checkpoint.container != "equinox" or len(checkpoint.tensors) < 19:
        return None
    tensors = checkpoint.tensors
    channels, inputs, patch, _ = tensors["0"].shape
    blocks, rest = divmod(len(tensors) - 7, 12)
    width, patches = tensors["4"].shape
    if rest or inputs != 2 or tensors["2"].shape != (1, channels, patch, patch):
        return None
    side = patch * round(patches**0.5)
    config = {"side": side, "channels": channels, "patch": patch, "blocks": blocks, "width": width}
    assumed = options.defaults(build, "unit", why="as if its numbers were the picture's")
    return {"config": config, "keys": "equinox", "assumed": assumed}
