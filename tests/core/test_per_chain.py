"""A target for every chain: each walks as alone under its own, in micro-batches and after others have failed."""

import pytest
import torch
from torch import Tensor

import latentzoo as lz
from latentzoo import energies, kernels
from latentzoo.energies.base import Energy, Function, PerChain
from latentzoo.errors import SpecError
from latentzoo.kernels.lowrank import Reference, Whitened
from latentzoo.posterior import Posterior
from latentzoo.rng import Rng
from latentzoo.run.walk import Walk
from latentzoo.views.orbit import EachView
from toys import Affine

SEEDS = (3, 1, 4, 15, 9)
TEXTS = ["a person with sunglasses", "a person with a yellow hat", "a bald person"]


def grey(level: float) -> Energy:
    """The squared distance to a grey, of which no picture's gradient vanishes."""
    return Function(lambda image: 0.2 * (image - level).square().sum((1, 2, 3)))


LEVELS = [grey(level) for level in (0.0, 1.0, 0.5, -1.0)]
EACH = [LEVELS[k] for k in (0, 1, 2, 0, 3)]  # grouped, the chains are not in the inverse order too


def walk(energy: Energy, kernel: str, *seeds: int, micro_batch: int | None = None) -> Tensor:
    phi = Posterior(Affine(), {"grey": 2 * energy}, micro_batch=micro_batch)
    rng = Rng(*seeds)
    walk = Walk(phi, kernels.load(kernel), rng, steps=32)
    walk.begin(rng.normal(phi.dim))
    for _ in walk:
        pass
    return walk.z


@pytest.mark.parametrize("kernel", ["ula", "mala", "slice", "tempering"])
def test_each_chain_walks_as_alone(kernel: str) -> None:
    together = walk(PerChain(EACH), kernel, *SEEDS, micro_batch=2)
    alone = [walk(energy, kernel, seed) for energy, seed in zip(EACH, SEEDS, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)
    other = walk(EACH[0], kernel, *SEEDS)
    assert not torch.allclose(together[1:], other[1:])


def test_the_others_keep_their_targets_when_a_chain_fails() -> None:
    calls = 0

    def breaks(image: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return image.mean((1, 2, 3)) * (torch.nan if calls > 3 else 1)

    together = walk(PerChain([EACH[0], Function(breaks), *EACH[2:]]), "ula", *SEEDS)
    alone = [walk(energy, "ula", seed) for energy, seed in zip(EACH, SEEDS, strict=True)]
    rest = [0, 2, 3, 4]
    torch.testing.assert_close(together[rest], torch.cat(alone)[rest], rtol=1e-4, atol=1e-5)


def test_the_algebra_selects_in_its_parts() -> None:
    image = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    each, all_alike = PerChain(EACH), grey(0.3)
    energy = 2 * (each | all_alike) + 3 * ~each + all_alike
    assert energy.chains == 5 and all_alike.chains is None
    index = torch.tensor([4, 1])
    part = energy.select(index)
    assert part.chains == 2
    torch.testing.assert_close(part(image[index]), energy(image)[index])
    assert all_alike.select(index) is all_alike
    views = EachView(each, 2)
    wide = torch.cat([image, image], 3)
    torch.testing.assert_close(views(wide), each(image))
    torch.testing.assert_close(views.select(index)(wide[index]), each(image)[index])


def test_a_preconditioned_posterior_selects_too() -> None:
    phi = Posterior(Affine(), {"grey": PerChain(EACH)})
    reference = Reference(torch.zeros(6, 0), torch.zeros(0), torch.zeros(6))
    white, index = Whitened(phi, reference), torch.tensor([3])
    z = Rng(*SEEDS).normal(6)
    torch.testing.assert_close(
        white.select(index).evaluate(z[index]).phi, white.evaluate(z).phi[index]
    )


def test_a_text_for_every_chain() -> None:
    generator = lz.load("avatar-turbo")
    each = lz.Clip(TEXTS, "avatar-clip", per_chain=True, copies=2)
    z = Rng(0, 1, 2).normal(generator.space.dim)
    image = generator(z)
    alone = [lz.Clip(text, each.model, copies=2)(image)[i] for i, text in enumerate(TEXTS)]
    torch.testing.assert_close(each(image), torch.stack(alone))
    whole, parts = (Posterior(generator, {"text": 9 * each}, micro_batch=m) for m in (None, 2))
    a, b = whole.evaluate(z), parts.evaluate(z)
    torch.testing.assert_close(a.phi, b.phi)
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-5)
    words = energies.load("clip", " | ".join(TEXTS), model="avatar-clip", per_chain=True)
    torch.testing.assert_close(words.target, each.target)


def test_what_cannot_be_meant_is_said() -> None:
    phi = Posterior(Affine(), {"grey": PerChain(EACH)})
    with pytest.raises(SpecError, match="give chains=5"):
        lz.sample(phi, chains=4, steps=3)
    with pytest.raises(SpecError, match="resampling draws chains from each other"):
        lz.sample(
            Posterior(Affine(), {"g": PerChain(EACH * 16)}), chains=80, steps=9, kernel="smc"
        )
    with pytest.raises(SpecError, match="3 and 5 chains"):
        Posterior(Affine(), {"a": PerChain(EACH), "b": PerChain(EACH[:3])})
    with pytest.raises(SpecError, match="plain energy"):
        PerChain([PerChain(EACH)])
    with pytest.raises(SpecError, match="5 chains and 2 pictures"):
        PerChain(EACH)(torch.zeros(2, 3, 4, 4))
    assert lz.sample(phi, chains=5, steps=3, kernel="ula").z.shape == (5, 6)
