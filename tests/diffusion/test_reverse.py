from itertools import pairwise

import pytest
import torch

from latentzoo.diffusion.parametrisation import ESTIMATES, convert, estimate, from_eps
from latentzoo.diffusion.reverse import correct, ddim, diffuse, forward, heun, multistep, posterior
from latentzoo.diffusion.schedule import VE, VP, Discrete, Flow, Level, linear_betas
from latentzoo.errors import UnknownName

from . import known

PATHS = {"VP": VP(), "VE": VE(0.01, 50.0), "flow": Flow()}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grid(schedule, steps):
    """Levels evenly spaced in the log signal-to-noise ratio, from much noise to little."""
    first, last = {"VP": (-4.0, 4.0), "VE": (-3.0, 4.0), "Flow": (-4.0, 4.0)}[
        type(schedule).__name__
    ]
    lambdas = torch.linspace(first, last, steps + 1, dtype=torch.float64)
    if isinstance(schedule, VE):
        return [Level(0.0, 1.0, float((-x).exp())) for x in lambdas]
    if isinstance(schedule, Flow):
        return schedule.levels(float(1 / (1 + x.exp())) for x in lambdas)
    return [
        Level(0.0, float((2 * x).sigmoid().sqrt()), float((-2 * x).sigmoid().sqrt()))
        for x in lambdas
    ]


@pytest.mark.parametrize("kind", ESTIMATES)
@pytest.mark.parametrize("t", [Level(0, 1.0, 3.0), Level(0, 0.7, 0.3), Level(0, 0.6, 0.8)])
def test_every_parametrisation_reads_back_what_was_mixed(kind, t):
    x_0, eps = draw(2, 3), draw(2, 3, seed=1)
    x_t = t.alpha * x_0 + t.sigma * eps
    output = convert(eps, x_t, t, source="eps", target=kind)
    q = estimate(kind, output, x_t, t)
    assert torch.allclose(q.x_0, x_0, atol=1e-12) and torch.allclose(q.eps, eps, atol=1e-12)


@pytest.mark.parametrize("kind", ESTIMATES)
@pytest.mark.parametrize("t", [Level(0, 1.0, 3.0), Level(0, 0.7, 0.3), Level(0, 0.6, 0.8)])
def test_every_estimate_satisfies_the_mixture(kind, t):
    x_t, output = draw(2, 3), draw(2, 3, seed=1)
    q = estimate(kind, output, x_t, t)
    assert torch.allclose(t.alpha * q.x_0 + t.sigma * q.eps, x_t, atol=1e-12)
    back = convert(output, x_t, t, source=kind, target=kind)
    assert torch.allclose(back, output, atol=1e-12)


def test_an_unknown_parametrisation_is_named():
    with pytest.raises(UnknownName, match="did you mean 'eps'"):
        estimate("epsi", draw(1), draw(1), Level(0, 0.6, 0.8))
    with pytest.raises(UnknownName, match="parametrisation"):
        convert(draw(1), draw(1), Level(0, 0.6, 0.8), source="eps", target="noise")


def test_the_posterior_is_that_of_ddpm():
    """Against the textbook's formula in betas."""
    betas = linear_betas(n=50, end=0.3)
    schedule, t = Discrete.from_betas(betas), 30
    alpha_bar, previous = schedule.alpha_bar[t], schedule.alpha_bar[t - 1]
    x_t, x_0 = draw(2, 3), draw(2, 3, seed=1)
    mean = (
        previous**0.5 * betas[t] / (1 - alpha_bar) * x_0
        + (1 - betas[t]) ** 0.5 * (1 - previous) / (1 - alpha_bar) * x_t
    )
    p = posterior(x_t, x_0, schedule(t), schedule(t - 1))
    assert torch.allclose(p.mean, mean, atol=1e-12)
    assert p.std**2 == pytest.approx(betas[t] * (1 - previous) / (1 - alpha_bar), rel=1e-10)


@pytest.mark.parametrize("path", PATHS)
def test_ddim_with_eta_one_is_the_posterior(path):
    t, s = PATHS[path](0.6), PATHS[path](0.5)
    x_t = draw(2, 3)
    q = from_eps(draw(2, 3, seed=1), x_t, t)
    a, b = ddim(q, t, s, eta=1.0), posterior(x_t, q.x_0, t, s)
    assert torch.allclose(a.mean, b.mean, atol=1e-12) and a.std == pytest.approx(b.std)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("path", PATHS)
def test_ddim_keeps_the_marginal_of_a_known_picture(path, eta):
    """With the true picture and its noise, x_s is distributed as q(x_s | x_0) whatever eta is."""
    t, s = PATHS[path](0.8), PATHS[path](0.4)
    zero = torch.zeros(1, dtype=torch.float64)
    unit = from_eps(zero + 1, t.sigma * (zero + 1), t)
    step = ddim(unit, t, s, eta=eta)
    assert float(step.mean) ** 2 + step.std**2 == pytest.approx(s.sigma**2, rel=1e-12)


def test_push_and_pull_are_inverse():
    g = posterior(draw(2, 3), draw(2, 3, seed=1), Level(0, 0.6, 0.8), Level(0, 0.8, 0.6))
    eps = draw(2, 3, seed=2)
    assert torch.allclose(g.pull(g.push(eps)), eps, atol=1e-12)
    assert g.push(None) is g.mean


def test_a_step_into_the_picture_is_the_picture():
    q = from_eps(draw(2, 3), draw(2, 3, seed=1), Level(0, 0.99, 0.1))
    picture = Level(-1, 1.0, 0.0)
    for eta in (0.0, 1.0):
        g = ddim(q, Level(0, 0.99, 0.1), picture, eta=eta)
        assert g.std == 0 and torch.equal(g.mean, q.x_0)
    assert torch.equal(
        multistep(
            draw(2, 3), q.x_0, q.eps, t=Level(0, 0.99, 0.1), s=picture, r=Level(0, 0.9, 0.4)
        ),
        q.x_0,
    )


def solve(name, schedule, x, steps):
    levels = grid(schedule, steps)
    last, r = None, None
    for t, s in pairwise(levels):
        if name == "ddim":
            x = ddim(known.estimate(x, t), t, s).mean
        elif name == "heun":
            x = heun(x, known.estimate, t, s)
        else:
            x_0 = known.estimate(x, t).x_0
            x, last, r = multistep(x, x_0, last, t=t, s=s, r=r), x_0, t
    return x


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("heun", 2), ("multistep", 2)])
def test_solvers_converge_to_the_flow_at_their_order(solver, order, path):
    """The probability flow of Gaussian data is known; halving the step divides the error by 2^order."""
    schedule = PATHS[path]
    levels = grid(schedule, 1)
    x = levels[0].alpha * known.MEAN + known.spread(levels[0]) * draw(5, 4)
    truth = known.flow(x, levels[0], levels[-1])
    errors = [float((solve(solver, schedule, x, n) - truth).abs().max()) for n in (80, 160, 320)]
    rates = [float(torch.tensor(a / b).log2()) for a, b in pairwise(errors)]
    assert all(abs(rate - order) < 0.15 for rate in rates), (errors, rates)


def moments(step, levels):
    """The mean and variance at the end of a chain of affine Gaussian steps, without sampling."""
    mean, var = levels[0].alpha * known.MEAN, known.spread(levels[0]) ** 2
    for t, s in pairwise(levels):
        here, there = torch.stack([mean, mean + 1]), step(torch.stack([mean, mean + 1]), t, s)
        slope = (there.mean[1] - there.mean[0]) / (here[1] - here[0])
        mean, var = there.mean[0], slope**2 * var + there.std**2
    return mean, var


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_stochastic_chains_end_in_the_data(path, eta):
    levels = grid(PATHS[path], 1000)
    mean, var = moments(lambda x, t, s: ddim(known.estimate(x, t), t, s, eta=eta), levels)
    assert torch.allclose(mean, levels[-1].alpha * known.MEAN, atol=1e-3)
    assert torch.allclose(var.sqrt(), known.spread(levels[-1]), rtol=5e-3)


def test_reverse_diffusion_ends_in_the_data():
    levels = grid(PATHS["VE"], 2000)
    mean, var = moments(
        lambda x, t, s: diffuse(x, -known.estimate(x, t).eps / t.sigma, t, s), levels
    )
    assert torch.allclose(mean, known.MEAN, atol=1e-3)
    assert torch.allclose(var.sqrt(), known.spread(levels[-1]), rtol=5e-3)


def test_the_corrector_moves_by_the_signal_to_noise_ratio_of_each_sample():
    x, score, noise = draw(3, 2, 2), draw(3, 2, 2, seed=1), draw(3, 2, 2, seed=2)
    moved = correct(x, score, noise, snr=0.16)
    assert torch.allclose(moved[1:2], correct(x[1:2], score[1:2], noise[1:2], snr=0.16))
    for i in range(3):
        h = 2 * (0.16 * noise[i].norm() / score[i].norm()) ** 2
        assert torch.allclose(moved[i], x[i] + h * score[i] + (2 * h).sqrt() * noise[i])


def test_forward_is_the_mixture():
    g = forward(draw(2, 3), Level(0, 0.6, 0.8))
    assert torch.allclose(g.push(draw(2, 3, seed=1)), 0.6 * draw(2, 3) + 0.8 * draw(2, 3, seed=1))
