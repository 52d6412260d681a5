"""Galaxies: the laws, the records, and the flow of a score that is known."""

import pytest
import torch
from torch import nn

import plain_files as write
from latentzoo import zoo
from latentzoo.errors import CheckpointError, SpecError
from latentzoo.zoo import galaxygrad
from latentzoo.zoo.galaxygrad import Galaxies
from laws import obey, randomise

CONFIG = {"side": 8, "channels": 4, "patch": 4, "blocks": 2, "width": 6}


def tiny(**options):
    torch.manual_seed(0)
    generator = galaxygrad.build(**(CONFIG | {"steps": 4} | options))
    randomise(generator)
    return generator


def records(path, generator):
    """Writes the weights as records, in the order of the authors' fields, and the time that stands last."""
    state, arrays = generator.state_dict(), []
    for rule in galaxygrad.equinox(generator)[:-1]:
        value = state[rule.ours]
        arrays.append((value[:, None, None] if rule.pattern else value).numpy())
    return write.equinox(path, [*arrays, torch.tensor(10.0).numpy()])


def test_laws():
    generator = tiny()
    assert generator.size == (8, 8) and str(generator.space) == "start 1x8x8"
    obey(generator)


def test_the_records_are_the_map(tmp_path):
    generator = tiny()
    loaded = zoo.load(records(tmp_path / "a.eqx", generator), steps=4)
    z = torch.randn(2, 64)
    assert torch.equal(loaded(z), generator(z))


def test_other_records_are_refused(tmp_path):
    path = write.equinox(tmp_path / "a.eqx", [torch.ones(2, 2).numpy()] * 3)
    with pytest.raises(CheckpointError, match="of no family"):
        zoo.load(path)


class Gaussian(nn.Module):
    """The score of N(m, s^2) in every pixel on the variance preserving path of rate one."""

    def forward(self, y, t):
        alpha2 = torch.exp(torch.tensor(-t, dtype=y.dtype))
        return -(y - MEAN * alpha2.sqrt()) / (STD**2 * alpha2 + 1 - alpha2)


MEAN, STD = 0.5, 0.8


def test_the_flow_of_a_gaussian_is_its_quantiles():
    """The flow from N(0, 1) at t = 10 to t = 0 is y = m + s z, up to what e^{-5} of the mean is left at the start."""
    z = torch.randn(3, 64, dtype=torch.float64)
    errors = []
    for steps in (40, 80):
        flow = Galaxies(Gaussian(), 8, steps=steps, end=1e-4)
        errors.append(float((flow.logarithm(z).flatten(1) - (MEAN + STD * z)).abs().max()))
    assert errors[1] < 0.01 and errors[1] < errors[0]
    picture = flow(z)
    assert picture.shape == (3, 3, 8, 8) and torch.equal(picture[:, 0], picture[:, 2])
    torch.testing.assert_close(picture[:, :1], (0.1 * flow.logarithm(z)).expm1())


@pytest.mark.parametrize("options", [{"steps": 0}, {"end": 0.0}, {"end": 11.0}, {"unit": 0.0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(SpecError):
        tiny(**options)
