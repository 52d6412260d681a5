r"""A hierarchical variational autoencoder of avatars: its decoder is the map.

.. math:: x = D\big(L(\epsilon_1, \dots, \epsilon_5)\big)

A ladder :math:`L` of Gaussian latents, coarse to fine, makes the 4 x 16 x 16 latent of the avatars' autoencoder, whose
decoder :math:`D` makes the picture. The noises of the rungs are the blocks of the latent. What looks at
data is needed for training alone, and is not in the file.

References:
    | Auto-Encoding Variational Bayes (Kingma and Welling, 2014), https://arxiv.org/abs/1312.6114
    | Very Deep VAEs Generalize Autoregressive Models (Child, 2021), https://arxiv.org/abs/2011.10650
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.builtin.networks.autoencoder import Decoder
from latentzoo.builtin.networks.ladder import RUNGS, Ladder
from latentzoo.generator import Generator
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.options import Weight
from latentzoo.space import Space


class LadderVAE(Generator):
    """Creates the generator.

    Arguments:
        ladder: The variational autoencoder of latents; what looks at data is not needed.
        decoder: The decoder of those latents.
        temperature: What the noises are multiplied by; below 1 the faces are more typical.
    """

    def __init__(self, ladder: Ladder, decoder: nn.Module, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.ladder, self.decoder = ladder, decoder
        self.temperature = temperature
        shapes = {f"rung{i}": (s.maps, s.grid, s.grid) for i, s in enumerate(RUNGS)}
        self.space = Space(**shapes)
        self.size = (64, 64)

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 64 64"]:
        """The pictures of latents."""
        eps = list(self.space.split(self.temperature * z).values())
        return self.decoder(self.ladder(eps))


def build(*, temperature: Weight = 1.0) -> LadderVAE:
    """Builds the generator with random weights.

    Arguments:
        temperature: What the noises are multiplied by.
    """
    return LadderVAE(Ladder(inference=False), Decoder(), temperature=temperature)


KEYS: dict[str, Callable[[Generator], list[Rule]]] = {
    "avatar": lambda generator: [
        Rule(f"{part}.{{name*}}", f"{part}.{{name}}") for part in ("ladder", "decoder")
    ]
}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """The configuration of a weight file of this family, or None."""
    return {"config": {}, "keys": "avatar"} if "ladder.top" in checkpoint.tensors else None
