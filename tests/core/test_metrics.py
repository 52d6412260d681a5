"""Metrics against closed forms, and their intervals against how often they hold the truth."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from latentzoo.diagnosis import metrics
from latentzoo.errors import SpecError


def gaussian(count: int, width: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((count, width)))


def exact(count: int, mean: Tensor, root: Tensor, seed: int) -> Tensor:
    """A sample whose mean is exactly `mean` and whose covariance is exactly root root^T."""
    x = gaussian(count, len(mean), seed)
    x = x - x.mean(0)
    white = torch.linalg.qr(x).Q * (count - 1) ** 0.5
    return mean + white @ root.T


def test_frechet_is_the_closed_form_of_gaussians() -> None:
    a, b = gaussian(4, 4, 0), gaussian(4, 4, 1)
    m, n = gaussian(1, 4, 2)[0], gaussian(1, 4, 3)[0]
    x, y = exact(30, m, a, 4), exact(50, n, b, 5)
    c, d = (a @ a.T).numpy(), (b @ b.T).numpy()
    root = scipy.linalg.sqrtm(c @ d).real
    expected = float((m - n).square().sum()) + np.trace(c + d - 2 * root)
    assert metrics.frechet(x, y) == pytest.approx(expected, rel=1e-9)
    scaled = exact(30, m, torch.eye(4).double() * 3, 4), exact(30, n, torch.eye(4).double(), 5)
    assert metrics.frechet(*scaled) == pytest.approx(float((m - n).square().sum()) + 4 * 2**2)
    assert metrics.frechet(x, x.flip(0)) == pytest.approx(0, abs=1e-9)
    few = gaussian(5, 12, 6)
    assert metrics.frechet(few, few + 1) == pytest.approx(12)


def test_the_kernel_distance_is_its_definition() -> None:
    x, y = gaussian(7, 3, 0), gaussian(5, 3, 1) + 0.5
    k = lambda a, b: (float(a @ b) / 3 + 1) ** 3
    own = [k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
    other = [k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j]
    cross = [k(a, b) for a in x for b in y]
    expected = np.mean(own) + np.mean(other) - 2 * np.mean(cross)
    assert metrics.kernel(x, y).value == pytest.approx(expected)


def test_the_kernel_distance_of_equal_populations_is_unbiased() -> None:
    found = [
        metrics.kernel(gaussian(20, 6, 2 * i), gaussian(30, 6, 2 * i + 1), seed=i)
        for i in range(100)
    ]
    values = np.array([estimate.value for estimate in found])
    assert abs(values.mean()) < 3 * values.std() / 10
    held = np.mean([estimate.low <= 0 <= estimate.high for estimate in found])
    assert 0.85 <= held <= 1.0
    far = metrics.kernel(gaussian(20, 6, 1), gaussian(30, 6, 2) + 1)
    assert far.low > 0


def test_intervals_of_means_and_pairs_hold_the_truth() -> None:
    held, apart = [], []
    for i in range(100):
        x = gaussian(40, 2, i)
        low, high = metrics.mean(x[:, 0], seed=i)[1:]
        held.append(low <= 0 <= high)
        low, high = metrics.diversity(metrics.euclidean(x), seed=i)[1:]
        apart.append(
            low <= np.pi**0.5 <= high
        )  # the mean distance of two normal points in a plane
    assert 0.87 <= np.mean(held) <= 1 and 0.85 <= np.mean(apart) <= 1


def test_diversity_is_the_mean_over_pairs() -> None:
    x = torch.tensor([[0.0], [1.0], [5.0]])
    found = metrics.diversity(metrics.euclidean(x))
    assert found.value == pytest.approx((1 + 5 + 4) / 3)
    assert 1 <= found.low <= found.value <= found.high <= 5
    assert metrics.diversity(torch.zeros(4, 4)).value == 0


def test_the_same_numbers_give_the_same_interval() -> None:
    x = gaussian(30, 1, 0)[:, 0]
    assert metrics.mean(x, seed=3) == metrics.mean(x, seed=3) != metrics.mean(x, seed=4)


def test_one_picture_has_no_spread() -> None:
    one, two = torch.zeros(1, 3), torch.zeros(2, 3)
    for call in (metrics.frechet, metrics.kernel):
        with pytest.raises(SpecError, match="at least two"):
            call(one, two)
        with pytest.raises(SpecError, match="at least two"):
            call(two, one)
