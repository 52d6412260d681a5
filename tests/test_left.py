"""What the way to the posterior left behind, or did not finish: lost modes, heat, short steps; and the nats."""

import math

import numpy as np
import pytest
import torch

from latentzoo.diagnosis.gradients import pointing
from latentzoo.diagnosis.left import felt, heat, lost, unfinished
from latentzoo.diagnosis.nats import bounds
from latentzoo.diagnosis.settled import ahead, unsettled
from latentzoo.kernels.auto import Auto
from latentzoo.kernels.types import Function
from latentzoo.rng import Rng
from latentzoo.run.sampling import sample

ROWS, DIM = 64, 8


def wells(x: np.ndarray) -> np.ndarray:
    """phi of a posterior that is N(1.4, .2^2) for 0.8 and N(-1, .4^2) for 0.2, along its first coordinate."""
    each = [(0.8, 1.4, 0.2), (0.2, -1.0, 0.4)]
    return (
        -np.log(sum(w / s * np.exp(-((x - m) ** 2) / (2 * s * s)) for w, m, s in each)) - x * x / 2
    )


def way(chains: int, seed: int, *, both: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """phi, beta and |z|^2 of chains that begin at the prior and end in both wells, or in the wide one."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(ROWS, chains))
    narrow = draw.random((ROWS, chains)) < (0.8 if both else 0.0)
    end = np.where(narrow, 1.4 + 0.2 * x, -1 + 0.4 * x)
    beta = np.where(np.arange(ROWS) < 1, 0.0, 1.0)[:, None].repeat(chains, 1)
    beta[0] = np.nan
    norm2 = x**2 + draw.chisquare(DIM - 1, (ROWS, chains))
    return wells(np.where(np.arange(ROWS)[:, None] < 1, x, end)), beta, norm2


def test_what_was_lost_is_what_the_prior_says_of_it() -> None:
    """The draws of the prior, weighed, hold the lost well in its share of 0.8, less what is no half nat deeper."""
    one, two = (
        [lost(*way(64, seed, both=both), DIM) for seed in range(40)] for both in (False, True)
    )
    found = np.array([part for part in one if part is not None])
    assert 0.5 < found.mean() < 0.8 and (found > 0.1).mean() > 0.95
    assert len(found) >= 38 and not any(two)


def test_where_a_run_began_elsewhere_nothing_is_said_of_what_was_lost() -> None:
    phi, beta, norm2 = way(32, 0, both=False)
    assert lost(phi, beta, norm2 + 10, DIM) is None
    norm2[0] = DIM
    assert lost(phi, beta, norm2, DIM) is None


def test_heat_is_power_over_friction_and_decays_with_the_angle() -> None:
    tested = np.arange(ROWS) >= 3 * ROWS // 4
    work, h = np.full((ROWS, 4), 0.02), np.full((ROWS, 4), 0.1)
    kept = np.ones((ROWS, 4), bool)
    turned = 0.1 * tested.sum()
    for friction in (0.5, 1.0, 3.0):
        found = heat(work, h, kept, tested, friction)
        assert found == pytest.approx(0.2 / friction * math.exp(-friction * turned))
    assert heat(-work, h, kept, tested, 1.0) == 0
    assert heat(work, h, kept, tested | True, 1.0) is None
    wild = np.where(np.arange(4) == 0, 50.0, 0.02) * np.ones((ROWS, 1))
    assert heat(wild, h, kept & (np.arange(4) > 0), tested, 1.0) == pytest.approx(
        0.2 * math.exp(-turned)
    )


def cooling(hot: float, friction: float, seed: int, chains: int) -> tuple[np.ndarray, ...]:
    """A number that heat raises by `hot` of its standard deviations, and tested steps let go."""
    h, tested = np.full((200, chains), 0.02), np.arange(200) >= 150
    turned = np.where(tested, 0.02, 0.0).cumsum()
    noise = np.random.default_rng(seed).normal(size=(200, chains))
    return noise + hot * np.exp(-friction * turned)[:, None], h, tested


@pytest.mark.parametrize("friction", [0.5, 1.0, 2.0])
def test_what_is_felt_of_heat_is_bounded_by_what_tested_steps_let_go(friction: float) -> None:
    hot, left = 2.0, 2.0 * math.exp(-friction * 50 * 0.02)
    x, h, tested = cooling(hot, friction, 0, 4096)
    assert felt([x], h, tested, friction) == pytest.approx(left, rel=0.15)
    held = 0
    for seed in range(40):
        x, h, tested = cooling(hot, friction, seed, 16)
        bound = felt([x], h, tested, friction)
        held += bound is not None and bound >= left
    assert held >= 36, "a bound at 95 %"
    cold, h, tested = cooling(0.0, friction, 1, 4096)
    most = felt([cold], h, tested, friction)
    assert most is not None and most < 0.1
    warm = cooling(hot, friction, 0, 4096)[0]
    assert felt([cold, warm], h, tested, friction) == felt([warm], h, tested, friction)


def test_few_chains_and_runs_without_tested_steps_feel_nothing() -> None:
    x, h, tested = cooling(1.0, 1.0, 0, 16)
    assert felt([x[:, :3]], h[:, :3], tested, 1.0) is None
    assert felt([x], h, tested & False, 1.0) is None
    assert felt([x], h, tested | True, 1.0) is None


@pytest.mark.parametrize("directions", [1, 3, 24])
def test_gradients_point_in_as_many_directions_as_they_are_drawn_from(directions: int) -> None:
    grad = torch.zeros(512, 32, dtype=torch.float64)
    scale = Rng(*range(512), dtype=torch.float64).uniform().exp()[:, None] ** 4
    grad[:, :directions] = scale * Rng(*range(512), dtype=torch.float64).normal(directions)
    assert pointing(grad) == pytest.approx(directions, rel=0.05)
    grad[3:] = 0
    assert pointing(grad) is None


def test_gradients_that_share_no_coordinate_point_in_as_many_directions_as_there_are() -> None:
    assert pointing(torch.eye(8, dtype=torch.float64)) == 8


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.0), (0.7, 1.0), (0.3, 0.4)])
def test_the_nats_lie_between_their_bounds_and_the_upper_is_met(mean: float, sd: float) -> None:
    """A posterior that is moved and narrowed alike in all directions."""
    z = mean + sd * Rng(*range(4000), dtype=torch.float64).normal(DIM)
    found = bounds(z, (z - mean) / sd**2 - z)
    truth = DIM / 2 * (mean**2 + sd**2 - 1 - 2 * math.log(sd))
    assert found.most == pytest.approx(truth, abs=4 * found.most_error + 1e-6)
    assert found.most_error < 0.1 * truth + 1e-6
    assert found.least < truth + 4 * found.least_error + 1e-6
    assert found.least == pytest.approx(DIM * mean**2 / 2, abs=4 * found.least_error)


def test_the_bounds_hold_where_few_directions_are_steep_and_their_errors_are_right() -> None:
    kappa = torch.tensor([1000.0, 30.0, 3.0] + [0.0] * (DIM - 3), dtype=torch.float64)
    mean = torch.linspace(2, 0, DIM, dtype=torch.float64) * (kappa > 0)
    sd = (1 + kappa).rsqrt()
    truth = float((mean**2 + sd**2 - 1 - 2 * sd.log()).sum() / 2)
    found = []
    for seed in range(200):
        z = mean + sd * Rng(*range(64 * seed, 64 * seed + 64), dtype=torch.float64).normal(DIM)
        found.append(bounds(z, (z - mean) / sd**2 - z))
    least, least_error, most, most_error = torch.tensor(found, dtype=torch.float64).unbind(1)
    assert least.mean() < truth < most.mean()
    assert float(least.std()) == pytest.approx(float(least_error.mean()), rel=0.25)
    assert float(most.std()) == pytest.approx(float(most_error.mean()), rel=0.25)


def test_few_chains_have_no_bounds() -> None:
    z = Rng(0, 1, 2).normal(DIM)
    assert bounds(z, z) is None


def relaxing(far: float, h: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of 256 chains whose mean begins `far` standard deviations off and relaxes with the angle of steps h."""
    rows = np.arange(400)
    noise = np.random.default_rng(seed).normal(size=(400, 256))
    return noise + (far * np.exp(-h * rows / 2))[:, None], np.full((400, 256), h), rows >= 300


@pytest.mark.parametrize("h", [0.002, 0.005, 0.01])
def test_what_a_short_tail_cannot_finish_is_what_is_left(h: float) -> None:
    x, step_size, tested = relaxing(4.0, h)
    found = unfinished([np.zeros_like(x), x], step_size, tested, 1.0)
    assert found == pytest.approx(4 * math.exp(-h * 400 / 2), rel=0.15)


def test_what_moved_by_chance_or_had_time_to_finish_is_finished() -> None:
    for seed in range(20):
        x, step_size, tested = relaxing(0.0, 0.002, seed)
        assert unfinished([x], step_size, tested, 1.0) == 0
    x, step_size, tested = relaxing(4.0, 0.002)
    assert unfinished([x], np.where(tested[:, None], 0.1, step_size), tested, 1.0) < 0.05
    assert unfinished([x], step_size, tested, 1.0) > 0.5


@pytest.mark.parametrize("friction", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("step", [0.001, 0.005, 0.02])
def test_an_energy_that_relaxes_has_as_much_to_go_as_its_last_moves_tell(
    step: float, friction: float
) -> None:
    """Of x e^(-gamma t) there is at the end what was said, or a little less: windows are means of a curve."""
    rows, h = 400, np.full((400, 4), step)
    phi = np.exp(-friction * step * np.arange(rows))[:, None].repeat(4, 1)
    moved = unsettled(phi, 1.0)
    assert moved is not None
    told, left = moved * ahead(h, friction), phi[-1, 0]
    assert 0.99 * left < told < 1.25 * left
    assert ahead(0 * h, friction) == math.inf


@pytest.mark.parametrize("seed", [18, 26, 27])
def test_steps_that_turn_by_nothing_show_no_rest(seed: int) -> None:
    """Four chains at five times the posterior's energies hardly move by the last steps, for these are tiny."""
    precision = torch.logspace(0, 4, 32)
    centre = Rng(1).normal(32)
    phi = lambda z: (precision * (z[:, :32] - centre).square()).sum(1) / 2
    kernel = Auto(work=0.05, tail=0.1)
    found = sample(
        Function(phi), dim=1024, chains=4, steps=50, seed=seed, kernel=kernel, progress=False
    ).diagnosis
    assert not found.trustworthy
