r"""The map of SN-DPM and NPR-DPM: a chain whose steps add the doubt about the picture to their variance.

.. math:: x_s = \mu(x_t) + \sqrt{\sigma^2 + c^2 \mathrm{Cov}[x_0]} \; \varepsilon_s, \qquad
    \mathrm{Cov}[x_0] = \frac{\sigma_t^2}{\alpha_t^2} \, v, \qquad
    c = \alpha_s - \sqrt{\sigma_s^2 - \sigma^2} \, \frac{\alpha_t}{\sigma_t}
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.diffusion.memory import Recompute
from latentzoo.diffusion.parametrisation import Estimate, from_eps
from latentzoo.diffusion.process import ReverseProcess
from latentzoo.diffusion.reverse import Gaussian, ddim, posterior
from latentzoo.diffusion.sampler import Learned, require_eta
from latentzoo.diffusion.schedule import Discrete, Level
from latentzoo.errors import SpecError, UnknownName
from latentzoo.nn import channels as pictures
from latentzoo.rng import Rng
from latentzoo.zoo.sn_dpm.unet import UNet

UNCERTAINTY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "eps2": lambda eps, head: head - eps**2,
    "epsc": lambda eps, head: head,
    "none": lambda eps, head: torch.zeros_like(eps),
}
"""The variance of the noise, from the noise and the second head; "none" is for networks that have no second head."""
PIXEL = {"ddpm": 2.0, "ddim": 1.0}
"""The forward processes, and how far the last noise may move a pixel: its expected distance in units of 1/255."""


class SNDPM(ReverseProcess):
    r"""Creates a generator with optimal reverse variances.

    Arguments:
        network: The network, from (B, C, H, W) and times (B,) to its heads (B, C or 2 C, H, W).
        schedule: The noise at the network's N times.
        head: What the second head predicts, a key of `UNCERTAINTY`.
        steps: The number of steps, from 2 to N.
        forward_type: "ddpm", or "ddim", whose mean has the predicted noise even where the picture was clipped.
        eta: How much of each step of DDIM is fresh noise, in [0, 1].
        clip_pixel: How far noise may move a pixel in the steps to the lowest levels, see `PIXEL`; 0 for any distance.
        clip_index: How many levels above the picture this concerns.
        white_box_steps: How many of the noises are part of the latent, the first ones; None for all. The others are
            fixed by the seed.
        seed: The seed of the fixed noises.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        SpecError, UnknownName: If an option is out of range or does not exist.
    """

    def __init__(
        self,
        network: UNet,
        schedule: Discrete,
        *,
        head: str = "eps2",
        steps: int = 50,
        forward_type: str = "ddpm",
        eta: float = 1.0,
        clip_pixel: float | None = None,
        clip_index: int = 1,
        white_box_steps: int | None = None,
        seed: int = 0,
        recompute: Recompute = "auto",
    ) -> None:
        N = len(schedule.alpha_bar)
        if not 2 <= steps <= N:
            raise SpecError(f"{steps} steps do not fit {N} times; give a number from 2 to {N}")
        if head not in UNCERTAINTY:
            raise UnknownName("second head", head, UNCERTAINTY)
        if (head == "none") != (network.heads == 1):
            raise SpecError(f"the head '{head}' does not fit a network with {network.heads}")
        if forward_type not in PIXEL:
            raise UnknownName("forward process", forward_type, PIXEL)
        require_eta(eta)
        if not 0 <= clip_index <= steps:
            raise SpecError(f"clip_index={clip_index} is out of range; give one from 0 to {steps}")
        times = [n - 1 for n in (0, *trajectory(steps, N))]
        eta = 1.0 if forward_type == "ddpm" else eta
        super().__init__(
            shape=(network.channels, *network.size),
            size=network.size,
            pairs=list(pairwise(schedule.levels(reversed(times)))),
            sampler=Learned(self.step, eta),
            white_box_steps=white_box_steps,
            seed=seed,
            recompute=recompute,
        )
        self.network, self.uncertainty = network, UNCERTAINTY[head]
        self.forward_type, self.eta = forward_type, eta
        pixel = PIXEL[forward_type] if clip_pixel is None else clip_pixel
        self.limit = (pixel * 2 / 255 * math.sqrt(math.pi / 2)) ** 2 if pixel else math.inf
        self.limited, self.unit = times[clip_index], 1000 / N

    def show(self, x_0: Tensor) -> Tensor:
        return pictures.coloured((x_0 + 1) / 2)

    def see(self, image: Tensor) -> Tensor:
        return 2 * pictures.seen(image, self.network.channels) - 1

    def estimate(self, x_t: Tensor, t: Level) -> Estimate:
        return self._read(self.heads(x_t, t)[0], x_t, t)

    def step(self, x_t: Tensor, t: Level, s: Level) -> Gaussian:
        """The distribution of `x_s`, given pictures (B, C, H, W) with noise."""
        eps, second = self.heads(x_t, t)
        q = self._read(eps, x_t, t)
        p = (
            posterior(x_t, q.x_0, t, s)
            if self.forward_type == "ddpm"
            else ddim(q, t, s, eta=self.eta)
        )
        if s.sigma == 0:
            return p
        variance = p.std**2
        c = s.alpha - math.sqrt(max(s.sigma**2 - variance, 0.0)) * t.alpha / t.sigma
        doubt = ((t.sigma / t.alpha) ** 2 * self.uncertainty(eps, second)).clamp(0, 1)
        limit = self.limit if s.time <= self.limited else math.inf
        least = torch.finfo(doubt.dtype).tiny  # the root of 0 has no gradient
        return p._replace(std=(variance + c**2 * doubt).clamp(least, limit).sqrt())

    def _read(self, eps: Tensor, x_t: Tensor, t: Level) -> Estimate:
        return Estimate(from_eps(eps, x_t, t).x_0.clamp(-1, 1), eps)

    def heads(self, x_t: Tensor, t: Level) -> tuple[Tensor, Tensor]:
        """Both predictions, of the shape of `x_t`; a single one is given twice."""
        both = self.network(x_t, x_t.new_full((len(x_t),), t.time * self.unit))
        return both[:, : self.network.channels], both[:, -self.network.channels :]

    def encode(self, image: Float[Tensor, "B 3 H W"], rng: Rng) -> Float[Tensor, "B D"]:
        """Finds latents of images by the DPM-Encoder, with the state before the picture refined.

        Raises:
            SpecError: If noises are fixed, or `eta` is 0.
        """
        if self.eta == 0:
            raise SpecError("an image has no latent where pixels have no noise; give eta above 0")
        return super().encode(image, rng)


def trajectory(steps: int, N: int) -> list[int]:
    """The times of a chain, rising from 1 to N in nearly equal strides."""
    stride, at, times = (N - 1) / (steps - 1), 1.0, []
    for _ in range(steps):
        times.append(round(at))
        at += stride
    return times
