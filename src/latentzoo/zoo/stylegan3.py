r"""StyleGAN3: a generator without aliasing, equivariant to translation (t) or rotation too (r).

.. math:: w = f(z / \lVert z \rVert_\text{rms}), \qquad w' = \bar w + \psi (w - \bar w), \qquad x = g(w')

with the mapping of StyleGAN2 and the synthesis of `nn.alias_free`. The configurations differ in the
kernels (3 or 1) and the filters (separable or radially symmetric), which the file tells with its layers.

References:
    | Alias-Free Generative Adversarial Networks (Karras et al., 2021)
    | https://arxiv.org/abs/2106.12423
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from latentzoo import options as opts
from latentzoo.generator import Generator
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.nn import channels as pictures
from latentzoo.nn.alias_free import Synthesis, planned, read_layers
from latentzoo.nn.mapping import Mapping
from latentzoo.nn.truncation import as_rows, mean_styles, require, rows, truncate
from latentzoo.options import Count, Natural, Positive
from latentzoo.space import Space


class StyleGAN3(Generator):
    r"""Creates a StyleGAN3 generator; its latent is the block `style`.

    Arguments:
        mapping: The mapping from latents, and classes, to styles.
        synthesis: The synthesis network.
        class_index: The class, if the mapping has any.
        truncation: The truncation :math:`\psi`; 1 for none, 0 for the mean style alone, negative for its other side.
        cutoff: How many of the layers are truncated, from the first; None for all of them.
        means: How many mean styles the file has, one for each layer or one for all; 0 for one that is a vector.

    Raises:
        SpecError: If an argument is out of range.
    """

    w_avg: Tensor
    label: Tensor | None

    def __init__(
        self,
        mapping: Mapping,
        synthesis: Synthesis,
        *,
        class_index: Natural = 0,
        truncation: float = 1.0,
        cutoff: Natural | None = None,
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
        self.mapping, self.synthesis = mapping, synthesis
        self.truncation, self.cutoff = truncation, cutoff
        label = F.one_hot(torch.tensor(class_index), classes).float() if classes else None
        self.register_buffer("label", label, persistent=False)
        self.register_buffer("w_avg", mean_styles(means, synthesis.styles, synthesis.w_dim))
        self.space, self.size = Space(style=(mapping.z_dim,)), (synthesis.size, synthesis.size)

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        image = self.synthesis(self.styles(self.space.split(z)["style"]))
        return pictures.coloured((image + 1) / 2)

    def styles(self, z: Float[Tensor, "B Z"]) -> Float[Tensor, "B L W"]:
        """Maps latents (B, Z) to the truncated style of each layer (B, L, W)."""
        w = self.mapping(z, None if self.label is None else self.label.expand(len(z), -1))
        return truncate(w, self.w_avg, self.truncation, self.synthesis.styles, self.cutoff)


def build(
    *,
    plan: Sequence[Sequence[Any]] | None = None,
    z_dim: Count = 512,
    w_dim: Count = 512,
    layers: Count = 2,
    classes: Natural = 0,
    lr: Positive = 0.01,
    kernel: Count = 3,
    radial: bool = False,
    output_scale: float = 0.25,
    clamp: Positive = 256,
    **options: Any,
) -> StyleGAN3:
    """Builds a generator with random weights.

    Arguments:
        plan: The layers of the synthesis network, each with the fields of `Layer`.
        z_dim: The size of the latent.
        w_dim: The size of the style.
        layers: The number of layers of the mapping.
        classes: The number of classes; 0 if there are none.
        lr: The learning rate multiplier of the mapping.
        kernel: The side of the convolutions' kernels.
        radial: Whether the filters are radially symmetric.
        output_scale: The factor on the image.
        clamp: Where the features of each layer are cut off on both sides.
        options: The arguments of the map: see `StyleGAN3`.

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
    mapping = Mapping(z_dim, w_dim, layers=layers, c_dim=classes, lr=lr)
    return StyleGAN3(mapping, synthesis, **options)


KEYS: dict[str, Callable[[StyleGAN3], list[Rule]]] = {
    "official": lambda generator: [
        Rule("mapping.w_avg", "w_avg", as_rows(generator.w_avg)),
        Rule("{network}.{x*}", "{network}.{x}"),
    ],
}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the configuration from the names, shapes and records of a file; see `read_layers`."""
    shapes = checkpoint.shapes
    if not shapes.keys() >= {"synthesis.input.freqs", "mapping.fc0.weight", "mapping.w_avg"}:
        return None
    embed, classes = shapes.get("mapping.embed.weight", (0, 0))
    if classes and "mapping.embed.bias" not in shapes:  # StyleGAN-XL's table of features
        return None
    modules = checkpoint.records.get("modules", {})
    layers, told = read_layers(shapes, modules)
    config = {
        "plan": [list(layer) for layer in layers],
        "z_dim": shapes["mapping.fc0.weight"][1] - embed,
        "w_dim": shapes["mapping.w_avg"][-1],
        "means": rows(shapes["mapping.w_avg"]),
        "layers": sum(n.startswith("mapping.fc") and n.endswith("weight") for n in shapes),
        "classes": classes,
        **told,
    }
    recorded = "clamp" in told
    if recorded:
        config["lr"] = modules["mapping.fc0"].get("bias_gain", 0.01)
    unsaid = () if recorded else ("lr", "output_scale", "clamp")
    assumed = opts.defaults(build, *unsaid, why="as in published files")
    return {"config": config, "keys": "official", "assumed": assumed}
