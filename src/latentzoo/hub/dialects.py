"""The dialects in which several families' files name a style-based generator.

Users: `nvidia`: StyleGAN2(-ADA), EG3D; `rosinality`: StyleGAN2, StyleSDF, GIRAFFE-HD.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from latentzoo.hub.keys import Rule, prefixed

PASCAL = (1.0, 3.0, 3.0, 1.0)


def binomial(taps: Tensor) -> bool:
    """Whether a filter (4, 4) is (1, 3, 3, 1) on both axes, of gain 1, or 4 where zeros are between the pixels.

    A file of float8 holds it rounded, as it does its weights.
    """
    row = torch.tensor(PASCAL, dtype=torch.float64)
    unit = torch.outer(row, row) / row.sum() ** 2
    given, held = taps.double(), lambda gain: (gain * unit).to(taps.dtype).double()
    near = lambda gain: torch.allclose(given, held(gain), rtol=1e-3, atol=1e-4)
    return given.shape == unit.shape and (near(1.0) or near(4.0))


def nvidia(theirs: str = "", ours: str = "", mean: str | None = None) -> list[Rule]:
    """The rules for NVIDIA's names of `w_avg`, with its pattern, `mapping` and `synthesis`, below prefixes."""
    rules = [
        Rule("{x*}.resample_filter", None, known=binomial),
        Rule("mapping.w_avg", "w_avg", mean),
        Rule("synthesis.b4.const", "synthesis.const"),
        Rule("{network}.{x*}", "{network}.{x*}"),
    ]
    return prefixed(theirs, rules, ours)


def rosinality(blocks: Iterable[str], theirs: str = "", ours: str = "synthesis.") -> list[Rule]:
    """The rules for rosinality's names of a synthesis network, below prefixes.

    Arguments:
        blocks: Our names of the blocks, from the lowest resolution on.
        theirs: The prefix of their names.
        ours: The prefix of our names.
    """
    rules = [
        Rule("{x*}.kernel", None, known=binomial),
        Rule("input.input", "const", "1 c h w -> c h w"),
    ]
    k = 0
    for n, name in enumerate(blocks):
        rules += _rosinality_layer("to_rgb1" if n == 0 else f"to_rgbs.{n - 1}", f"{name}.torgb")
        convs = (
            {"conv1": "conv1"}
            if n == 0
            else {f"convs.{2 * n - 2 + j}": f"conv{j}" for j in range(2)}
        )
        for conv, layer in convs.items():
            rules += _rosinality_layer(conv, f"{name}.{layer}")
            rules.append(
                Rule(f"noises.noise_{k}", f"{name}.{layer}.noise_const", "1 1 h w -> h w")
            )
            k += 1
    return prefixed(theirs, rules, ours)


def _rosinality_layer(theirs: str, ours: str) -> Iterator[Rule]:
    yield Rule(f"{theirs}.conv.weight", f"{ours}.weight", "1 o i h w -> o i h w")
    yield Rule(f"{theirs}.conv.modulation.{{t}}", f"{ours}.affine.{{t}}")
    yield Rule(f"{theirs}.noise.weight", f"{ours}.noise_strength", "1 ->")
    yield Rule(f"{theirs}.activate.bias", f"{ours}.bias")
    yield Rule(f"{theirs}.bias", f"{ours}.bias", "1 c 1 1 -> c")
