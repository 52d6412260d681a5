r"""Guided diffusion (ADM) in pixels, and the improved DDPM before it: OpenAI's files.

.. math:: \hat{x}_0 = (x_t - \sigma_t \, \varepsilon(x_t, t, c)) / \alpha_t, \qquad
    x_s = \mu(x_t, \hat{x}_0) + \tilde\sigma \, \varepsilon_s, \qquad
    \log \tilde\sigma^2 = v \log \sigma_{t|s}^2 + (1 - v) \log
    \frac{\sigma_s^2 \sigma_{t|s}^2}{\sigma_t^2}

where the network gives the noise and, if it has twice the channels, the mixture :math:`2 v - 1` of
the two variances of DDPM. The predicted picture is clipped, and the noise of DDIM follows from it.
The latent is the block `start`, :math:`x_T`; of stochastic chains also `noise`, the
:math:`\varepsilon_s` in the order of the steps.

References:
    | Diffusion Models Beat GANs on Image Synthesis (Dhariwal and Nichol, 2021)
    | https://arxiv.org/abs/2105.05233
    | Improved Denoising Diffusion Probabilistic Models (Nichol and Dhariwal, 2021)
    | https://arxiv.org/abs/2102.09672
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import accumulate, pairwise, repeat
from typing import Any

import torch
from torch import Tensor

from latentzoo.diffusion.memory import Recompute
from latentzoo.diffusion.parametrisation import Estimate, from_eps, from_x0
from latentzoo.diffusion.process import ReverseProcess
from latentzoo.diffusion.reverse import Gaussian, posterior, posterior_std
from latentzoo.diffusion.sampler import DDIM, DDPM, Learned, Pairs, Sampler, require
from latentzoo.diffusion.schedule import Discrete, Level, cosine_betas, linear_betas, strided
from latentzoo.errors import SpecError, UnknownName
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.nn import adm, openai
from latentzoo.nn import channels as pictures
from latentzoo.nn.classes import require as require_class
from latentzoo.nn.levels import require as require_levels
from latentzoo.options import Count, Natural, Positive, Share

BETAS: Mapping[str, Callable[[int], list[float]]] = {
    "linear": lambda n: linear_betas(0.1 / n, 20 / n, n=n),
    "cosine": lambda n: cosine_betas(n=n),
}


class GuidedDiffusion(ReverseProcess):
    """Creates a guided diffusion generator.

    Arguments:
        unet: The network, from (B, C, H, W) and times (B,) to the noise, and a variance or none.
        channels: The number C of the pictures' channels: 3, or 1 where they are grey.
        learned: Whether the network also predicts the variance of a step.
        size: The picture's height and width.
        pairs: The steps: from which level, to which.
        sampler: "ddim", or "ddpm" (ancestral).
        classes: The number of classes; 0 if there are none.
        class_index: The class.
        eta: How much of each DDIM step is fresh noise, in [0, 1].
        clip: Whether predicted pictures are clipped to [-1, 1].
        chain: The arguments of `ReverseProcess`.

    Raises:
        SpecError: If an option is out of range, or the network has no such class.
    """

    label: Tensor | None

    def __init__(
        self,
        unet: adm.UNet,
        *,
        channels: int,
        learned: bool,
        size: tuple[int, int],
        pairs: Pairs,
        sampler: str = "ddim",
        classes: int = 0,
        class_index: int = 0,
        eta: float = 0.0,
        clip: bool = True,
        **chain: Any,
    ) -> None:
        require(sampler, eta, known=("ddim", "ddpm"))
        require_class(class_index, classes)
        ancestral: Sampler = Learned(self.step) if learned else DDPM(large=True)
        super().__init__(
            shape=(pictures.require(channels), *size),
            size=size,
            pairs=pairs,
            sampler=DDIM(eta) if sampler == "ddim" else ancestral,
            **chain,
        )
        self.unet, self.channels, self.clip = unet, channels, clip
        label = torch.tensor([class_index]) if classes else None
        self.register_buffer("label", label, persistent=False)

    def output(self, x_t: Tensor, t: Level) -> Tensor:
        """What the network says of pictures (B, C, H, W): (B, C or 2 C, H, W)."""
        label = None if self.label is None else self.label.expand(len(x_t))
        return self.unet(x_t, x_t.new_full((len(x_t),), t.time), label=label)

    def estimate(self, x_t: Tensor, t: Level) -> Estimate:
        return self.read(self.output(x_t, t), x_t, t)

    def read(self, output: Tensor, x_t: Tensor, t: Level) -> Estimate:
        """The estimate of an output."""
        q = from_eps(output[:, : self.channels], x_t, t)
        return from_x0(q.x_0.clamp(-1, 1), x_t, t) if self.clip else q

    def step(self, x_t: Tensor, t: Level, s: Level) -> Gaussian:
        """The distribution of `x_s` where the network predicts its variance."""
        output = self.output(x_t, t)
        p = posterior(x_t, self.read(output, x_t, t).x_0, t, s)
        if s.sigma == 0:
            return p
        large = math.log(t.sigma**2 - (t.alpha / s.alpha * s.sigma) ** 2)
        small = 2 * math.log(posterior_std(t, s))
        v = (output[:, self.channels :] + 1) / 2
        return p._replace(std=((v * large + (1 - v) * small) / 2).exp())

    def show(self, x_0: Tensor) -> Tensor:
        return pictures.coloured((x_0 + 1) / 2)

    def see(self, image: Tensor) -> Tensor:
        return 2 * pictures.seen(image, self.channels) - 1


def timesteps(sampler: str, steps: int, N: int) -> list[int]:
    """The times of a chain, rising: strides of one length for DDIM, else from 0 to N - 1 evenly.

    Raises:
        SpecError: If there are not so many times, or no stride gives so many.
    """
    if sampler == "ddim":
        return strided(steps, N)
    if not 0 < steps <= N:
        raise SpecError(f"{steps} steps do not fit {N} times; give a number from 1 to {N}")
    stride = (N - 1) / max(steps - 1, 1)
    return [round(at) for at in accumulate(repeat(stride, steps - 1), initial=0.0)]


def build(
    *,
    width: Count,
    mult: Sequence[Positive],
    depth: Count,
    attention: Collection[Count],
    channels: Count = 3,
    learned: bool = True,
    classes: Natural = 0,
    modulate: bool = True,
    resample: bool = True,
    heads: Count | None = None,
    head_width: Count | None = None,
    parts_first: bool = False,
    resolution: Count | None = None,
    betas: str = "linear",
    times: Count = 1000,
    sampler: str = "ddim",
    steps: Count = 50,
    eta: Share = 0.0,
    class_index: Natural = 0,
    clip: bool = True,
    white_box_steps: Natural | None = None,
    seed: Natural = 0,
    recompute: Recompute = "auto",
) -> GuidedDiffusion:
    """Creates a guided diffusion generator.

    Arguments:
        width: The number of channels that `mult` multiplies.
        mult: The multiple at each level.
        depth: The number of residual blocks per level.
        attention: The factors of downsampling at which attention follows each residual block.
        channels: The number of the pictures' channels: 3, or 1 where they are grey.
        learned: Whether the network also predicts the variance of a step.
        classes: The number of classes; 0 if there are none.
        modulate: Whether the time scales and shifts, or is added.
        resample: Whether residual blocks halve and double the sides, or convolutions.
        heads: The number of heads; it counts before
        head_width: the number of channels of each.
        parts_first: Whether the channels of attention are divided into query, key and value before heads (the
            authors' `use_new_attention_order`).
        resolution: The picture's side in pixels; None for the one that the authors give such levels.
        betas: The noise of the times: "linear" or "cosine".
        times: The number of times that the network knows.
        sampler: "ddim", or "ddpm" (ancestral).
        steps: The number of steps; for ddim one that a whole stride gives.
        eta: How much of each DDIM step is fresh noise, in [0, 1].
        class_index: The class.
        clip: Whether predicted pictures are clipped, which stops gradients where it acts.
        white_box_steps: How many noises are latent, the first ones; None for all.
        seed: The seed of the others.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        SpecError: If an option is out of range, or is missing and the file does not tell.
        UnknownName: If there are no such betas.
    """
    if betas not in BETAS:
        raise UnknownName("betas", betas, BETAS)
    side = openai.side(resolution, mult)
    schedule = Discrete.from_betas(BETAS[betas](times))
    unet = openai.denoiser(
        channels,
        channels * (2 if learned else 1),
        width=width,
        mult=mult,
        depth=depth,
        attention=attention,
        heads=heads,
        head_width=head_width,
        parts_first=parts_first,
        modulate=modulate,
        resample=resample,
        classes=classes,
    )
    taken = [*reversed(timesteps(sampler, steps, times)), -1]
    return GuidedDiffusion(
        unet,
        channels=channels,
        learned=learned,
        size=require_levels((side, side), len(mult)),
        pairs=list(pairwise(schedule.levels(taken))),
        sampler=sampler,
        classes=classes,
        class_index=class_index,
        eta=eta,
        clip=clip,
        white_box_steps=white_box_steps,
        seed=seed,
        recompute=recompute,
    )


KEYS: dict[str, Callable[[GuidedDiffusion], list[Rule]]] = {
    "official": lambda _: [Rule("{x*}", "unet.{x}")],
}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the network from the tensors; how its heads are cut, and the noise of the times, is not among them.

    Raises:
        CheckpointError: If it enlarges pictures, and so draws none of its own.
    """
    net = checkpoint.tensors
    if not openai.is_denoiser(net, positions=1):
        return None
    told, side = openai.read(net)
    new = told["resample"] and side == 64  # the authors' own files differ by their sides
    cut = {"head_width": 64} if told["resample"] and side != 128 else {"heads": 4}
    config = {
        **told,
        "learned": openai.outputs(net) == 2 * told["channels"],
        **cut,
        "parts_first": new,
        "betas": "cosine" if new else "linear",
        "resolution": side or 64,
    }
    why = "as in OpenAI's files of this kind"
    assumed = {
        "heads or head_width": f"{'4 heads' if 'heads' in cut else 'heads of 64 channels'}, {why}",
        "parts_first": f"{str(new).lower()}, {why}",
        "betas": f"{config['betas']}, {why}",
        "times": f"1000, {why}",
        "resolution": openai.told_side(side),
    }
    return {"config": config, "keys": "official", "assumed": assumed}
