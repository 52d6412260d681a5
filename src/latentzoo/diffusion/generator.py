r"""A diffusion model in pixels: a network, and what its output means.

Users: `zoo.ddpm`, `zoo.scoresde`, `zoo.flow`, `builtin.ddpm`.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from latentzoo.diffusion.memory import Recompute
from latentzoo.diffusion.parametrisation import Estimate, estimate
from latentzoo.diffusion.process import ReverseProcess
from latentzoo.diffusion.sampler import Pairs, Sampler
from latentzoo.diffusion.schedule import Level
from latentzoo.nn import channels as pictures


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Creates the record of how a network is asked and what its answer means.

    Arguments:
        kind: What it predicts, a key of `parametrisation.ESTIMATES`.
        clip: The largest absolute value of a predicted picture; None for any.
        hertz: The network's times per unit of the schedule's time.
    """

    kind: str
    clip: float | None = None
    hertz: float = 1.0


class Diffusion(ReverseProcess):
    """Creates a diffusion generator in pixels.

    Arguments:
        network: The network, from (B, C, H, W) and times (B,) to (B, C, H, W).
        reading: What its output means.
        size: The picture's height and width.
        channels: The number C of the network's channels: 3, or 1 where it is grey.
        pairs: The steps: from which level, to which.
        sampler: What is done at each step.
        start: The scale of the start.
        centred: Whether the network's pictures are in [-1, 1]; else they are in [0, 1].
        white_box_steps: How many of the noises are part of the latent, the first ones; None for
            all. The others are fixed by the seed.
        seed: The seed of the fixed noises.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        SpecError: If there are more latent noises than noises.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        reading: Reading,
        size: tuple[int, int],
        pairs: Pairs,
        sampler: Sampler,
        channels: int = 3,
        start: float = 1.0,
        centred: bool = True,
        white_box_steps: int | None = None,
        seed: int = 0,
        recompute: Recompute = "auto",
    ) -> None:
        super().__init__(
            shape=(pictures.require(channels), *size),
            size=size,
            pairs=pairs,
            sampler=sampler,
            start=start,
            white_box_steps=white_box_steps,
            seed=seed,
            recompute=recompute,
        )
        self.network, self.reading, self.centred = network, reading, centred
        self.channels = channels

    def estimate(self, x_t: Tensor, t: Level) -> Estimate:
        time = x_t.new_full((len(x_t),), t.time * self.reading.hertz)
        q = estimate(self.reading.kind, self.network(x_t, time), x_t, t)
        if self.reading.clip is None:
            return q
        return q._replace(x_0=q.x_0.clamp(-self.reading.clip, self.reading.clip))

    def show(self, x_0: Tensor) -> Tensor:
        return pictures.coloured((x_0 + 1) / 2 if self.centred else x_0)

    def see(self, image: Tensor) -> Tensor:
        image = pictures.seen(image, self.channels)
        return 2 * image - 1 if self.centred else image
