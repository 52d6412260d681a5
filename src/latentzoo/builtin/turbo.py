r"""One-step avatars: the latent diffusion distilled into a single call.

.. math:: x = D\big(f_\theta(z)\big), \qquad f_\theta(z) \approx z_0(z)

where :math:`z_0(z)` is where the deterministic reverse process of the latent diffusion takes the same :math:`z`. At
:math:`t = 1` a prediction of v is one of :math:`-z_0`, so that the student is the teacher's network, asked once.

References:
    | Knowledge Distillation in Iterative Generative Models for Improved Sampling Speed (Luhman and Luhman, 2021)
    | https://arxiv.org/abs/2101.02388
    | Adversarial Diffusion Distillation (Sauer et al., 2023), https://arxiv.org/abs/2311.17042
"""

from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.builtin.networks.autoencoder import Decoder
from latentzoo.builtin.networks.unet import CHANNELS, GRID, WIDTHS, UNet
from latentzoo.generator import Generator
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.space import Space


class OneStep(Generator):
    """Creates the generator.

    Arguments:
        student: The network asked once, `(B, 4, 16, 16)` and times `(B,)` to `(B, 4, 16, 16)`.
        decoder: The decoder of the latents.
    """

    def __init__(self, student: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.student, self.decoder = student, decoder
        self.space = Space(start=(CHANNELS, GRID, GRID))
        self.size = (64, 64)

    def latents(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 4 16 16"]:
        """The student's latents, before the decoder."""
        start = self.space.split(z)["start"]
        return -self.student(start, start.new_ones(len(start)))

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 64 64"]:
        """The pictures of latents."""
        return self.decoder(self.latents(z))


def build(*, widths: Sequence[int] = WIDTHS) -> OneStep:
    """Builds the generator with random weights.

    Arguments:
        widths: The widths of the student.
    """
    return OneStep(UNet(channels=CHANNELS, size=GRID, widths=widths), Decoder())


KEYS: dict[str, Callable[[Generator], list[Rule]]] = {
    "avatar": lambda generator: [
        Rule("student.{name*}", "student.{name}"),
        Rule("decoder.{name*}", "decoder.{name}"),
    ]
}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """The configuration of a weight file of this family, or None."""
    shapes = checkpoint.shapes
    if not {"student.place", "decoder.layers.0.weight"} <= set(shapes):
        return None
    downs = (f"student.down.{level}.conv.bias" for level in range(len(shapes)))
    widths = [shapes["student.place"][1], *(shapes[key][0] for key in downs if key in shapes)]
    return {"config": {"widths": widths}, "keys": "avatar"}
