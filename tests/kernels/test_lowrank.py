"""Whitening changes coordinates only, helps where few directions matter, and else abstains."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from latentzoo import kernels
from latentzoo.diagnosis.convergence import ess_bulk
from latentzoo.errors import SpecError
from latentzoo.kernels.adapt import schedule
from latentzoo.kernels.anneal import Anneal
from latentzoo.kernels.lowrank import Reference, Whitened, fit, main_directions
from latentzoo.kernels.types import Function
from latentzoo.rng import Rng
from latentzoo.run import state as checkpoint
from latentzoo.run.walk import Walk

from . import known

DIM, INFORMED = 48, 8
BASIS = torch.linalg.qr(torch.linspace(0, 7, DIM * DIM).double().sin().view(DIM, DIM))[0]
KAPPA = torch.logspace(1, 3, INFORMED, dtype=torch.float64)


def stiff(z: Tensor) -> Tensor:
    return (KAPPA * (z @ BASIS[:, :INFORMED] - 0.5).square()).sum(1) / 2


def stiff32(z: Tensor) -> Tensor:
    return stiff(z.double()).to(z.dtype)


OFF2 = (0.5 / (1 + KAPPA)).square()
PHI = float((KAPPA * (1 / (1 + KAPPA) + OFF2)).sum() / 2)
SD = float((KAPPA**2 * (2 / (1 + KAPPA) ** 2 + 4 * OFF2 / (1 + KAPPA))).sum().sqrt() / 2)


def exact(rng: Rng, times: int) -> Tensor:
    """Samples of the posterior, (T, B, D)."""
    y = rng.normal(times, DIM).transpose(0, 1)
    y[..., :INFORMED] = 0.5 * KAPPA / (1 + KAPPA) + y[..., :INFORMED] * (1 + KAPPA).rsqrt()
    return y @ BASIS.T


def fitted(phi: Function, z: Tensor) -> Reference | None:
    return fit(z, torch.stack([phi.evaluate(x).grad for x in z]))


@pytest.mark.parametrize("chains", [12, 40, 2000])
def test_main_directions_are_those_of_the_covariance(chains: int) -> None:
    """Also where rows are more than columns, and where they are looked at in several pieces."""
    scales = torch.linspace(6, 1, 9000 if chains == 40 else DIM, dtype=torch.float64)
    grad = 3 + Rng(*range(chains), dtype=torch.float64).normal(len(scales)) * scales
    found, variance = main_directions(grad, 4)
    rows = grad - grad.mean(0)
    _, s, v = torch.linalg.svd(rows, full_matrices=False)
    count = min(4, chains // 4)
    assert torch.allclose(variance, s[:count].square() / (chains - 1), rtol=1e-10)
    assert torch.allclose((v[:count] @ found).abs(), torch.eye(count).double(), atol=1e-8)
    assert torch.allclose(found.T @ found, torch.eye(count).double(), atol=1e-10)


def test_gradients_that_do_not_differ_have_no_directions() -> None:
    alike = torch.linspace(0, 1, 20).expand(8, -1)
    assert main_directions(alike, 4)[0].shape == (20, 0)


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


def test_points_go_there_and_back() -> None:
    phi, rng = Function(stiff), Rng(*range(16), dtype=torch.float64)
    reference = fitted(phi, exact(rng, 20))
    assert reference is not None
    white, point = Whitened(phi, reference), phi.evaluate(rng.normal(DIM))
    back = white.plain(white.seen(point, reference.whiten(point.z)))
    assert all(torch.allclose(x, y, atol=1e-8) for x, y in zip(back, point, strict=True))


def test_the_default_learns_a_reference_and_its_steps_grow() -> None:
    """Curvatures of 10 to 1000 in 8 of 48 coordinates: eight times as many draws and as long steps."""
    found = {}
    for switch in ("none", "auto"):
        walk = known.walked(stiff32, Anneal(precondition=switch), *range(32), dim=DIM, steps=200)
        found[switch] = walk.trace.step_size[140, 0], ess_bulk(walk.trace.norm2[126:])
        error = (walk.trace.phi[150:].mean() - PHI) / SD
        assert abs(error) < 0.5 and walk.trace.accept[151:].mean() > 0.7
    assert found["auto"][0] > 8 * found["none"][0] and found["auto"][1] > 3 * found["none"][1]


def test_the_gate_stays_shut_where_all_directions_are_alike() -> None:
    """And then the run is the one without the switch, bit for bit."""
    alike = lambda z: 5 * (z - 0.5).square().sum(1)
    runs = [
        known.walked(alike, Anneal(precondition=p), *range(8), dim=300, steps=80)
        for p in ("none", "auto")
    ]
    assert not runs[1].here.state.scale.any()
    assert torch.equal(runs[0].z, runs[1].z)


def test_what_was_learned_is_followed_alone_and_survives_a_kill(tmp_path: Path) -> None:
    seeds, kernel = range(16), Anneal(precondition="auto")
    rng = Rng(*seeds, dtype=torch.float64)
    whole = Walk(Function(stiff), kernel, rng, steps=80)
    whole.begin(rng.normal(DIM))
    for frame in whole:
        if frame.step in (36, 50):
            whole.save(tmp_path / f"{frame.step}.safetensors")
    state = checkpoint.unpack(checkpoint.read(tmp_path / "50.safetensors"), kernel).frame.state
    learned = kernel.learned(state)
    assert isinstance(learned["precondition"], Reference)
    for step in (36, 50):
        rest = Walk(Function(stiff), kernel, Rng(*seeds, dtype=torch.float64), steps=80)
        rest.resume(tmp_path / f"{step}.safetensors")
        list(rest)
        assert torch.equal(rest.z, whole.z)
    rows = schedule(whole.trace.beta, whole.trace.step_size)
    follower = replace(kernel, schedule=rows, **learned)
    alone = Walk(Function(stiff), follower, Rng(3, dtype=torch.float64), steps=80)
    alone.begin(alone.rng.normal(DIM))
    list(alone)
    assert np.allclose(alone.trace.phi[:, 0], whole.trace.phi[:, 3], rtol=1e-3, atol=1e-3)
    assert kernels.settings(follower)["precondition"] == "auto"


def test_a_switch_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SpecError, match=r"precondition=yes.*auto, none"):
        kernels.load("anneal", precondition="yes")


def test_it_abstains_where_the_informed_directions_are_many() -> None:
    rng = Rng(*range(8))
    z = rng.normal(4, 400).transpose(0, 1)
    assert fit(z, 3 * z) is None


def test_it_abstains_where_nothing_is_narrow_and_behind_walls() -> None:
    """A wall's gradients are rare and large: the latents are far wider than these say."""
    rng = Rng(*range(64))
    z = rng.normal(4, 32).transpose(0, 1)
    informed = torch.zeros(32).index_fill_(0, torch.arange(4), 1.0)
    narrow = torch.where(informed > 0, 0.1 * z, z)
    assert fit(narrow, 100 * informed * narrow) is not None
    assert fit(z / 2, 3 * informed * z / 2) is None
    assert fit(z, -100 * informed * (z < -2)) is None
