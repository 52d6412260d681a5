r"""StyleGAN-XL: the alias-free generator of StyleGAN3, grown by super-resolution stages.

Its layers are those of `nn.alias_free`. A stem of :math:`N` layers is cut off before its `critical` ones,
and a stage goes on in the same way to a higher resolution.

Which layers the published networks have is written in their files only, so a generator is built from
the `Layer` records that `infer` reads there; `plan` computes those of a new network.

References:
    | StyleGAN-XL: Scaling StyleGAN to Large Diverse Datasets (Sauer et al., 2022)
    | https://arxiv.org/abs/2202.00273

    | Alias-Free Generative Adversarial Networks (Karras et al., 2021)
    | https://arxiv.org/abs/2106.12423
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo import options
from latentzoo.generator import Generator
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.nn import channels as pictures
from latentzoo.nn.alias_free import Synthesis, planned, read_layers
from latentzoo.nn.mapping import Linear, activate, normalize
from latentzoo.nn.truncation import require, truncate
from latentzoo.options import Count, Natural, Positive
from latentzoo.space import Space


class StyleGANXL(Generator):
    r"""Creates a StyleGAN-XL generator; its latent is the block `style`.

    Arguments:
        mapping: The mapping from latents, and a class, to styles.
        synthesis: The synthesis network.
        class_index: The class, if the mapping has any.
        truncation: The truncation :math:`\psi`; 1 for none, 0 for the mean style alone, negative for its other side.
        cutoff: How many of the layers are truncated, from the first; None for all of them.

    Raises:
        SpecError: If an argument is out of range.
    """

    w_avg: Tensor

    def __init__(
        self,
        mapping: "Mapping",
        synthesis: "Synthesis",
        *,
        class_index: Natural = 0,
        truncation: float = 1.0,
        cutoff: Natural | None = None,
    ) -> None:
        super().__init__()
        classes = mapping.classes
        require(
            truncation=truncation,
            classes=classes,
            class_index=class_index,
            cutoff=cutoff,
            styles=synthesis.styles,
        )
        self.mapping, self.synthesis = mapping, synthesis
        self.class_index, self.truncation, self.cutoff = class_index, truncation, cutoff
        shape = (classes, mapping.w_dim) if classes else (mapping.w_dim,)
        self.register_buffer("w_avg", torch.zeros(shape))
        self.space, self.size = Space(style=(mapping.z_dim,)), (synthesis.size, synthesis.size)

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        image = self.synthesis(self.styles(self.space.split(z)["style"]))
        return pictures.coloured((image + 1) / 2)

    def styles(self, z: Float[Tensor, "B Z"]) -> Float[Tensor, "B L W"]:
        """Maps latents (B, Z) to the truncated style of each layer (B, L, W)."""
        classes = None
        if self.mapping.classes:
            classes = torch.full((len(z),), self.class_index, device=z.device)
        w_mean = self.w_avg[self.class_index] if self.mapping.classes else self.w_avg
        w = self.mapping(z, classes)
        return truncate(w, w_mean, self.truncation, self.synthesis.styles, self.cutoff)


class Mapping(nn.ModuleDict):
    """Creates the mapping from the latent, and a class by its image features, to the style.

    Arguments:
        z_dim: The size of the latent.
        w_dim: The size of the style.
        layers: The number of layers `fc0`, `fc1`, ...
        classes: The number of classes; 0 if there are none.
        embedding: The shape of the table of features, one row per class.
        lr: The learning rate multiplier.
    """

    def __init__(
        self,
        z_dim: int,
        w_dim: int,
        *,
        layers: int = 2,
        classes: int = 0,
        embedding: Sequence[int] = (1000, 320),
        lr: float = 0.01,
    ) -> None:
        super().__init__()
        self.z_dim, self.w_dim, self.classes = z_dim, w_dim, classes
        if classes:
            rows, features = embedding
            self["embed"] = nn.Embedding(rows, features)
            self["embed_proj"] = Linear(features, z_dim)
        self.names = [f"fc{i}" for i in range(layers)]
        widths = [2 * z_dim if classes else z_dim, *[w_dim] * layers]
        for name, i, o in zip(self.names, widths, widths[1:], strict=False):
            self[name] = Linear(i, o, lr=lr)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Maps latents (B, z_dim), and classes (B,), to styles (B, w_dim)."""
        x = normalize(z)
        if label is not None:
            y = activate(self["embed_proj"](self["embed"](label)))
            x = torch.cat([x, normalize(y)], dim=1)
        for name in self.names:
            x = activate(self[name](x))
        return x


def build(
    *,
    plan: Sequence[Sequence[Any]] | None = None,
    z_dim: Count = 64,
    w_dim: Count = 512,
    layers: Count = 2,
    classes: Natural = 0,
    embedding: Sequence[int] = (1000, 320),
    lr: Positive = 0.01,
    kernel: Count = 3,
    radial: bool = False,
    output_scale: float = 0.25,
    clamp: Positive = 256,
    **options: Any,
) -> StyleGANXL:
    """Builds a generator with random weights.

    Arguments:
        plan: The layers of the synthesis network, each with the fields of `Layer`.
        z_dim: The size of the latent.
        w_dim: The size of the style.
        layers: The number of layers of the mapping.
        classes: The number of classes; 0 if there are none.
        embedding: The shape of the table of the classes' features.
        lr: The learning rate multiplier of the mapping.
        kernel: The side of the convolutions' kernels.
        radial: Whether the filters are radially symmetric.
        output_scale: The factor on the image.
        clamp: Where the features of each layer are cut off on both sides.
        options: The arguments of the map: see `StyleGANXL`.

    Raises:
        SpecError: If there is no plan.
    """
    synthesis = planned(
        plan,
        w_dim,
        kernel=kernel,
        radial=radial,
        output_scale=output_scale,
        clamp=clamp,
    )
    mapping = Mapping(z_dim, w_dim, layers=layers, classes=classes, embedding=embedding, lr=lr)
    return StyleGANXL(mapping, synthesis, **options)


def official(generator: StyleGANXL) -> list[Rule]:
    """The names of the authors' pickles: ours; a network without classes has a table all the same."""
    table = "mapping.embed.weight" if generator.mapping.classes else None
    return [
        Rule("mapping.w_avg", "w_avg"),
        Rule("mapping.embed.weight", table),
        Rule("{network}.{x*}", "{network}.{x}"),
    ]


KEYS: dict[str, Callable[[Any], list[Rule]]] = {"official": official}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the configuration from the names, shapes and records of a file; see `read_layers`."""
    shapes = checkpoint.shapes
    if "synthesis.input.freqs" not in shapes or "mapping.embed.weight" not in shapes:
        return None
    if "mapping.embed.bias" in shapes:  # StyleGAN3, whose classes have no features of their own
        return None
    modules = checkpoint.records.get("modules", {})
    layers, told = read_layers(shapes, modules)
    w_avg = shapes["mapping.w_avg"]
    classes = w_avg[0] if len(w_avg) == 2 else 0
    depth = sum(name.startswith("mapping.fc") and name.endswith("weight") for name in shapes)
    inputs = shapes["mapping.fc0.weight"][1]
    config = {
        "plan": [list(layer) for layer in layers],
        "z_dim": inputs // 2 if classes else inputs,
        "w_dim": w_avg[-1],
        "layers": depth,
        "classes": classes,
        "embedding": list(shapes["mapping.embed.weight"]),
        **told,
    }
    recorded = "clamp" in told
    if recorded:
        config["lr"] = modules["mapping.fc0"]["bias_gain"]
    unsaid = () if recorded else ("lr", "output_scale", "clamp")
    assumed = options.defaults(build, *unsaid, why="as in published files")
    return {"config": config, "keys": "official", "assumed": assumed}
