"""The authors' files of NVAE: the names of their tensors, and what they tell of the settings."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule, prefixed
from latentzoo.zoo.nvae.cells import Cell
from latentzoo.zoo.nvae.map import NVAE
from latentzoo.zoo.nvae.network import NVAEDecoder

ENCODER = ("stem.", "pre_process.", "enc_tower.", "enc0.", "enc_sampler.", "nf_cells.")


def official(generator: NVAE, kernel: str = "weight_normalized") -> list[Rule]:
    """The names of the official files, where the decoder's cells and groups are numbered in one row.

    Kernels without a norm have two names there; where the two differ, the official code uses the later one.
    """
    network = generator.network
    twin = "weight" if kernel == "weight_normalized" else "weight_normalized"
    rules = [
        *(Rule(f"{part}{{x*}}", None) for part in ENCODER),
        Rule("{x*}.num_batches_tracked", None),
        Rule("prior_ftr0", "constant"),
        Rule("dec_sampler.{g}.1.{x}", "prior.{g}.{x}"),
        Rule("image_conditional.1.{x}", "out.{x}"),
    ]
    post = [f"post.{n}" for n in range(len(network.post))]
    for row, names in (("dec_tower", tower(network)), ("post_process", post)):
        for n, name in enumerate(names):
            unit = network.get_submodule(name)
            parts = (
                cell(unit, kernel, twin) if isinstance(unit, Cell) else [Rule("conv.{x}", "{x}")]
            )
            rules += prefixed(f"{row}.{n}.", parts, f"{name}.")
    return prefixed("", rules, "network.")


def tower(network: NVAEDecoder) -> Iterator[str]:
    """Names the decoder's cells and combinations in the order of execution."""
    for g in range(len(network.combine)):
        if g > 0:
            cells = network.between[g - 1].named_children()
            yield from (f"between.{g - 1}.{n}" for n, _ in cells)
        yield f"combine.{g}"


def cell(unit: Cell, kernel: str, twin: str) -> Iterator[Rule]:
    """The rules of one cell; its doubling of the sides counts as a module."""
    n = 0 if unit.skip is None else 1
    yield Rule("skip.1.{x}", "skip.{x}")
    yield Rule(f"_ops.0.conv.{n}.bn.{{x}}", "norms.0.{x}")
    for k, ours in ((1, "expand"), (2, "depthwise")):
        yield Rule(f"_ops.0.conv.{n + k}.conv.0.{kernel}", f"{ours}.weight")
        yield Rule(f"_ops.0.conv.{n + k}.conv.0.{twin}", None)
        yield Rule(f"_ops.0.conv.{n + k}.conv.1.{{x}}", f"norms.{k}.{{x}}")
    yield Rule(f"_ops.0.conv.{n + 3}.{kernel}", "contract.weight")
    yield Rule(f"_ops.0.conv.{n + 3}.{twin}", None)
    yield Rule(f"_ops.0.conv.{n + 4}.bn.{{x}}", "norms.3.{x}")
    yield Rule("se.se.0.{x}", "gate.squeeze.{x}")
    yield Rule("se.se.2.{x}", "gate.excite.{x}")


KEYS: dict[str, Callable[[NVAE], list[Rule]]] = {
    "official": official,
    "single": partial(official, kernel="weight"),
}
"""`single` are files whose kernels have one name each."""


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the configuration of an NVAE file from the names and shapes of its tensors."""
    shapes = {name: tensor.shape for name, tensor in checkpoint.tensors.items()}
    if not shapes.keys() >= {"prior_ftr0", "dec_tower.0.conv.weight", "image_conditional.1.bias"}:
        return None
    kinds = {"conv.weight": "g", "skip.1.weight": "/", "_ops.0.conv.0.bn.weight": "c"}
    row = lambda part: "".join(
        kind
        for n in range(len(shapes))
        for name, kind in kinds.items()
        if f"{part}.{n}.{name}" in shapes
    )
    decoder, post = row("dec_tower").split("/"), row("post_process").split("/")[1:]
    width, side, _ = shapes["prior_ftr0"]
    latents = shapes["dec_tower.0.conv.weight"][1] - width
    if width < 1 or latents < 1:
        return None
    parameters = shapes["image_conditional.1.bias"][0]
    config = {
        "groups": [scale.count("g") for scale in decoder],
        "width": width,
        "side": side,
        "latents": latents,
        "cells": max(map(len, "".join(decoder).split("g"))),
        "post": [len(scale) + 1 for scale in post],
        "components": max(1, parameters // 10),
        "channels": 1 if parameters == 1 else 3,
        "gated": "post_process.0.se.se.0.weight" in shapes,
    }
    twins = any(name.endswith(".weight_normalized") for name in shapes)
    return {"config": config, "keys": "official" if twins else "single"}
