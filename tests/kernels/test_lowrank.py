"""Whitening changes coordinates only, helps where few directions matter, and else abstains."""

import torch
from torch import Tensor

from latentzoo.kernels.ghmc import GHMC
from latentzoo.kernels.lowrank import Reference, Whitened, fit, pilot
from latentzoo.kernels.types import Function
from latentzoo.rng import Rng
from latentzoo.walk import Walk

DIM, INFORMED = 48, 8
BASIS = torch.linalg.qr(torch.linspace(0, 7, DIM * DIM).double().sin().view(DIM, DIM))[0]
KAPPA = torch.logspace(1, 3, INFORMED, dtype=torch.float64)


def stiff(z: Tensor) -> Tensor:
    return (KAPPA * (z @ BASIS[:, :INFORMED] - 0.5).square()).sum(1) / 2


def exact(rng: Rng, times: int) -> Tensor:
    """Samples of the posterior, (T, B, D)."""
    y = rng.normal(times, DIM).transpose(0, 1)
    y[..., :INFORMED] = 0.5 * KAPPA / (1 + KAPPA) + y[..., :INFORMED] * (1 + KAPPA).rsqrt()
    return y @ BASIS.T


def fitted(phi: Function, z: Tensor) -> Reference | None:
    return fit(z, torch.stack([phi.evaluate(x).grad for x in z]))


def test_whitened_coordinates_are_the_same_posterior() -> None:
    phi, rng = Function(stiff), Rng(*range(16), dtype=torch.float64)
    reference = fitted(phi, exact(rng, 20))
    assert reference is not None
    z = rng.normal(DIM)
    w = reference.whiten(z)
    assert torch.allclose(reference.latent(w), z, atol=1e-12)
    white, plain = Whitened(phi, reference).evaluate(w), phi.evaluate(z)
    density = lambda point: point.phi + point.z.square().sum(1) / 2
    assert torch.allclose(density(white), density(plain), rtol=1e-12)
    u = w.clone().requires_grad_()
    value = stiff(reference.latent(u)) + reference.latent(u).square().sum(1) / 2
    (slope,) = torch.autograd.grad((value - u.square().sum(1) / 2).sum(), u)
    assert torch.allclose(white.grad, slope, atol=1e-9)


def test_a_pilot_from_the_prior_makes_the_steps_longer_and_the_posterior_the_same() -> None:
    phi, rng = Function(stiff), Rng(*range(64), dtype=torch.float64)
    reference, z = pilot(phi, rng.normal(DIM), rng, steps=100)
    assert reference is not None
    steps = []
    for potential, start in [(phi, z), (Whitened(phi, reference), reference.whiten(z))]:
        kernel = GHMC(ramp=0.0)
        walk = Walk(potential, kernel, Rng(*range(64), dtype=torch.float64), steps=120)
        walk.begin(start)
        list(walk)
        assert walk.trace.accept[60:].mean() > 0.7 and (walk.trace.beta[1:] == 1).all()
        steps.append(walk.trace.step_size[-1, 0])
    assert steps[1] > 5 * steps[0]
    end = stiff(reference.latent(walk.z))
    off2 = (0.5 / (1 + KAPPA)).square()
    truth = (KAPPA * (1 / (1 + KAPPA) + off2)).sum() / 2
    assert abs(end.mean() - truth) < 4 * end.std() / len(end) ** 0.5


def test_it_abstains_where_the_informed_directions_are_many() -> None:
    rng = Rng(*range(8))
    z = rng.normal(4, 400).transpose(0, 1)
    assert fit(z, 3 * z) is None
