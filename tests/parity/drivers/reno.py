"""Driver of the card of ReNO's loop: our kernel on the same stub generator and rewards, in units of phi."""

from typing import Any

import torch
from torch import Tensor, nn

from latentzoo.hub.keys import Rule
from latentzoo.kernels.reno import Reno
from latentzoo.kernels.types import Function
from latentzoo.rng import Rng


def build(config: dict[str, Any]) -> nn.Module:
    return nn.Identity()


def rules(network: nn.Module, config: dict[str, Any]) -> list[Rule]:
    return []


def call(
    network: nn.Module,
    name: str,
    inputs: dict[str, Tensor],
    options: dict[str, Any],
    config: dict[str, Any],
) -> dict[str, Tensor]:
    W, A, B, z = inputs.values()
    unit = options["regularization_weight"]  # of their loss; the prior's weight is 1 in phi
    kernel = Reno(options["lr"] * unit, options["momentum"], options["grad_clip"] / unit)

    def loss(z: Tensor) -> Tensor:
        x, weight = (z @ W.T).sigmoid(), options["weights"]
        near = (x - A.sigmoid()).square().sum(1)
        along = 1 - torch.cosine_similarity(x, B[None], 1)
        return weight["near"] * near + weight["along"] * along

    phi, rng = Function(lambda z: loss(z) / unit), Rng(0)
    state = kernel.init(phi, z, rng)
    states = [state]
    for _ in range(options["n_iters"] - 1):
        state, _ = kernel.step(phi, state, rng)
        states.append(state)
    trajectory = torch.cat([s.z for s in states])
    return {f"trajectory_{name}": trajectory, f"best_{name}": loss(trajectory).min()}
