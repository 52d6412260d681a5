"""The posterior: weighted terms, micro-batches, and energies that cannot be used."""

import pytest
import torch

import latentzoo as lz
from latentzoo.errors import EnergyError, SpecError
from toys import Affine, Bright


def test_phi_is_the_weighted_sum_and_terms_stay_apart(affine: Affine, bright: Bright) -> None:
    dark = lz.Function(lambda image: image.square().mean((1, 2, 3)))
    target = lz.Posterior(affine, {"light": 3 * (2 * bright + 0.5 * dark), "dark": dark})
    z = lz.Rng(0, 1, 2).normal(affine.space.dim)
    point, image = target.evaluate(z), affine(z)
    assert target.names == ("light.0", "light.1", "dark")
    assert torch.allclose(point.terms[:, 0], bright(image))
    assert torch.allclose(point.phi, 6 * bright(image) + 2.5 * dark(image))


def test_gradient_is_that_of_phi(affine: Affine, bright: Bright) -> None:
    z = lz.Rng(0, 1).normal(affine.space.dim)
    expected = 2 * (0.5 + z @ affine.weight.T - 1) @ affine.weight
    assert torch.allclose(
        lz.Posterior(affine, {"light": 2 * bright}).evaluate(z).grad, expected, atol=1e-5
    )


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 64])
def test_micro_batches_change_memory_only(
    affine: Affine, bright: Bright, micro_batch: int
) -> None:
    z = lz.Rng(*range(5)).normal(affine.space.dim)
    whole = lz.Posterior(affine, {"light": bright}).evaluate(z)
    parts = lz.Posterior(affine, {"light": bright}, micro_batch=micro_batch).evaluate(z)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(whole, parts, strict=True))


def test_micro_batches_bound_the_batch_that_networks_see(affine: Affine) -> None:
    seen = []
    energy = lz.Function(lambda image: (seen.append(len(image)), image.sum((1, 2, 3)))[1])
    lz.Posterior(affine, {"e": energy}, micro_batch=4).evaluate(torch.zeros(10, affine.space.dim))
    assert seen == [4, 4, 2]


def test_no_graph_is_left(affine: Affine, bright: Bright) -> None:
    point = lz.Posterior(affine, {"light": bright}).evaluate(torch.zeros(1, affine.space.dim))
    assert not any(field.requires_grad for field in point)


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        (
            lambda image: image.mean(),
            r"'odd' returned shape \(\) for 2 images; return one number per image",
        ),
        (
            lambda image: image.detach().sum((1, 2, 3)),
            "'odd' does not depend on the image through autograd",
        ),
    ],
)
def test_bad_energies_are_named(affine: Affine, energy, message: str) -> None:
    target = lz.Posterior(affine, {"odd": lz.Function(energy)})
    with pytest.raises(EnergyError, match=message):
        target.evaluate(torch.zeros(2, affine.space.dim))


def test_a_detached_energy_still_serves_kernels_without_gradients(affine: Affine) -> None:
    target = lz.Posterior(
        affine, {"odd": lz.Function(lambda image: image.detach().sum((1, 2, 3)))}
    )
    assert target.evaluate(torch.zeros(2, affine.space.dim), gradient=False).grad.shape == (2, 0)


@pytest.mark.parametrize("weight", [-1.0, float("inf"), float("nan")])
def test_weights_are_finite_and_not_negative(bright: Bright, weight: float) -> None:
    with pytest.raises(SpecError, match="finite and not negative"):
        weight * bright


def test_restricted_varies_only_its_blocks(affine: Affine) -> None:
    rest = lz.Rng(7).normal(affine.space.dim)[0]
    part = lz.Restricted(affine, ("style",), rest)
    style = rest[affine.space.mask("style")][None]
    assert torch.allclose(part(style), affine(rest[None]))
    assert part.space == lz.Space(style=(4,))
