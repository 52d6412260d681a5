r"""StyleGAN2, with adaptive augmentation or diffusion in training: one network, two dialects.

A mapping makes a style from the latent, truncation pulls it to the mean style, and a synthesis
network makes the image from a constant, the styles and one noise map per layer,

.. math:: w = f(z / \lVert z \rVert_\text{rms}), \qquad w' = \bar w + \psi (w - \bar w), \qquad
    x = g(w', n_1, \dots, n_L)

The noise maps are fixed buffers, so that the map is a function of :math:`z`; or they are blocks of
the latent, `noise_0` to `noise_{L-1}`. The mean style :math:`\bar w` is the file's where it has one,
else the mean over a fixed stream of latents.

StyleGAN2-ADA and Diffusion-StyleGAN2 changed the training only: their files are cards of this family.

References:
    | Analyzing and Improving the Image Quality of StyleGAN (Karras et al., 2020)
    | https://arxiv.org/abs/1912.04958

    | Training Generative Adversarial Networks with Limited Data (Karras et al., 2020)
    | https://arxiv.org/abs/2006.06676

    | Diffusion-GAN: Training GANs with Diffusion (Wang et al., 2023)
    | https://arxiv.org/abs/2206.02262
"""

from collections.abc import Callable, Collection, Sequence
from itertools import count, takewhile
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from latentzoo import options
from latentzoo.generator import Generator
from latentzoo.hub import dialects
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.nn import channels as pictures
from latentzoo.nn.mapping import Mapping
from latentzoo.nn.style import NOISE, Synthesis, noise_blocks
from latentzoo.nn.truncation import MeanStyle, as_rows, mean_styles, require, rows, truncate
from latentzoo.options import Count, Natural, Positive
from latentzoo.rng import Domain, Rng
from latentzoo.space import Space


class StyleGAN2(Generator):
    r"""Creates a StyleGAN2 generator.

    Its latent is the block `style`, and with `noise="latent"` the blocks `noise_0`, `noise_1`, ...

    Arguments:
        mapping: The mapping from latents, and classes, to styles.
        synthesis: The synthesis network.
        class_index: The class, if the mapping has any.
        truncation: The truncation :math:`\psi`; 1 for none, 0 for the mean style alone, negative for its other side.
        cutoff: How many of the layers are truncated, from the first; None for all of them.
        noise: "fixed" for the file's maps, "latent" for maps that are part of the latent, or "none"; a network that was
            trained without noise has none.
        seed: The seed of the fixed maps, if the file has none.
        missing: What the file lacks, of "noise" and "w_mean".
        means: How many mean styles the file has, one for each layer or one for all; 0 for one that is a vector.

    Raises:
        SpecError: If an argument is out of range.
    """

    w_avg: Tensor | None
    label: Tensor | None

    def __init__(
        self,
        mapping: Mapping,
        synthesis: Synthesis,
        *,
        class_index: Natural = 0,
        truncation: float = 1.0,
        cutoff: Natural | None = None,
        noise: str = "fixed",
        seed: Natural = 0,
        missing: Collection[str] = (),
        means: Natural = 0,
    ) -> None:
        super().__init__()
        classes = mapping.c_dim
        require(
            truncation=truncation,
            classes=classes,
            class_index=class_index,
            cutoff=cutoff,
            styles=synthesis.styles,
        )
        maps = noise_blocks(noise, synthesis.layers, choices=("fixed", "latent", "none"))
        self.mapping, self.synthesis = mapping, synthesis
        self.truncation, self.cutoff, self.noise = truncation, cutoff, noise
        label = F.one_hot(torch.tensor(class_index), classes).float() if classes else None
        self.register_buffer("label", label, persistent=False)
        w_mean = mean_styles(means, synthesis.styles, synthesis.w_dim)
        w_avg = None if "w_mean" in missing else w_mean
        self.register_buffer("w_avg", w_avg)
        self.taken = MeanStyle(mapping.z_dim)
        rng = Rng(seed, domain=Domain.MAP)
        for layer in synthesis.layers:
            if layer.noisy:
                fixed = rng.normal(*layer.size)[0].to(layer.noise_const.device)
                layer.register_buffer("noise_const", fixed, persistent="noise" not in missing)
        self.space = Space(style=(mapping.z_dim,), **maps)
        self.size = synthesis.size

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        latent, *maps = self.space.split(z).values()
        noise = [0.0] * len(self.synthesis.layers) if self.noise == "none" else None
        if self.noise == "latent":
            noise = [noise_map[:, None] for noise_map in maps]
        _, image = self.synthesis(self.styles(latent), noise=noise)
        return pictures.coloured((image + 1) / 2)

    def styles(self, z: Float[Tensor, "B Z"]) -> Float[Tensor, "B L W"]:
        """Maps latents (B, Z) to the truncated style of each layer (B, L, W)."""
        w, layers = self._style(z), self.synthesis.styles
        if self.truncation == 1:
            return w[:, None].expand(-1, layers, -1)
        return truncate(w, self.w_mean, self.truncation, layers, self.cutoff)

    @property
    def w_mean(self) -> Float[Tensor, "*#L W"]:
        """The mean style, or those of the layers: the file's, or the mean over a stream of latents, taken once."""
        if self.w_avg is not None:
            return self.w_avg
        return self.taken(self._style, like=next(self.mapping.parameters()))

    def _style(self, z: Tensor) -> Tensor:
        return self.mapping(z, None if self.label is None else self.label.expand(len(z), -1))


def build(
    *,
    widths: Sequence[Count],
    z_dim: Count = 512,
    w_dim: Count = 512,
    layers: Count = 8,
    classes: Natural = 0,
    features: Count | None = None,
    embed_features: Count | None = None,
    lr: Positive = 0.01,
    start: Sequence[Count] = (4, 4),
    channels: Count = 3,
    noisy: bool = True,
    architecture: str = "skip",
    clamp: Positive | None = None,
    **options: Any,
) -> StyleGAN2:
    """Builds a generator with random weights.

    Arguments:
        widths: The number of channels at the first resolution, and at each that doubles its sides up to the image's.
        z_dim: The size of the latent.
        w_dim: The size of the style.
        layers: The number of layers of the mapping.
        classes: The number of classes; 0 if there are none.
        features: The width between the layers of the mapping; `w_dim` unless given.
        embed_features: The size of an embedded class; `w_dim` unless given.
        lr: The learning rate multiplier of the mapping.
        start: The height and width of the first resolution.
        channels: The number of the image's channels: 3, or 1 where it is grey.
        noisy: Whether the layers have noise.
        architecture: "skip", "resnet" or "orig".
        clamp: Where the features of each layer are cut off on both sides; None for no limit.
        options: The arguments of the map: see `StyleGAN2`.
    """
    mapping = Mapping(
        z_dim,
        w_dim,
        layers=layers,
        c_dim=classes,
        features=features,
        embed_features=embed_features,
        lr=lr,
    )
    synthesis = Synthesis(
        widths,
        w_dim,
        start=(start[0], start[1]),
        channels=pictures.require(channels),
        architecture=architecture,
        clamp=clamp,
        noisy=noisy,
    )
    return StyleGAN2(mapping, synthesis, **options)


def nvidia(generator: StyleGAN2) -> list[Rule]:
    """The names of NVIDIA's pickles: ours but for the place of two tensors."""
    return dialects.nvidia(mean=as_rows(generator.w_avg))


def rosinality(generator: StyleGAN2) -> list[Rule]:
    """The names of rosinality's conversions; the mean style stands beside the weights, or nowhere."""
    mean = "w_avg" if "w_avg" in generator.state_dict() else None
    layers = range(len(generator.mapping))
    return [
        *(Rule(f"style.{i + 1}.{{t}}", f"mapping.fc{i}.{{t}}") for i in layers),
        Rule("latent_avg", mean, as_rows(generator.w_avg)),
        *dialects.rosinality(generator.synthesis),
    ]


KEYS: dict[str, Callable[[Any], list[Rule]]] = {"nvidia": nvidia, "rosinality": rosinality}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the dialect and the configuration from the names, shapes and records of a file."""
    shapes = checkpoint.shapes
    if "synthesis.b4.conv1.weight" in shapes and "mapping.fc0.weight" in shapes:
        config = _from_nvidia(shapes, checkpoint.records)
        said = "modules" in checkpoint.records
        assumed = {} if said else {"lr": f"{config['lr']}", "clamp": f"{config['clamp']}"}
        assumed = {name: f"{value}, as in published files" for name, value in assumed.items()}
        keys = "nvidia"
    elif shapes.keys() >= {"input.input", "style.1.weight", "conv1.conv.weight"}:
        config = _from_rosinality(shapes)
        assumed = options.defaults(build, "lr", why="as in published files")
        keys = "rosinality"
    else:
        return None
    return {"config": config, "keys": keys, "assumed": assumed}


def _from_nvidia(shapes: dict[str, tuple[int, ...]], records: dict[str, Any]) -> dict[str, Any]:
    modules = records.get("modules", {})
    attribute = lambda module, name, default: modules.get(module, {}).get(name, default)
    fc = _stack(shapes, "mapping.fc{}.weight", 0)
    embed, classes = shapes.get("mapping.embed.weight", (0, 0))
    architecture = "skip" if "synthesis.b4.torgb.weight" in shapes else "orig"
    if "synthesis.b8.skip.weight" in shapes:
        architecture = "resnet"
    sides = (f"synthesis.b{4 << n}" for n in range(16))
    blocks = [side for side in sides if f"{side}.conv1.weight" in shapes]
    constants = {"noise": f"synthesis.b4.conv1.{NOISE}", "w_mean": "mapping.w_avg"}
    return {
        "widths": [shapes[f"{block}.conv1.weight"][0] for block in blocks],
        "z_dim": fc[0][1] - embed,
        "w_dim": fc[-1][0],
        "layers": len(fc),
        "classes": classes,
        "features": fc[0][0],
        "embed_features": embed or None,
        "lr": attribute("mapping.fc0", "bias_gain", 0.01),
        "start": list(shapes["synthesis.b4.const"][1:]),
        "channels": shapes[f"{blocks[-1]}.torgb.weight"][0],
        "noisy": "synthesis.b4.conv1.noise_strength" in shapes,
        "architecture": architecture,
        "clamp": attribute("synthesis.b4.conv1", "conv_clamp", None if modules else 256),
        "missing": [name for name, tensor in constants.items() if tensor not in shapes],
        "means": rows(shapes.get("mapping.w_avg", ())),
    }


def _from_rosinality(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    fc, convs = _stack(shapes, "style.{}.weight", 1), _stack(shapes, "convs.{}.conv.weight", 0)
    constants = {"noise": "noises.noise_0", "w_mean": "latent_avg"}
    return {
        "widths": [shapes["conv1.conv.weight"][1], *(conv[1] for conv in convs[1::2])],
        "z_dim": fc[0][1],
        "w_dim": fc[-1][0],
        "layers": len(fc),
        "features": fc[0][0],
        "start": list(shapes["input.input"][2:]),
        "channels": shapes["to_rgb1.conv.weight"][1],
        "noisy": "conv1.noise.weight" in shapes,
        "missing": [name for name, tensor in constants.items() if tensor not in shapes],
        "means": rows(shapes.get("latent_avg", ())),
    }


def _stack(shapes: dict[str, tuple[int, ...]], template: str, first: int) -> list[tuple[int, ...]]:
    """The shapes of the tensors whose names are numbered on end."""
    names = takewhile(shapes.__contains__, map(template.format, count(first)))
    return [shapes[name] for name in names]
