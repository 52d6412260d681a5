r"""Consistency models by OpenAI's files: one step from noise to a picture, or a few.

.. math:: x = \sigma_{max} z, \qquad x_0 = f(x; \sigma), \qquad
    f(x; \sigma) = c_{skip}(\sigma) \, x + c_{out}(\sigma) \, F(c_{in}(\sigma) \, x; 250 \log \sigma)

with :math:`f(x; \sigma_{min}) = x`. The latent is the block `start`, :math:`z`; of more steps than one
also `noise`, which is put on each picture but the last, see `diffusion.consistency`. The diffusion
models that these were distilled from lie in files of the same names: sampler "heun" reads them as EDM.

References:
    | Consistency Models (Song et al., 2023), https://arxiv.org/abs/2303.01469
    | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022)
    | https://arxiv.org/abs/2206.00364
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from latentzoo.diffusion.consistency import indices
from latentzoo.diffusion.memory import Recompute
from latentzoo.diffusion.precondition import EDM, Boundary, Preconditioning, spread
from latentzoo.diffusion.preconditioned import Preconditioned
from latentzoo.diffusion.sampler import DDIM, Consistency, Heun, Sampler, require
from latentzoo.errors import SpecError
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.nn import adm, openai
from latentzoo.nn.classes import require as require_class
from latentzoo.nn.levels import require as require_levels
from latentzoo.options import Count, Natural, Positive, Share

SAMPLERS = ("consistency", "heun", "ddim")
HERTZ = 1000.0


class ConsistencyModel(Preconditioned):
    """Creates a generator by OpenAI's network.

    Arguments:
        unet: The network, from (B, C, H, W) and what it is told of the noise (B,) to its answer.
        conditioning: How it is asked and read.
        classes: The number of classes; 0 if there are none.
        class_index: The class.
        chain: The arguments of `Preconditioned`.

    Raises:
        SpecError: If there is no such class.
    """

    label: Tensor | None

    def __init__(
        self,
        unet: adm.UNet,
        conditioning: Preconditioning,
        *,
        classes: int = 0,
        class_index: int = 0,
        **chain: Any,
    ) -> None:
        require_class(class_index, classes)
        super().__init__(conditioning, **chain)
        self.unet = unet
        label = torch.tensor([class_index]) if classes else None
        self.register_buffer("label", label, persistent=False)

    def predict(self, x: Tensor, time: Tensor) -> Tensor:
        label = None if self.label is None else self.label.expand(len(x))
        return self.unet(x, time, label=label)


def build(
    *,
    width: Count,
    mult: Sequence[Positive],
    depth: Count,
    attention: Collection[Count],
    channels: Count = 3,
    classes: Natural = 0,
    modulate: bool = True,
    resample: bool = True,
    heads: Count | None = None,
    head_width: Count | None = 64,
    resolution: Count | None = None,
    sampler: str = "consistency",
    steps: Count = 1,
    timesteps: Sequence[Natural] | None = None,
    noises: Count = 40,
    sigma_min: Positive = 0.002,
    sigma_max: Positive = 80.0,
    sigma_data: Positive = 0.5,
    rho: Positive = 7.0,
    eta: Share = 0.0,
    class_index: Natural = 0,
    clip: bool = True,
    white_box_steps: Natural | None = None,
    seed: Natural = 0,
    recompute: Recompute = "auto",
) -> ConsistencyModel:
    """Creates a consistency model, or the diffusion model that it was distilled from.

    Arguments:
        width: The number of channels that `mult` multiplies.
        mult: The multiple at each level.
        depth: The number of residual blocks per level.
        attention: The factors of downsampling at which attention follows each residual block.
        channels: The number of the pictures' channels: 3, or 1 where they are grey.
        classes: The number of classes; 0 if there are none.
        modulate: Whether the time scales and shifts, or is added.
        resample: Whether residual blocks halve and double the sides, or convolutions.
        heads: The number of heads; it counts before
        head_width: the number of channels of each.
        resolution: The picture's side in pixels; None for the one that the authors give such levels.
        sampler: "consistency", or of a diffusion model "heun" or "ddim" (Euler's rule, or ancestral for `eta` > 0).
        steps: The number of steps.
        timesteps: Which of the noises a consistency model visits, 0 among them, the highest; None for `steps` of them.
        noises: The number of noises that a consistency model was trained on.
        sigma_min: The lowest noise.
        sigma_max: The highest noise.
        sigma_data: The standard deviation of the data.
        rho: How dense the noises are at the low end.
        eta: How much of each DDIM step is fresh noise, in [0, 1].
        class_index: The class.
        clip: Whether predicted pictures are clipped, which stops gradients where it acts.
        white_box_steps: How many noises are latent, the first ones; None for all.
        seed: The seed of the others.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        SpecError: If an option is out of range, or is missing and the file does not tell.
        UnknownName: If there is no such sampler.
    """
    require(sampler, eta, known=SAMPLERS)
    side = openai.side(resolution, mult)
    how: Sampler
    if sampler == "consistency":
        conditioning: Preconditioning = Boundary(sigma_data, HERTZ, sigma_min)
        known = spread(sigma_min, sigma_max, noises, rho)
        pairs = conditioning.through(known[i] for i in indices(steps, timesteps, noises))
        how = Consistency(sigma_min)
    else:
        if timesteps is not None:
            raise SpecError(f"the sampler {sampler} takes steps; leave out timesteps")
        conditioning = EDM(sigma_data, HERTZ)
        pairs = conditioning.chain(sigma_min, sigma_max, steps, rho)
        how = DDIM(eta) if sampler == "ddim" else Heun()
    unet = openai.denoiser(
        channels,
        channels,
        width=width,
        mult=mult,
        depth=depth,
        attention=attention,
        heads=heads,
        head_width=head_width,
        parts_first=True,
        modulate=modulate,
        resample=resample,
        classes=classes,
    )
    return ConsistencyModel(
        unet,
        conditioning,
        classes=classes,
        class_index=class_index,
        channels=channels,
        size=require_levels((side, side), len(mult)),
        clip=clip,
        pairs=pairs,
        sampler=how,
        white_box_steps=white_box_steps,
        seed=seed,
        recompute=recompute,
    )


KEYS: dict[str, Callable[[ConsistencyModel], list[Rule]]] = {
    "official": lambda _: [
        Rule("{block*}.qkv.weight", "unet.{block}.qkv.weight", "o i 1 1 -> o i 1"),
        Rule("{block*}.proj_out.weight", "unet.{block}.proj_out.weight", "o i 1 1 -> o i 1"),
        Rule("{x*}", "unet.{x}"),
    ],
}
"""Attention maps by convolutions over the picture in these files, which tells them from guided diffusion's."""


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the network from the tensors; heads, side and what it was trained for are not among them."""
    net = checkpoint.tensors
    if not openai.is_denoiser(net, positions=2):
        return None
    told, side = openai.read(net)
    why = "as in OpenAI's files of this kind"
    assumed = {
        "heads or head_width": f"heads of 64 channels, {why}",
        "sampler": 'consistency; a diffusion model, "edm_..." in OpenAI\'s files, has the same tensors and takes heun',
        "noises": f"40, {why} by distillation; those trained alone have 201 or 151",
        "resolution": openai.told_side(side),
    }
    return {
        "config": {**told, "head_width": 64, "resolution": side or 64},
        "keys": "official",
        "assumed": assumed,
    }
