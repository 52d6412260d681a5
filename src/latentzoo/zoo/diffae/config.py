"""From settings to a DiffAE with random weights."""

from collections.abc import Collection, Sequence
from typing import Any

from latentzoo.diffusion import memory
from latentzoo.diffusion.schedule import Discrete, constant_betas, cosine_betas, linear_betas
from latentzoo.errors import SpecError
from latentzoo.nn import adm
from latentzoo.nn.levels import attending
from latentzoo.nn.levels import require as require_levels
from latentzoo.options import Count, Natural
from latentzoo.zoo.diffae.map import DiffAE
from latentzoo.zoo.diffae.networks import HalfBlock, LatentNet, ResBlock, SemanticEncoder


def build(
    *,
    resolution: Count,
    mult: Sequence[Count],
    encoder_mult: Sequence[int],
    width: Count = 128,
    depth: Count = 2,
    encoder_depth: Count = 2,
    attention: Collection[Count] | None = None,
    levels: Collection[Natural] | None = None,
    heads: Count = 1,
    style: Count = 512,
    hidden: Count = 2048,
    layers: Count = 10,
    latent_width: Count = 64,
    channels: Count = 3,
    betas: str = "linear",
    latent_betas: str = "const0.008",
    times: Count = 1000,
    steps: Count = 10,
    latent_steps: Count = 10,
    latent: str = "all",
    seed: Natural = 0,
    recompute: memory.Recompute = "auto",
) -> DiffAE:
    """Creates a diffusion autoencoder's generator.

    Arguments:
        resolution: The picture's side in pixels.
        mult: The multiple of `width` at each level of the U-Net.
        encoder_mult: The multiple of `width` at each level of the semantic encoder.
        width: The number of channels at full resolution.
        depth: The number of residual blocks per level of the U-Net.
        encoder_depth: The number of residual blocks per level of the semantic encoder.
        attention: The sides at which attention follows each residual block; None for those of `levels`, or for 16.
        levels: The levels of these sides, of which 0 is the highest, whatever the resolution; as tensors tell them.
        heads: The number of its heads.
        style: The length of the code.
        hidden: The number of features between the layers of the network of codes.
        layers: The number of its layers.
        latent_width: The number of features of its time.
        channels: The number of the picture's channels: 3, or 1 where it is grey.
        betas: The noise of the chain of pictures: "linear", "cosine" or "const" and a number.
        latent_betas: The noise of the chain of codes.
        times: The number of times of each.
        steps: The number of steps of the chain of pictures.
        latent_steps: The number of steps of the chain of codes.
        latent: Which blocks vary: "all", or "semantic" alone, with a fixed start.
        seed: The seed of the fixed start.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        SpecError: If no stride gives that many steps, a name is unknown, or `attention` and `levels` are not the same.
    """
    shared: dict[str, Any] = {
        "width": width,
        "attention": [1 << level for level in attending(resolution, attention, levels)],
        "attend": lambda c: adm.AttentionBlock(c, heads),
    }
    plan = adm.Plan(
        mult=mult,
        depth=depth,
        residual=lambda i, o: ResBlock(i, o, style),
        down=lambda c: ResBlock(c, c, style, adm.halve),
        up=lambda c: ResBlock(c, c, style, adm.double),
        **shared,
    )
    encoder_plan = adm.Plan(
        mult=encoder_mult,
        depth=encoder_depth,
        residual=HalfBlock,
        down=lambda c: HalfBlock(c, c, adm.halve),
        up=lambda c: HalfBlock(c, c, adm.double),
        **shared,
    )
    return DiffAE(
        adm.UNet(channels, channels, style, plan),
        SemanticEncoder(channels, style, encoder_plan),
        LatentNet(style, hidden, layers, latent_width),
        schedule=Discrete.from_betas(read_betas(betas, times)),
        latent_schedule=Discrete.from_betas(read_betas(latent_betas, times)),
        resolution=require_levels((resolution, resolution), len(mult))[0],
        channels=channels,
        steps=steps,
        latent_steps=latent_steps,
        latent=latent,
        seed=seed,
        recompute=recompute,
    )


def read_betas(name: str, n: int) -> list[float]:
    """The noise variances of a name: "linear", "cosine", or "const" and their value.

    Raises:
        SpecError: If the name is none of these.
    """
    if name == "linear":
        return linear_betas(n=n)
    if name == "cosine":
        return cosine_betas(n=n)
    try:
        return constant_betas(float(name.removeprefix("const")), n=n)
    except ValueError as error:
        raise SpecError(f"no betas are called '{name}'; try 'linear', 'const0.008'") from error
