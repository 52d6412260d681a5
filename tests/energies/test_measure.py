"""Measurements: the Bayesian posterior in closed form, and every operator against its definition."""

import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import latentzoo as lz
from latentzoo import energies, picture
from latentzoo.energies.measure import OPERATORS, Blur, Downsample, Grey, Mask, Measure, load
from latentzoo.errors import LatentzooError, MissingExtra, SpecError, UnknownName
from latentzoo.kernels.mala import MALA
from latentzoo.posterior import Posterior
from toys import Affine

SIGMA = 1 / 8


class Waves(Affine):
    """A linear map of six cosines, which a measurement tells apart."""

    def __init__(self) -> None:
        super().__init__()
        waves = torch.outer(torch.arange(48) + 0.5, torch.arange(1, 7))
        self.weight.copy_((math.pi / 24 * waves).cos() / 16)


def _images(side: int = 8, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.linspace(0, 40, 2 * 3 * side * side, dtype=dtype).sin().view(2, 3, side, side)


@pytest.mark.parametrize("words", ["downsample:2", "mask:left", "grey"])
def test_weight_one_gives_the_bayesian_posterior(words: str) -> None:
    generator, operator = Waves(), load(words)
    truth = torch.linspace(-1, 1.5, 6)[None]
    y = operator(generator(truth)) + 0.1 * SIGMA

    base = operator(generator(torch.zeros(1, 6))).flatten()
    jacobian = operator(generator(torch.eye(6))).flatten(1).T - base[:, None]
    precision = torch.eye(6) + jacobian.T @ jacobian / SIGMA**2
    covariance = precision.inverse()
    mean = covariance @ jacobian.T @ (y.flatten() - base) / SIGMA**2
    assert (covariance.diagonal() < 0.9).any(), "the measurement says nothing"

    chains = 600
    phi = Posterior(generator, {"y": Measure(operator, y, SIGMA)})
    z = lz.sample(phi, chains=chains, steps=60, seed=1, kernel=MALA(step_size=0.25)).z

    error = (z.mean(0) - mean) / (covariance.diagonal() / chains).sqrt()
    assert error.abs().max() < 4, error
    spread = (covariance.square() + torch.outer(*[covariance.diagonal()] * 2)) / chains
    error = (z.T.cov() - covariance) / spread.sqrt()
    assert error.abs().max() < 4, error


def test_the_energy_is_the_gaussian_likelihood() -> None:
    x, y = _images(), _images().flip(0)[:1]
    expected = [((image - y[0]) ** 2).sum() / (2 * 0.3**2) for image in x]
    torch.testing.assert_close(Measure("identity", y, 0.3)(x), torch.stack(expected))
    each = Measure(lambda image: image**2, x.square(), 0.3)
    torch.testing.assert_close(each(x), torch.zeros(2, dtype=x.dtype))
    assert torch.autograd.gradcheck(
        Measure("blur:0.5", y[..., :3, :3], 0.3), x[..., :3, :3].requires_grad_()
    )


@pytest.mark.parametrize("hidden", ["left", "right", "top", "bottom", "box"])
def test_a_mask_hides_what_it_says_and_nothing_else(hidden: str) -> None:
    image = torch.ones(1, 3, 8, 8)
    black = Mask(hidden)(image)[0, 0] == 0
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    inside = lambda at: (at >= 2) & (at < 6)
    expected = {
        "left": columns < 4,
        "right": columns >= 4,
        "top": rows < 4,
        "bottom": rows >= 4,
        "box": inside(rows) & inside(columns),
    }
    assert torch.equal(black, expected[hidden])


def test_downsampling_takes_means() -> None:
    image = _images()
    small = Downsample(4)(image)
    assert small.shape == (2, 3, 2, 2)
    torch.testing.assert_close(small[1, 2, 1, 0], image[1, 2, 4:, :4].mean())


def test_grey_is_the_luma_of_pillow() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].double() / 255
    theirs = torch.from_numpy(np.array(Image.fromarray(pixels).convert("L"))).double() / 255
    torch.testing.assert_close(Grey()(image)[0, 0], theirs, rtol=0, atol=1 / 255)
    torch.testing.assert_close(Grey()(torch.ones(1, 3, 2, 2)), torch.ones(1, 1, 2, 2))


def test_a_blurred_point_is_a_gaussian() -> None:
    point = torch.zeros(1, 3, 31, 31, dtype=torch.float64)
    point[0, 1, 15, 15] = 1
    blurred = Blur(2)(point)[0]
    assert (blurred[[0, 2]] == 0).all()
    at = torch.arange(31, dtype=torch.float64) - 15
    gauss = torch.exp(-(at**2) / 8) * (at.abs() <= 6)
    gauss = gauss / gauss.sum()
    torch.testing.assert_close(blurred[1], torch.outer(gauss, gauss))
    flat = torch.full((1, 3, 9, 9), 0.3, dtype=torch.float64)
    torch.testing.assert_close(Blur(1)(flat), flat)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("mask:nose", UnknownName),
        ("sharpen", UnknownName),
        ("downsample:0", SpecError),
        ("downsample:2.5", SpecError),
        ("blur:-1", SpecError),
        ("blur:wide", SpecError),
        ("grey:2", SpecError),
    ],
)
def test_words_that_cannot_be_meant_are_refused(words: str, kind: type[LatentzooError]) -> None:
    with pytest.raises(kind):
        load(words)


def test_pictures_that_do_not_fit_are_refused() -> None:
    image = _images(6)
    with pytest.raises(SpecError, match="does not divide"):
        Downsample(4)(image)
    with pytest.raises(SpecError, match="smaller width"):
        Blur(2)(image)
    with pytest.raises(SpecError, match="of that shape"):
        Measure("grey", image)(image)
    for sigma in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(SpecError, match="sigma"):
            Measure("grey", image, sigma)


def test_a_picture_becomes_a_measurement(tmp_path: Path) -> None:
    image = _images(8, torch.float32).abs()[:1]
    path = tmp_path / "y.png"
    picture.write(path, picture.to_uint8(image)[0])
    seen = picture.read(path)

    for words in ("mask:left", "grey"):
        energy = energies.load("measure", str(path), operator=words, sigma=0.2)
        torch.testing.assert_close(energy(seen), torch.zeros(1))
    clean = energies.load("measure", str(path), operator="downsample:2", clean=True)
    torch.testing.assert_close(clean(seen), torch.zeros(1))
    small = energies.load("measure", str(path), operator="downsample:2")
    torch.testing.assert_close(
        small(seen.repeat_interleave(2, 2).repeat_interleave(2, 3)), torch.zeros(1)
    )
    sized = energies.load("measure", str(path), operator="blur:1", size=[16, 16])
    assert sized(torch.zeros(3, 3, 16, 16)).shape == (3,)
    with pytest.raises(SpecError, match="no network"):
        energies.load("measure", str(path), model="avatar-clip")


def test_lpips_is_asked_for_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(MissingExtra, match=r"latentzoo\[lpips\]"):
        Measure("grey", _images(), perceptual=True)


def test_lpips_compares_pictures_of_three_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    class Distance(nn.Module):
        def __init__(self, **settings: object) -> None:
            super().__init__()

        def forward(self, a: Tensor, b: Tensor, normalize: bool) -> Tensor:
            assert a.shape == b.shape == (2, 3, 8, 8)
            assert normalize, "pictures are in [0, 1]"
            return (a - b).abs().amax((1, 2, 3), keepdim=True)

    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=Distance))
    x = _images()
    energy = Measure("grey", Grey()(x[:1]), 0.5, perceptual=True)
    far = Grey()(x).diff(dim=0).abs().max() * 2
    torch.testing.assert_close(energy(x), torch.stack([torch.zeros_like(far), far]))


def test_every_operator_makes_an_energy_with_a_gradient() -> None:
    for name in OPERATORS:
        x = _images(16).requires_grad_()
        operator = load(name)
        (slope,) = torch.autograd.grad(Measure(operator, operator(x.detach() + 0.1))(x).sum(), x)
        assert slope.abs().sum() > 0


def test_each_chain_has_its_own_measurement_whatever_the_micro_batch() -> None:
    generator = Waves()
    each = generator(
        torch.randn(4, generator.space.dim, generator=torch.Generator().manual_seed(1))
    )
    energy = Measure("identity", each, 0.5)
    target = Posterior(generator, {"y": energy}, micro_batch=3)
    z = torch.zeros(4, generator.space.dim)
    image = generator(z)
    expected = (image - each).square().flatten(1).sum(1) / (2 * 0.5**2)
    torch.testing.assert_close(target.evaluate(z).phi, expected)
    torch.testing.assert_close(energy.select(torch.tensor([2, 0]))(image[:2]), expected[[2, 0]])
    assert lz.sample(target, chains=4, steps=2, kernel=MALA(0.1)).z.shape == z.shape


def test_what_is_transparent_was_not_measured(tmp_path: Path) -> None:
    pixels = np.full((8, 8, 4), 255, np.uint8)
    pixels[2:5, 1:4, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "y.png")
    energy = energies.load("measure", str(tmp_path / "y.png"))
    x = torch.ones(1, 3, 8, 8)
    x[..., 2:5, 1:4] = 0.3
    assert energy(x) == 0 and energy(x * 0.9) > 0
    with pytest.raises(SpecError, match="a mask of its own"):
        energies.load("measure", str(tmp_path / "y.png"), operator="grey")
    Image.fromarray(pixels[:, :, :3]).save(tmp_path / "full.png")
    Image.fromarray(pixels[:, :, 3]).save(tmp_path / "mask.png")
    given = f"mask:{tmp_path / 'mask.png'}"
    masked = energies.load("measure", str(tmp_path / "full.png"), operator=given)
    torch.testing.assert_close(masked(x * 0.9), energy(x * 0.9))
    with pytest.raises(SpecError, match="mask has 8x8 pixels"):
        Mask(str(tmp_path / "mask.png"))(torch.ones(1, 3, 4, 4))
