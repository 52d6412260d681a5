r"""An autoencoder to a latent of four 16x16 maps of zero mean and unit variance.

.. math:: z = \frac{E(x) - \mu}{\sigma} \qquad \hat{x} = D(z + \epsilon)

:math:`\mu, \sigma` are the moments of each of the four maps over the data. Noise :math:`\epsilon` of standard deviation
0.1 while training makes the decoder forgiving, which is what a generator of latents needs from it.

References:
    | High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022)
    | https://arxiv.org/abs/2112.10752
"""

from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.builtin.networks.blocks import Down, Residual, Up


class Encoder(nn.Module):
    """Creates the encoder: pictures `(B, 3, 64, 64)` in [0, 1] to latents `(B, channels, 16, 16)`."""

    def __init__(self, width: int = 64, channels: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Down(3, width // 2),
            nn.Conv2d(width // 2, width // 2, 3, padding=1),
            nn.SiLU(),
            Down(width // 2, width),
            Residual(width),
            Residual(width),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, channels, 3, padding=1),
        )
        self.moments = nn.BatchNorm2d(channels, affine=False, momentum=0.01)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """The latents of pictures."""
        return self.moments(self.layers(2 * image - 1))


class Decoder(nn.Module):
    """Creates the decoder: latents `(B, channels, 16, 16)` to pictures `(B, 3, 64, 64)` in [0, 1], not clamped.

    Arguments:
        width: The number of features on the grid 16x16.
        fine: The number of features on the grid 32x32.
        depth: The number of residual blocks on the grid 32x32.
        channels: The number of maps of the latent.
    """

    def __init__(self, width: int = 64, fine: int = 48, depth: int = 1, channels: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            Residual(width),
            Residual(width),
            Up(width, fine),
            nn.Conv2d(fine, fine, 3, padding=1),
            *(Residual(fine) for _ in range(depth)),
            nn.GroupNorm(8, fine),
            nn.SiLU(),
            nn.Conv2d(fine, 12, 3, padding=1),
            nn.PixelShuffle(2),
        )

    def forward(self, z: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        """The pictures of latents."""
        return (self.layers(z) + 1) / 2


class Autoencoder(nn.Module):
    """Creates the pair; `encoder` and `decoder` are what it is made for."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        """The reconstruction of pictures."""
        return self.decoder(self.encoder(image))
