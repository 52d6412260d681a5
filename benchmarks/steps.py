"""What `peers.py` measures of steps of a diffusion: what each keeps for the gradient, and what is computed again."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

import latentzoo as lz
from latentzoo.builtin.ldm import LatentDiffusion
from latentzoo.builtin.networks import blocks
from latentzoo.diffusion.kept import Kept
from latentzoo.diffusion.memory import Recompute, fold
from latentzoo.nn import adm
from loads import Turn, gradient, latent_diffusion, peak

Step = Callable[[Tensor, int], Tensor]


def steps(name: str, recompute: Recompute, chains: int = 1) -> Turn:
    """The gradient of 10 steps of a built-in diffusion."""
    generator = lz.load(name, steps=10, recompute=recompute)
    return gradient(generator, torch.randn(chains, generator.space.dim))


def wide(recompute: Recompute) -> Turn:
    """The gradient of 3 steps of the U-Net with attention, of width 96."""
    step = network()
    return gradient(lambda x: fold(step, x, range(3), recompute=recompute), START)


def narrow(recompute: Recompute) -> Turn:
    """The gradient of 3 steps of the U-Net of the built-in latent diffusion."""
    step, x = avatars()
    return gradient(lambda x: fold(step, x, range(3), recompute=recompute), x)


def selective(step: Step, x: Tensor) -> Turn:
    """The same with torch's selective checkpoints, which keep what products, convolutions and attention give."""
    attend = scaled_dot_product_attention
    # Ours has a gradient of its own, which they do not see through.
    adm.attend = blocks.attend = lambda *qkv: attend(*(x.contiguous() for x in qkv))
    aten = torch.ops.aten
    dear = {aten.convolution.default, aten.mm.default, aten.addmm.default, aten.bmm.default}
    dear |= {aten._scaled_dot_product_flash_attention_for_cpu.default}

    def policy(context: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        return CheckpointPolicy.MUST_SAVE if op in dear else CheckpointPolicy.PREFER_RECOMPUTE

    def contexts() -> Any:
        return create_selective_checkpoint_contexts(policy)

    def run(x: Tensor) -> Tensor:
        for i in range(3):
            x = checkpoint(step, x, i, use_reentrant=False, context_fn=contexts)
        return x

    return gradient(run, x)


def kept(*, lean: bool) -> Turn:
    """The MB that one step of it keeps for the gradient."""
    step = network()

    def turn() -> float:
        one, two = Kept(), Kept()
        with one.step(lean=lean):
            step(START.clone().requires_grad_(), 0)
        with two.step(lean=lean):
            fold(step, START.clone().requires_grad_(), range(2), recompute=False)
        return (two.last - one.last) / 2**20  # the weights are the same for both

    return turn


def at_peak(turn: Turn) -> Turn:
    """The MB by which a turn raises the most memory that a process of its own holds."""
    return lambda: peak(turn) / 2**10


def network() -> Step:
    """A step with the U-Net of width 96, with random weights of which none is zero."""
    model = latent_diffusion()
    for weights in model.parameters():
        if not weights.any():
            nn.init.normal_(weights, std=0.02)
    return lambda x, i: x + 0.1 * model.eps(x, torch.full((1,), 100.0 * i))


def avatars() -> tuple[Step, Tensor]:
    """A step with the U-Net of the built-in latent diffusion, and a start."""
    network = cast(LatentDiffusion, lz.load("avatar-ldm")).denoiser
    return lambda x, i: x + 0.1 * network(x, torch.full((1,), 0.1 * i)), torch.randn(1, 4, 16, 16)


START = torch.randn(1, 3, 64, 64)
