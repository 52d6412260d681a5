"""Operators of deepinv: the energy and its gradient against the package's own operator and adjoint, in 64 bits."""

import pytest
import torch

import latentzoo as lz
from latentzoo.errors import SpecError

SIDE = (3, 16, 16)
KINDS = {
    "downsampling": lambda P: P.Downsampling(img_size=SIDE, factor=2),
    "inpainting": lambda P: P.Inpainting(SIDE, mask=0.5),
    "blur": lambda P: P.Blur(filter=P.blur.gaussian_blur(sigma=1.0)),
    "sensing": lambda P: P.CompressedSensing(m=10, img_size=SIDE, dtype=torch.float64),
    "colour": lambda P: P.Decolorize(),
    "tomography": lambda P: P.Tomography(img_width=16, angles=5),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_energy_and_gradient_are_those_of_the_operator(kind: str) -> None:
    P = pytest.importorskip("deepinv").physics
    torch.manual_seed(0)
    exact = kind != "tomography"  # it knows 32 bits alone, and its adjoint is an approximation
    dtype = torch.float64 if exact else torch.float32
    physics = KINDS[kind](P).to(dtype)
    truth, x = torch.rand(2, 1, *SIDE, dtype=dtype)
    y = physics.A(truth) + 0.1 * torch.randn_like(physics.A(truth))
    energy = lz.measured(physics, y, sigma=0.1)
    batch = torch.cat([x, truth]).requires_grad_()
    value = energy(batch)
    residual = physics.A(batch.detach()) - y
    truth = residual.square().flatten(1).sum(1) / 0.02
    assert torch.allclose(value, truth, rtol=1e-12 if exact else 1e-5)
    gradient, adjoint = torch.autograd.grad(value.sum(), batch)[0], physics.A_adjoint(residual)
    apart = (gradient - adjoint / 0.01).norm() / gradient.norm()
    assert apart < (1e-6 if exact else 0.3)


@pytest.mark.filterwarnings("ignore")
def test_a_run_finds_what_was_measured() -> None:
    P = pytest.importorskip("deepinv").physics
    G = lz.load("avatar-gan")
    physics = P.Downsampling(
        img_size=(3, *G.size), factor=4, noise_model=P.GaussianNoise(sigma=0.05)
    )
    truth = G(lz.Rng(99).normal(G.space.dim))
    energy = lz.measured(physics, physics(truth))
    assert energy.sigma == pytest.approx(0.05)
    result = lz.sample(
        lz.Posterior(G, {"measured": energy}), chains=2, steps=30, kernel="adam", progress=False
    )
    first, last = result.trace.phi[[0, -1]].mean(1)
    assert last < first / 4


class Noisy:
    """A physics by its shape alone: what deepinv's `Physics` has."""

    noise_model = "speckle"

    def A(self, x):
        return x

    def __call__(self, x):
        return x + torch.randn_like(x)


@pytest.mark.parametrize(
    ("physics", "y", "sigma", "said"),
    [
        (torch.nn.Identity(), torch.ones(1, 3), 1.0, "no operator A"),
        (Noisy(), torch.ones(1, 3), None, "give sigma="),
        (Noisy(), torch.ones(1, 3) * 1j, 1.0, "one real tensor"),
    ],
)
def test_what_is_no_measurement_is_refused(physics, y, sigma, said) -> None:
    with pytest.raises(SpecError, match=said):
        lz.measured(physics, y, sigma)


def test_a_physics_called_as_an_operator_would_add_noise() -> None:
    with pytest.raises(SpecError, match=r"lz\.measured"):
        lz.Measure(Noisy(), torch.ones(1, 3))
