"""The two-head U-Net of Extended Analytic-DPM, its reverse steps, chains and encoder."""

from typing import Any

import torch
from torch import Tensor

from latentzoo.diffusion import encode, reverse
from latentzoo.diffusion.parametrisation import from_x0
from latentzoo.diffusion.schedule import Discrete, linear_betas
from latentzoo.hub.keys import Rule
from latentzoo.zoo import sn_dpm
from latentzoo.zoo.sn_dpm import SNDPM


def build(config: dict[str, Any]) -> SNDPM:
    names = {"ch", "ch_mult", "num_res_blocks", "attn_resolutions", "resolution", "mode"}
    network = {k: v for k, v in config["model"].items() if k in names}
    head = "eps2" if config["model"].get("head_out_ch") else "none"
    return sn_dpm.build(N=config["N"], head=head, **network)


def rules(network: SNDPM, config: dict[str, Any]) -> list[Rule]:
    return sn_dpm.KEYS["official"](network)


def manifest(config: dict[str, Any]) -> tuple[SNDPM, list[Rule]]:
    network = build(config)
    return network, rules(network, config)


def call(
    network: SNDPM,
    name: str,
    inputs: dict[str, Tensor],
    options: dict[str, Any],
    config: dict[str, Any],
) -> dict[str, Tensor]:
    schedule = Discrete.from_betas(linear_betas(n=config["N"]))
    end = options.get("suffix", "")
    if name.startswith("heads"):
        time = (inputs["n_in"] - 1) * network.unit
        both = network.network(inputs["x_in"], time)
        return {"head1": both[:, :3], "head2": both[:, 3:]}
    if "sample_steps" not in options:
        actor = sampler(network, schedule, options, clip_pixel=0)
        p = actor.step(inputs["x_in"], *schedule.levels([options["t"] - 1, options["s"] - 1]))
        return {f"mean{end}": p.mean, f"var{end}": torch.as_tensor(p.std) ** 2}
    actor = sampler(network, schedule, options, steps=options["sample_steps"])
    if name.startswith("schedule"):
        return levels(actor)
    if name.startswith("dpm"):
        return codes(actor, inputs, end)
    z = inputs["z"].requires_grad_()
    image = actor(z)
    if name.startswith("grad"):
        (gradient,) = torch.autograd.grad((image * inputs["probe"]).sum(), z)
        return {"grad_z": gradient, name.replace("grad", "grad_z"): gradient}
    return {f"image{end}": image}


def sampler(network: SNDPM, schedule: Discrete, options: dict[str, Any], **changes: Any) -> SNDPM:
    """The same network under the sampler that a call asks for."""
    names = {"forward_type", "eta", "clip_pixel"}
    chosen = {k: v for k, v in options.items() if k in names}
    chosen["head"] = options.get("typ", "eps_eps2").removeprefix("eps_")
    chosen["clip_index"] = options.get("clip_sigma_idx", 1)
    return SNDPM(network.network, schedule, **(chosen | changes))


def levels(actor: SNDPM) -> dict[str, Tensor]:
    """The schedule's numbers along the chain, from the picture on."""
    rising = [(s, t) for t, s in reversed(actor.pairs)]
    all_levels = [rising[0][0], *(t for _, t in rising)]
    alpha2 = [level.alpha**2 for level in all_levels]
    return {
        "steps": torch.tensor([level.time + 1 for level in all_levels]),
        "cum_alphas": torch.tensor(alpha2),
        "skip_betas": torch.tensor([1 - t.alpha**2 / s.alpha**2 for s, t in rising]),
        "tilde_beta": torch.tensor([reverse.posterior_std(t, s) ** 2 for s, t in rising]),
    }


def codes(actor: SNDPM, inputs: dict[str, Tensor], end: str) -> dict[str, Tensor]:
    """An image's latent by given noises, the last state before the image, and the image again."""
    x_0, noises = 2 * inputs["img01"] - 1, inputs["q_noises"].unbind(1)
    draws = iter(noises)
    x_T, eps = encode.stochastic(
        x_0, actor.step, actor.pairs, draw=lambda: next(draws), eta=actor.eta
    )
    z = actor.space.join(start=x_T, noise=torch.stack(eps, dim=1))
    x_t = reverse.forward(x_0, actor.pairs[0][0]).push(noises[0])
    for (t, s), noise in zip(actor.pairs[:-1], noises[1:], strict=True):
        x_t = reverse.ddim(from_x0(x_0, x_t, t), t, s, eta=actor.eta).push(noise)
    return {f"z_enc{end}": z, f"x1_enc{end}": x_t, f"recon{end}": actor(z)}
