r"""EDM: diffusion whose steps are those of the noise itself, by NVIDIA's pickles.

.. math:: x_T = \sigma_{max} z, \qquad \frac{dx}{d\sigma} = \frac{x - D(x; \sigma)}{\sigma}, \qquad
    \sigma_i^{1/\rho} = \sigma_{max}^{1/\rho}
        + \tfrac{i}{N - 1} (\sigma_{min}^{1/\rho} - \sigma_{max}^{1/\rho})

solved by Heun's rule, whose last step is Euler's; `D` is a preconditioned network, see
`diffusion.precondition`. The latent is the block `start`, :math:`z`; with fresh noise in DDIM's steps
(`eta`) also `noise`, in the order of the steps. The authors' churn is not here.

References:
    | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022)
    | https://arxiv.org/abs/2206.00364
"""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from latentzoo import options as opts
from latentzoo.diffusion.memory import Recompute
from latentzoo.diffusion.precondition import EDM as Own
from latentzoo.diffusion.precondition import VE, VP, Improved, Preconditioning
from latentzoo.diffusion.preconditioned import Preconditioned
from latentzoo.diffusion.sampler import DDIM, Heun, require
from latentzoo.errors import CheckpointError, UnknownName
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.nn.classes import require as require_class
from latentzoo.nn.edm import Dhariwal, Plan, Song, UNet
from latentzoo.nn.edm_block import HALF, Kind
from latentzoo.nn.levels import require as require_levels
from latentzoo.options import Count, Natural, Positive, Share

PATHS: Mapping[str, type[Preconditioning]] = {"edm": Own, "vp": VP, "ve": VE, "iddpm": Improved}
ARCHITECTURES = ("song", "adm")


class EDM(Preconditioned):
    """Creates an EDM generator.

    Arguments:
        network: The network, from (B, C, H, W), what it is told of the noise (B,) and classes to its answer, which
            has the picture's channels first.
        class_index: The class, if the network knows any.
        chain: The arguments of `Preconditioned`.

    Raises:
        SpecError: If there is no such class.
    """

    label: Tensor | None

    def __init__(
        self, network: UNet, conditioning: Preconditioning, *, class_index: int = 0, **chain: Any
    ) -> None:
        classes = network.plan.classes
        require_class(class_index, classes)
        super().__init__(conditioning, channels=network.plan.channels, **chain)
        self.network = network
        label = F.one_hot(torch.tensor([class_index]), classes).float() if classes else None
        self.register_buffer("label", label, persistent=False)

    def predict(self, x: Tensor, time: Tensor) -> Tensor:
        label = None if self.label is None else self.label.expand(len(x), -1)
        return self.network(x, time, label)[:, : self.channels]


def build(
    *,
    resolution: Count,
    width: Count,
    mult: Sequence[Count],
    depth: Count,
    attention: Collection[Count],
    architecture: str = "song",
    features: Count | None = None,
    noise: Count | None = None,
    channels: Count = 3,
    learned: bool = False,
    classes: Natural = 0,
    head_width: Count | None = None,
    fourier: bool = False,
    aside: str | None = None,
    pictures: str = "last",
    taps: Count = 2,
    path: str = "edm",
    scales: Mapping[str, float] | None = None,
    sampler: str = "heun",
    steps: Count = 18,
    sigma_min: Positive = 0.002,
    sigma_max: Positive = 80.0,
    rho: Positive = 7.0,
    eta: Share = 0.0,
    class_index: Natural = 0,
    clip: bool = False,
    white_box_steps: Natural | None = None,
    seed: Natural = 0,
    recompute: Recompute = "auto",
) -> EDM:
    """Creates an EDM generator.

    Arguments:
        resolution: The picture's side in pixels.
        width: The number of channels that `mult` multiplies.
        mult: The multiple at each level.
        depth: The number of blocks per level.
        attention: The sides at which blocks have attention.
        architecture: "song" (DDPM++, NCSN++) or "adm".
        features: The number of features of noise and class; None for four times the width.
        noise: The number of waves that tell the noise; None for the width.
        channels: The number of the pictures' channels: 3, or 1 where they are grey.
        learned: Whether the network also answers with variances, which are not used.
        classes: The number of classes; 0 if there are none.
        head_width: The number of channels of each head; None for one head.
        fourier: Whether the waves of "song" have random frequencies (NCSN++).
        aside: What runs beside the way down of "song": None, "skip" or "residual" (NCSN++).
        pictures: Where "song" makes the picture: at the "last" level, or at "all" of them.
        taps: The length of the filter of resampling.
        path: How the network is asked and read: "edm", "vp", "ve" or "iddpm".
        scales: The numbers of that path, see `diffusion.precondition`; those that are not given are the authors'.
        sampler: "heun" (second order), or "ddim" (Euler's rule, or ancestral steps for `eta` > 0).
        steps: The number of noises; the network is asked 2 N - 1 times by heun.
        sigma_min: The lowest noise, where the network knows it.
        sigma_max: The highest noise, where the network knows it.
        rho: How dense the noises are at the low end.
        eta: How much of each DDIM step is fresh noise, in [0, 1].
        class_index: The class.
        clip: Whether predicted pictures are clipped, which stops gradients where it acts.
        white_box_steps: How many noises are latent, the first ones; None for all.
        seed: The seed of the others.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        SpecError: If an option is out of range.
        UnknownName: If there is no such path, sampler, architecture, or number of a path.
    """
    for kind, name, known in (
        ("path", path, PATHS),
        ("architecture", architecture, ARCHITECTURES),
    ):
        if name not in known:
            raise UnknownName(kind, name, known)
    require(sampler, eta, known=("heun", "ddim"))
    plan = Plan(
        side=resolution,
        channels=channels,
        outputs=channels * (2 if learned else 1),
        width=width,
        mult=mult,
        depth=depth,
        attention=attention,
        noise=noise or width,
        classes=classes,
        kind=Kind(
            features=features or 4 * width,
            modulate=architecture == "adm",
            head_width=head_width,
            taps=taps,
        ),
    )
    song = lambda: Song(plan, fourier=fourier, aside=aside, pictures=pictures)
    network = Dhariwal(plan) if architecture == "adm" else song()
    conditioning = conditioned(path, scales or {})
    return EDM(
        network,
        conditioning,
        class_index=class_index,
        size=require_levels((resolution, resolution), len(mult)),
        clip=clip,
        pairs=conditioning.chain(sigma_min, sigma_max, steps, rho),
        sampler=DDIM(eta) if sampler == "ddim" else Heun(),
        white_box_steps=white_box_steps,
        seed=seed,
        recompute=recompute,
    )


def conditioned(path: str, scales: Mapping[str, float]) -> Preconditioning:
    """The preconditioning of a path with its numbers.

    Raises:
        UnknownName: If the path has no number of a name.
        SpecError: If one is no number.
    """
    known = opts.parameters(PATHS[path])
    opts.check(scales, known, owner=f"the path '{path}'", shown="latentzoo show edm")
    return PATHS[path](**scales)


KEYS: dict[str, Callable[[EDM], list[Rule]]] = {
    dialect: lambda _, at=at: [
        Rule("u", None),
        Rule(f"{at}map_augment.weight", None),
        Rule(f"{at}{{x*}}", "network.{x}"),
    ]
    for dialect, at in (("official", "model."), ("network", ""))
}
"""The tables of improved DDPM are computed here; how a training picture was augmented is told no network that draws."""

NUMBERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "EDMPrecond": (
        "edm",
        {"data": "sigma_data", "lowest": "sigma_min", "highest": "sigma_max"},
    ),
    "VPPrecond": (
        "vp",
        {"beta_d": "beta_d", "beta_min": "beta_min", "times": "M", "start": "epsilon_t"},
    ),
    "VEPrecond": ("ve", {"lowest": "sigma_min", "highest": "sigma_max"}),
    "iDDPMPrecond": ("iddpm", {"times": "M", "floor": "C_1", "offset": "C_2"}),
}
"""The path of each of the authors' wrappers, and what it calls the numbers of it."""


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the network from names and shapes, and the rest from the records of NVIDIA's pickles.

    Raises:
        CheckpointError: If the file says what is not understood.
    """
    shapes = checkpoint.shapes
    at = "model." if "model.map_layer0.weight" in shapes else ""
    inner = {n.removeprefix(at): s for n, s in shapes.items() if n.startswith(at)}
    first = next((m for n in inner if (m := re.fullmatch(r"enc\.(\d+)x\1_conv\.weight", n))), None)
    if first is None or "map_layer1.weight" not in inner:
        return None
    config = read_plan(inner, int(first[1]))
    modules = checkpoint.records.get("modules", {})
    assumed, why = {}, "as in the authors' files of this kind"
    if "class" in modules.get("", {}):
        config |= read_path(modules[""])
    else:
        path = config["path"] = "iddpm" if "u" in shapes else "edm"
        assumed |= {"path": f"{path}, {why}", "scales": f"the numbers of the authors' {path}"}
    if blocks := [m for m in modules.values() if "num_heads" in m and "skip_scale" in m]:
        config["head_width"] = read_heads(blocks, adm=config["architecture"] == "adm")
    else:
        config["head_width"], said = (
            (64, "64") if config["architecture"] == "adm" else (None, "one head")
        )
        assumed["head_width"] = f"{said}, {why}"
    return {"config": config, "keys": "official" if at else "network", "assumed": assumed}


def read_plan(shapes: Mapping[str, tuple[int, ...]], side: int) -> dict[str, Any]:
    """The arguments of `build` that names and shapes tell.

    Raises:
        CheckpointError: If a level has no whole multiple of the width.
    """
    sides = [side]
    while f"enc.{sides[-1] // 2}x{sides[-1] // 2}_down.conv0.weight" in shapes:
        sides.append(sides[-1] // 2)
    features, noise = shapes["map_layer0.weight"]
    adm, conv = "out_norm.weight" in shapes, shapes[f"enc.{side}x{side}_conv.weight"]
    width = noise if adm else conv[0]
    out = shapes["out_conv.weight" if adm else f"dec.{side}x{side}_aux_conv.weight"][0]
    rows = [shapes[f"enc.{s}x{s}_block0.conv0.weight"][0] for s in sides]
    if any(n % width for n in rows):
        raise CheckpointError(f"the levels' channels, {rows}, are no multiples of {width}")
    some = lambda part: any(n.split(".")[1].endswith(part) for n in shapes if n.count(".") > 1)
    filters = (shape for name, shape in shapes.items() if name.endswith("resample_filter"))
    return {
        "resolution": side,
        "width": width,
        "mult": [n // width for n in rows],
        "depth": sum(
            re.fullmatch(rf"enc\.{side}x{side}_block\d+\.conv0\.weight", n) is not None
            for n in shapes
        ),
        "attention": [s for s in sides if f"enc.{s}x{s}_block0.qkv.weight" in shapes],
        "architecture": "adm" if adm else "song",
        "features": features,
        "noise": noise,
        "channels": conv[1],
        "learned": out == 2 * conv[1],
        "classes": shapes.get("map_label.weight", (0, 0))[1],
        "fourier": "map_noise.freqs" in shapes,
        "aside": "residual" if some("_aux_residual") else "skip" if some("_aux_skip") else None,
        "pictures": "all"
        if f"dec.{sides[-1]}x{sides[-1]}_aux_norm.weight" in shapes and len(sides) > 1
        else "last",
        "taps": next(filters, (2,))[-1],
    }


def read_path(record: Mapping[str, Any]) -> dict[str, Any]:
    """The path of a file's wrapper, and its numbers.

    Raises:
        CheckpointError: If the wrapper is none of the authors'.
    """
    kind = record["class"]
    if kind not in NUMBERS:
        raise CheckpointError(
            f"the network is asked and read by {kind}, which is not known; known: {', '.join(NUMBERS)}"
        )
    path, names = NUMBERS[kind]
    told = {ours: record[name] for ours, name in names.items() if name in record}
    return {"path": path, "scales": {k: v for k, v in told.items() if math.isfinite(v)}}


def read_heads(blocks: Sequence[Mapping[str, Any]], *, adm: bool) -> int | None:
    """How the heads of a file's blocks are cut; the blocks must otherwise be the authors'.

    Raises:
        CheckpointError: If they are others.
    """
    scale = 1.0 if adm else HALF
    if any(abs(m["skip_scale"] - scale) > 1e-6 or m["adaptive_scale"] is not adm for m in blocks):
        raise CheckpointError(
            "the network's blocks add their features, or scale their sums, in a way of their own"
        )
    heads = {
        (m["num_heads"], m["out_channels"] // m["num_heads"]) for m in blocks if m["num_heads"]
    }
    if {count for count, _ in heads} == {1}:
        return None
    widths = {width for _, width in heads}
    if len(widths) > 1:
        raise CheckpointError(f"the network's heads have different widths: {sorted(widths)}")
    return widths.pop() if widths else None
