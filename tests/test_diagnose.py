"""The diagnosis: its numbers agree with ArviZ, and its words with what is known to be wrong."""

import json
import warnings
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from latentzoo.diagnosis.convergence import ess_bulk, ess_tail, rhat
from latentzoo.diagnosis.settled import crossed, lopsided
from latentzoo.diagnosis.verdict import CROSSING, Diagnosis, diagnose
from latentzoo.kernels.adam import Adam
from latentzoo.kernels.anneal import Anneal
from latentzoo.kernels.mala import MALA
from latentzoo.kernels.smc import SMC
from latentzoo.kernels.types import Function, Info, Kernel, Point, Potential
from latentzoo.kernels.ula import ULA
from latentzoo.rng import Rng
from latentzoo.run.chain import Failure
from latentzoo.run.sampling import sample
from latentzoo.run.trace import Trace
from latentzoo.run.walk import Walk

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import arviz


def wander(rows: int, chains: int, memory: float, seed: int = 0) -> np.ndarray:
    """Stationary autoregressive chains, (T, B)."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, chains))
    for t in range(1, rows):
        x[t] = memory * x[t - 1] + (1 - memory**2) ** 0.5 * x[t]
    return x


@pytest.mark.parametrize("change", ["none", "rounded", "apart"])
@pytest.mark.parametrize(
    ("rows", "chains", "memory"),
    [(100, 4, 0.9), (101, 4, 0.5), (57, 2, 0.99), (12, 3, 0.1), (1000, 8, 0.95), (300, 1, -0.4)],
)
def test_numbers_agree_with_arviz(rows: int, chains: int, memory: float, change: str) -> None:
    x = wander(rows, chains, memory)
    x = {"none": x, "rounded": x.round(), "apart": x + 3 * (np.arange(chains) == 0)}[change]
    assert ess_bulk(x) == pytest.approx(float(arviz.ess(x.T)), rel=1e-6)
    assert ess_tail(x) == pytest.approx(float(arviz.ess(x.T, method="tail")), rel=1e-6)
    if chains > 1:
        assert rhat(x) == pytest.approx(float(arviz.rhat(x.T)), rel=1e-6)


def record(phi: np.ndarray, **columns: np.ndarray | float) -> Trace:
    """A trace with the given columns and harmless others."""
    harmless = {
        "norm2": phi * 0 + 8.0,
        "accept": 0.8,
        "step_size": 0.1,
        "beta": 1.0,
        "error": 0.01,
    }
    table = {"phi": phi, **harmless, **columns}
    trace = Trace(tuple(range(phi.shape[1])))
    rows = np.stack([np.broadcast_to(x, phi.shape) for x in table.values()], axis=1)
    trace.restore({"trace": torch.from_numpy(rows.astype(np.float32))})
    return trace


def judged(phi: np.ndarray, kernel: Kernel | None = None, **options) -> Diagnosis:
    z = options.pop("z", Rng(*range(phi.shape[1])).normal(8))
    given = {key: options.pop(key) for key in ("state", "failures", "notes") if key in options}
    return diagnose(record(phi, **options), z, kernel=kernel or MALA(), **given)


def test_a_settled_run_is_trustworthy_and_says_so() -> None:
    found = judged(wander(400, 16, 0.8))
    assert found.trustworthy and found.relaxing is False and found.rhat < 1.05
    assert 100 < found.ess < 201 * 16
    assert found.verdict == "trustworthy" and "none speaks against it" in str(found)
    assert "not tested: modes that no chain has seen" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["trustworthy"] is True


@pytest.mark.parametrize("chains", [4, 8, 64])
def test_settled_runs_are_rarely_called_relaxing(chains: int) -> None:
    called = [judged(wander(200, chains, 0.9, seed)).relaxing for seed in range(30)]
    assert sum(map(bool, called)) <= 1


@pytest.mark.parametrize("chains", [1, 4, 64])
def test_a_drift_is_called_relaxing(chains: int) -> None:
    phi = wander(400, chains, 0.5) + np.linspace(40, 0, 400)[:, None]
    found = judged(phi)
    assert found.relaxing and not found.trustworthy
    assert any("still relaxing" in reason for reason in found.reasons)


def test_stuck_chains_do_not_look_settled() -> None:
    places = np.array([0.0, 0.0, 0.1, 0.2, 3.0, 12.0, 90.0, 280.0])
    stuck = judged(wander(80, 8, 0.5) + places)
    assert stuck.relaxing is False and (stuck.apart or 0) > 50
    assert "some are stuck" in reasons(stuck)
    assert judged(wander(80, 8, 0.0)).apart == pytest.approx(20**-0.5, rel=0.7)


def test_two_modes_of_unlike_energy_are_stuck() -> None:
    """A chain on a shelf that no step leaves, 40 nats above the others, is not a draw."""

    def shelves(z: Tensor) -> Tensor:
        return 40 * torch.sigmoid(20 * (z[:, 0] - 1)) + 20 * (z[:, 1:] - 1).square().sum(1)

    rng = Rng(*range(16))
    walk = Walk(Function(shelves), MALA(0.01), rng, steps=160)
    walk.begin(rng.normal(3))
    for _ in walk:
        pass
    found = diagnose(walk.trace, walk.z, kernel=walk.kernel, state=walk.here.state)
    assert found.relaxing is False
    assert "in 2 groups (15 : 1) that none of them leaves" in reasons(found)


@pytest.mark.parametrize("chains", [4, 8, 64])
def test_settled_runs_are_rarely_called_stuck(chains: int) -> None:
    found = [judged(wander(80, chains, 0.8, seed)).apart for seed in range(30)]
    assert all(apart is not None and apart < 2 for apart in found)


def test_what_is_too_short_is_not_judged() -> None:
    found = judged(wander(60, 1, 0.5))
    assert (found.rhat, found.ess, found.relaxing) == (None, None, None)
    assert found.verdict == "too short to tell" and not found.trustworthy
    assert "too short to tell" in str(found)
    assert judged(wander(60, 4, 0.5)).rhat is None
    assert judged(wander(1, 4, 0.5)).energy != ()


def reasons(found: Diagnosis) -> str:
    assert not found.trustworthy
    return "\n".join(found.reasons)


def test_each_fault_is_named() -> None:
    phi = wander(200, 16, 0.5)
    assert "no samples" in reasons(judged(phi, Adam()))
    hot = judged(phi, beta=0.5)
    assert hot.verdict == "too short to tell" and "never ran at the posterior" in str(hot)
    assert "only 2% of the tested steps" in reasons(judged(phi, accept=0.02))
    assert "tested steps are accepted" in reasons(judged(phi, Anneal(), accept=0.4))
    work = wander(200, 16, 0.0, seed=1) * 0.9
    assert "untested steps err by" in reasons(judged(phi, Anneal(), accept=np.nan, error=work))
    wild = np.where(np.arange(200)[:, None] % 20 == 0, 0.0, np.full((200, 16), np.nan))
    wild[:, 1] = np.nan
    assert "put back" in reasons(judged(phi, Anneal(), accept=wild))
    long = wander(2000, 4, 0.5) + np.array([0, 0, 0, 50.0])
    assert "some are stuck" in reasons(judged(long))


def test_few_chains_far_from_each_other_are_too_few_to_tell() -> None:
    for chains, verdict in ((4, "too short to tell"), (8, "not trustworthy")):
        found = judged(wander(400, chains, 0.5) + 5.0 * (np.arange(chains) < chains // 4))
        assert found.verdict == verdict and len(found.groups) == 2
        assert ("may be slow, or in modes of their own" in str(found)) == (chains == 4)


def test_a_rare_draw_in_a_long_tail_is_no_group_and_a_chain_in_a_mode_is() -> None:
    x = wander(400, 32, 0.9)
    far = np.arange(32) == 0
    assert judged(x + 12 * far).groups == (31, 1)
    assert judged(np.where(far, 12 + 8 * x, x)).groups == (32,)


def test_what_changes_where_tests_begin_is_no_drift() -> None:
    """Untested steps are a little wrong; the tested ones of the last quarter are not."""
    phi = wander(400, 32, 0.5)
    assert judged(phi + np.where(np.arange(400) < 300, 1.0, 0.0)[:, None]).relaxing is False
    assert judged(phi + np.linspace(8, 0, 400)[:, None]).relaxing is True


def test_a_skew_energy_is_not_stuck_and_chains_in_order_are() -> None:
    level = wander(400, 32, 0.97)
    assert judged(level).ranked < 1.5
    skew = np.sign(level) * np.abs(level) ** 5
    assert judged(skew).verdict == "trustworthy"
    assert "some are stuck" in reasons(judged(0.3 * level + np.linspace(0, 6, 32)))


def test_a_failed_chain_is_counted_and_left_out() -> None:
    phi = wander(200, 16, 0.5)
    phi[40:, 3] = np.nan
    z = Rng(*range(16)).normal(8)
    z[3] = torch.nan
    found = judged(phi, z=z, failures=(Failure(3, 3, 40, "text"),))
    assert found.failed == 1 and np.isfinite(found.energy).all() and np.isfinite(found.norm_score)
    assert "1 of 16 chains stopped, the first at step 40 because 'text'" in reasons(found)


def shifted(z: Tensor) -> Tensor:
    """A posterior far from the prior: mean 4.5 and variance 1/10 in every coordinate."""
    return 4.5 * (z - 5).square().sum(1)


def test_the_identity_holds_far_from_the_prior_and_fails_off_the_posterior() -> None:
    phi, rng = wander(200, 64, 0.5), Rng(*range(64))
    z = 4.5 + 0.1**0.5 * rng.normal(8)
    at = lambda z: Point(*Function(shifted).evaluate(z))
    right = judged(phi, z=z, state=at(z))
    assert right.trustworthy and right.norm_score > 50 and abs(right.identity_score) < 4
    assert right.curvature == pytest.approx(9, rel=0.15)
    wide = 4.5 + 1.5 * (z - 4.5)
    assert "the spread of the chains is off" in reasons(judged(phi, z=wide, state=at(wide)))
    assert "prior's, in most coordinates" in reasons(judged(phi, z=0.1 * rng.normal(8)))


def run(kernel: Kernel, phi, *, chains: int, steps: int, dim: int = 16) -> Diagnosis:
    rng = Rng(*range(chains))
    walk = Walk(Function(phi), kernel, rng, steps=steps)
    walk.begin(rng.normal(dim))
    list(walk)
    state = walk.here.state
    return diagnose(walk.trace, walk.z, kernel=walk.kernel, state=state, failures=())


def test_the_default_is_trusted_where_the_old_kernel_is_not() -> None:
    kappa = torch.tensor([60.0, 30.0, 5.0, 1.0])
    stiff = lambda z: (kappa * (z[:, :4] - 1).square()).sum(1) / 2
    found = run(Anneal(precondition="none"), stiff, chains=32, steps=160)
    assert found.trustworthy, found.reasons
    assert 0.1 < found.work < 0.4 and found.acceptance > 0.7
    assert "in the steepest directions" in reasons(run(ULA(0.05), stiff, chains=32, steps=160))


def test_untested_steps_are_not_trusted_while_their_spread_is_in_doubt() -> None:
    """A spread of 1.09 moves |z|^2 by a standard deviation in 256 dimensions; three errors of it are no proof yet."""
    phi = lambda z: z.square().sum(1) / 2
    for seed in range(3):
        rng = Rng(*range(16 * seed, 16 * seed + 16))
        walk = Walk(Function(phi), ULA(0.16), rng, steps=80)
        walk.begin(rng.normal(256))
        list(walk)
        found = diagnose(walk.trace, walk.z, kernel=walk.kernel, state=walk.here.state)
        assert "nothing else tells whether untested steps are right" in "".join(found.missing)
        assert not found.trustworthy


def crossing(fall: float, rise: float, seed: int, chains: int = 64) -> np.ndarray:
    """phi of chains that go from a part of energy 6 to one of 0, and back, by so much a step."""
    draw, low = np.random.default_rng(seed), np.zeros(chains, bool)
    rows = []
    for _ in range(200):
        change = draw.random(chains) < np.where(low, rise, fall)
        low = low ^ change
        rows.append(np.where(low, 0.0, 6.0) + draw.normal(size=chains) * 0.5)
    return np.stack(rows)


def test_chains_that_cross_one_way_are_told_from_those_that_go_and_come() -> None:
    leaks = [lopsided(*crossed(crossing(0.006, 0.0, seed, chains=256))) for seed in range(20)]
    settled = [lopsided(*crossed(crossing(0.03, 0.03, seed))) for seed in range(200)]
    still = [crossed(np.random.default_rng(seed).normal(size=(200, 64))) for seed in range(20)]
    assert np.mean(leaks) > CROSSING and np.mean(np.array(settled) > CROSSING) < 0.03
    assert all(counts == (0, 0) for counts in still)


def test_a_mode_that_chains_still_find_is_not_trusted() -> None:
    """Its probability is .9997 and the prior's there .04; half of the chains are in it by the end."""
    step = Function(lambda z: -6 * torch.tanh(20 * (z[:, 0] - 1.8)))
    for seed in range(3):
        found = sample(step, dim=16, seed=seed, chains=64, steps=200, progress=False).diagnosis
        assert "still cross" in reasons(found) and not found.trustworthy


@pytest.mark.parametrize(("off", "told"), [(0.0, False), (0.17, True)])
def test_a_spread_that_few_chains_leave_open_is_too_short_to_tell(off: float, told: bool) -> None:
    """In a thousand dimensions 0.17 of it are four standard deviations of |z|^2, which four chains cannot rule out."""
    trace, z = record(wander(400, 4, 0.8)), Rng(*range(4)).normal(1024)
    identity = (1 + off) * np.ones(400)[:, None] + 0.02 * np.array([-1, -0.5, 0.5, 1])
    seen = SimpleNamespace(
        array=trace.array, along=trace.along, identity=identity, going=trace.going
    )
    found = diagnose(seen, z, kernel=Anneal())
    assert any("spread of the chains is known" in each for each in found.missing) is told


def test_lost_ancestors_are_named() -> None:
    narrow = lambda z: 400 * (z[:, 0] - 3).square()
    found = run(SMC(cess=0.3, ramp=0.1), narrow, chains=64, steps=60)
    assert found.ancestors < 16 and "descend from" in reasons(found)


def test_resampling_knows_its_strength_in_nats() -> None:
    kappa, centre = torch.tensor([30.0, 3.0]), 1.0
    energy = lambda z: (kappa * (z[:, :2] - centre).square()).sum(1) / 2
    found = run(SMC(), energy, chains=128, steps=160)
    mean2 = (kappa / (1 + kappa)).square()
    truth = float((kappa.log1p() + 1 / (1 + kappa) - 1 + mean2).sum() / 2)
    assert found.nats == pytest.approx(truth, rel=0.1)
    assert found.nats_error < 0.1 * truth and "nats; log Z" in str(found)


@pytest.mark.parametrize(("chains", "rows"), [(16, 4), (1, 21), (2, 201), (4, 11)])
def test_absence_of_evidence_is_no_trust(chains: int, rows: int) -> None:
    found = judged(wander(rows, chains, 0.5))
    assert found.verdict == "too short to tell" and found.missing and not found.reasons


def test_shares_that_nobody_vouches_for_are_not_trusted_at_any_length() -> None:
    """Two modes of equal energy: only where the chains are tells them apart."""

    def wells(z: Tensor) -> Tensor:
        x = z[:, :1] + torch.tensor([-2.0, 2.0])
        return -(-x.square() / 0.18).logsumexp(1) - z[:, 0].square() / 2

    for steps in (80, 200, 400):
        found = run(Anneal(), wells, chains=32, steps=steps)
        assert len(found.groups) == 2 and sum(found.groups) == 32
        assert "in 2 groups" in reasons(found) and "take smc" in reasons(found)


def test_a_gradient_that_is_zero_is_named() -> None:
    stairs = lambda z: 3 * (2 * z[:, 0].abs()).floor() + 0 * z.sum(1)
    assert "the gradient of phi is zero" in reasons(run(Anneal(), stairs, chains=16, steps=80))


def test_stairs_are_named_where_all_chains_end_on_one_step() -> None:
    """Flat ground beside a wall has one level that chains share; stairs have more."""
    level = np.where(np.random.default_rng(0).random((80, 16)) < 0.3, 3.0, 0.0)
    level[-1] = 0
    wall = np.where(level > 0, level + np.abs(wander(80, 16, 0.0)), 0.0)
    flat = Point(torch.zeros(16, 8), torch.zeros(16), torch.zeros(16, 8), torch.zeros(16, 0))
    assert judged(level, state=flat).blind and not judged(wall, state=flat).blind
    assert not judged(1e-6 * level, state=flat).blind


@dataclass(frozen=True)
class Forgetful(Kernel):
    """Langevin without the prior's pull, or with noise of another temperature."""

    prior: float = 1.0
    noise: float = 1.0

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> Point:
        return phi.evaluate(z)

    def step(self, phi: Potential, state: Point, rng: Rng) -> tuple[Point, Info]:
        z = state.z - 0.01 * (self.prior * state.z + state.grad)
        z = z + self.noise * 0.02**0.5 * rng.normal(state.z.shape[1])
        return phi.evaluate(z), Info.unadjusted(state.phi, step_size=0.01)


def test_sixteen_chains_see_a_kernel_that_forgets_the_prior() -> None:
    kappa = torch.linspace(3, 20, 16)
    linear = lambda z: (kappa * (z - 1).square()).sum(1) / 2
    wrong = [Forgetful(prior=0.0), Forgetful(noise=0.7), Forgetful(noise=1.4)]
    for kernel in wrong:
        assert "the spread of the chains is" in reasons(run(kernel, linear, chains=16, steps=400))
    assert not run(Forgetful(), linear, chains=16, steps=400).reasons


def test_small_errors_of_many_coordinates_are_seen_together() -> None:
    """Each variance is 7 % too large, which moves |z|^2 by more than a standard deviation of a thousand numbers."""
    slope = lambda z: z[:, :8].sum(1)
    hot = Forgetful(noise=1.03)
    assert "the spread of the chains is 1.0" in reasons(
        run(hot, slope, chains=16, steps=400, dim=1024)
    )
    assert not run(hot, slope, chains=16, steps=400, dim=32).reasons


def test_a_bias_that_is_known_is_told_without_being_measured() -> None:
    slope = lambda z: z[:, :8].sum(1)
    found = [run(ULA(0.05), slope, chains=4, steps=40, dim=dim) for dim in (16384, 256)]
    assert "even where phi says nothing" in "\n".join(found[0].reasons)
    assert "even where phi says nothing" not in "\n".join(found[1].reasons)


def test_energies_that_are_the_same_everywhere_prove_nothing() -> None:
    """A needle that no chain has met: its sample is the prior's, and no better than that."""
    needle = lambda z: -12 * (-(z[:, :2] - 2.5).square().sum(1) / 0.005).exp()
    found = run(Anneal(), needle, chains=16, steps=80)
    assert found.verdict == "too short to tell" and "phi is the same in all draws" in str(found)


def test_draws_of_the_prior_are_exact() -> None:
    found = diagnose(Trace((0, 1)), Rng(0, 1).normal(8), kernel=None)
    assert found.verdict == "trustworthy" and "exact draws of the prior" in str(found)


def test_plain_data_is_strict_json() -> None:
    stuck = judged(np.tile(np.arange(8.0), (80, 1)))
    assert stuck.apart == np.inf and stuck.to_dict()["apart"] is None
    assert json.loads(json.dumps(stuck.to_dict(), allow_nan=False))["verdict"] == "not trustworthy"


def test_bounds_that_are_upside_down_are_no_answer() -> None:
    """The least above the most says that the draws are not right, not how much was asked for."""
    found = replace(judged(wander(80, 16, 0.5)), nats=None, nats_least=3.0, nats_most=2.0)
    (line,) = (line for line in str(found).splitlines() if line.startswith("how much"))
    assert "not known: the least, 3 nats, came out above the most, 2, so the draws" in line
    assert "between 3" in str(replace(found, nats_most=4.0))
