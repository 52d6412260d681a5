r"""The U-Net of OpenAI's diffusion files, and what their tensors say of it.

Such a file holds tensors and nothing else. Width, levels, depth, attention, classes and how sides change are read from
them; how heads are cut, and how large the pictures are, is not among them.

Users: `zoo.guided_diffusion`, `zoo.consistency`.

References:
    | Diffusion Models Beat GANs on Image Synthesis (Dhariwal and Nichol, 2021)
    | https://arxiv.org/abs/2105.05233
    | Consistency Models (Song et al., 2023), https://arxiv.org/abs/2303.01469
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import Tensor

from latentzoo.errors import CheckpointError, SpecError
from latentzoo.nn import adm, ddpm
from latentzoo.nn.attention import count_heads

SIDES = {
    (1, 2, 2, 2): 32,
    (1, 2, 3, 4): 64,
    (1, 1, 2, 3, 4): 128,
    (1, 1, 2, 2, 4, 4): 256,
    (0.5, 1, 1, 2, 2, 4, 4): 512,
}
"""The authors choose the widths of the levels by the side of the pictures."""


def denoiser(
    channels: int,
    outputs: int,
    *,
    width: int,
    mult: Sequence[float],
    depth: int,
    attention: Collection[int],
    heads: int | None,
    head_width: int | None,
    parts_first: bool,
    modulate: bool,
    resample: bool,
    classes: int,
) -> adm.UNet:
    """Creates the U-Net.

    Arguments:
        channels: The number of channels in.
        outputs: The number of channels out.
        width: The number of channels that `mult` multiplies.
        mult: The multiple at each level.
        depth: The number of residual blocks per level.
        attention: The factors of downsampling at which attention follows each residual block.
        heads: The number of heads; it counts before
        head_width: the number of channels of each.
        parts_first: Whether the channels of attention are divided into query, key and value before heads.
        modulate: Whether the time scales and shifts, or is added.
        resample: Whether residual blocks halve and double the sides, or convolutions.
        classes: The number of classes; 0 if there are none.

    Raises:
        SpecError: If the heads are not given, or do not divide the channels.
    """
    if heads is None and head_width is None:
        raise SpecError("the file does not say how many heads there are; give heads or head_width")
    order = adm.PARTS_FIRST if parts_first else adm.HEADS_FIRST

    def block(i: int, o: int, how: adm.Resample = adm.keep) -> adm.TimeBlock:
        return adm.TimeBlock(i, o, 4 * width, modulate=modulate, resample=how)

    def attend(c: int) -> adm.AttentionBlock:
        return adm.AttentionBlock(c, count_heads(c, heads, head_width), order)

    plan = adm.Plan(
        width=width,
        mult=mult,
        depth=depth,
        attention=attention,
        residual=block,
        attend=attend,
        down=lambda c: block(c, c, adm.halve) if resample else adm.Downsample(c),
        up=lambda c: block(c, c, adm.double) if resample else ddpm.Upsample(c),
    )
    return adm.UNet(channels, outputs, 4 * width, plan, classes=classes)


PARTS = re.compile(r"(time_embed|label_emb|input_blocks|middle_block|output_blocks|out)\.")
FIRST, OUT = "input_blocks.1.0.emb_layers.1.weight", "input_blocks.1.0.in_layers.2.weight"


def is_denoiser(net: Mapping[str, Tensor], *, positions: int) -> bool:
    """Whether tensors are such a U-Net's, whose attention maps over one dimension of positions, or over two."""
    qkv = "middle_block.1.qkv.weight"
    names = {"time_embed.0.weight", qkv, "out.2.weight", FIRST, OUT}
    return (
        names <= net.keys()
        and all(PARTS.match(name) for name in net)
        and net[qkv].ndim == 2 + positions
    )


def read(net: Mapping[str, Tensor]) -> tuple[dict[str, Any], int | None]:
    """The arguments of `denoiser` that the tensors say, and the side that the authors give such levels.

    Raises:
        CheckpointError: If it enlarges pictures, and so draws none of its own.
    """
    channels = net["input_blocks.0.0.weight"].shape[1]
    if channels == 6:
        raise CheckpointError(
            "the network enlarges pictures that it is given, and draws none; give the model that draws"
        )
    plan = adm.read_plan(net)
    told = {
        **plan,
        "channels": channels,
        "classes": len(net.get("label_emb.weight", ())),
        "modulate": len(net[FIRST]) == 2 * len(net[OUT]),
        "resample": f"input_blocks.{plan['depth'] + 1}.0.op.weight" not in net,
    }
    return told, SIDES.get(tuple(plan["mult"]))


def outputs(net: Mapping[str, Tensor]) -> int:
    """The number of channels that the network answers with."""
    return len(net["out.2.weight"])


def side(resolution: int | None, mult: Sequence[float]) -> int:
    """The picture's side: the one that is given, or that the authors give such levels.

    Raises:
        SpecError: If neither tells.
    """
    found = resolution or SIDES.get(tuple(mult))
    if found is None:
        raise SpecError("the file does not say how large the pictures are; give resolution=")
    return found


def told_side(side: int | None) -> str:
    """What is said of a side that no tensor tells."""
    return (
        f"{side}, which OpenAI gave such levels" if side else "64, which nothing in the file tells"
    )
