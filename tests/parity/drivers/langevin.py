"""Driver of the cards of the paper's chain: our unadjusted Langevin kernel on their stub generator and energy."""

from typing import Any

import torch
from torch import Tensor, nn

from latentzoo.energies.base import Function
from latentzoo.generator import Generator
from latentzoo.hub.keys import Rule
from latentzoo.kernels.ula import ULA
from latentzoo.posterior import Posterior
from latentzoo.rng import Rng
from latentzoo.run.walk import Walk
from latentzoo.space import Space


class Stub(Generator):
    """x = tanh(z W^T), as an image of one row."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.space, self.size = Space(z=(weight.shape[1],)), (1, weight.shape[0])
        self.register_buffer("weight", weight)

    def forward(self, z: Tensor) -> Tensor:
        return (z @ self.weight.T).tanh()[:, None, None, :].expand(-1, 3, -1, -1)


class Recorded(Rng):
    """A stream whose normal draws were recorded."""

    def __init__(self, noise: Tensor) -> None:
        super().__init__(*range(noise.shape[1]))
        self.noise = iter(noise)

    def normal(self, *shape: int) -> Tensor:
        return next(self.noise)


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
    if name.startswith("prior"):
        (z,) = inputs.values()
        prior = z.requires_grad_().square().flatten(1).sum(1) / 2
        return {name: prior, f"{name}_grad": torch.autograd.grad(prior.sum(), z)[0]}
    if options["prior_weight"] != 1:
        raise NotImplementedError(
            "the prior is N(0, I): its weight is 1, as in all of the paper's experiments"
        )
    energy = Function(lambda image: (image[:, 0, 0] - inputs["target"]).square().sum(1) / 2)
    posterior = Posterior(Stub(inputs["W"]), {"energy": options["weight"] * energy})
    best = "energy" if options["metric"] else None
    walk = Walk(
        posterior,
        ULA(options["step_size"]),
        Recorded(inputs["noise"]),
        steps=options["n_steps"],
        best=best,
    )
    trajectory = [walk.begin(inputs["z0"]).state.z, *(frame.state.z for frame in walk)]
    point = posterior.evaluate(walk.z)
    prior = walk.z.square().sum(1) / 2
    out = {
        "trajectory": torch.stack(trajectory),
        "image": posterior.generator(walk.z)[:, 0, 0],
        "weighted_loss": point.phi + prior,
        "energy": point.terms[:, 0],
        "prior": prior,
    }
    if best:
        out |= {"best_z": walk.z, "best_metric": walk.least}
    return out
