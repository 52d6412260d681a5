import math

import pytest
import torch
import torch.nn.functional as F

from latentzoo.errors import SpecError
from latentzoo.hub.keys import translate
from latentzoo.rng import Rng
from latentzoo.zoo import nvae
from latentzoo.zoo.nvae import mean
from latentzoo.zoo.nvae.cells import Cell, NormedConv
from laws import obey, official, randomise

TINY = {"groups": [2, 1], "width": 8, "side": 2, "latents": 2, "cells": 1, "post": [2]}


def tiny(**options):
    torch.manual_seed(0)
    generator = nvae.build(**(TINY | {"components": 3} | options))
    randomise(generator)
    with torch.no_grad():
        for name, buffer in generator.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer += 0.3 * torch.rand(buffer.shape)
    return generator


OPTIONS = [{}, {"components": 1}, {"temperature": 0.6, "free": 2, "bound": 1.25}, {"gated": False}]


@pytest.mark.parametrize("options", OPTIONS)
def test_laws(options):
    generator = tiny(**options)
    shapes = {"group_0": (2, 2, 2), "group_1": (2, 2, 2), "group_2": (2, 4, 4)}
    assert dict(generator.space) == shapes
    assert generator.size == (8, 8)
    obey(generator)


def test_the_temperature_scales_the_noise_of_every_group():
    z = torch.randn(2, tiny().space.dim)
    torch.testing.assert_close(tiny(temperature=0.5)(z), tiny()(0.5 * z))
    torch.testing.assert_close(tiny(bound=0.4)(z), tiny()(z.clamp(-0.4, 0.4)))


def test_the_first_group_is_a_little_wider_than_its_noise():
    (eps, place), *_ = tiny().groups(torch.randn(1, 48))
    torch.testing.assert_close(place(torch.zeros(()), torch.zeros(()), eps), 1.01 * eps)
    (eps, place), *_ = tiny(free=1).groups(torch.randn(1, 48))
    torch.testing.assert_close(place(torch.zeros(()), torch.zeros(()), eps), eps)


def test_soft_clamps_keep_the_prior_finite():
    huge = torch.tensor([-1e4, 1e4])
    value = nvae.clamped(huge, huge, torch.ones(2))
    torch.testing.assert_close(value, torch.tensor([-5 + math.exp(-5), 5 + math.exp(5)]) + 0.01)
    assert nvae.unclamped(huge, huge, torch.ones(2)).isinf().any()


def test_the_image_is_the_mean_of_the_mixture():
    """Against the formulas, pixel by pixel."""
    torch.manual_seed(0)
    parameters = 0.2 * torch.randn(1, 20, 2, 3)
    image = mean(parameters)
    for y in range(2):
        for x in range(3):
            pixel = parameters[0, :, y, x]
            weight = pixel[:2].softmax(0)
            m = [weight @ pixel[2 + 6 * i : 4 + 6 * i] for i in range(3)]
            c = [weight @ pixel[6 + 6 * i : 8 + 6 * i].tanh() for i in range(3)]
            r = m[0]
            g = m[1] + c[0] * r
            b = m[2] + c[1] * r + c[2] * g
            torch.testing.assert_close(image[0, :, y, x], torch.stack([r, g, b]))


def test_a_kernel_has_the_norm_it_was_told():
    conv = NormedConv(3, 4, 3, bias=False)
    torch.nn.init.constant_(conv.log_weight_norm, math.log(2.0))
    columns = F.unfold(torch.eye(27).view(27, 3, 3, 3), 3)[:, :, 0]
    kernels = conv(columns.T.reshape(27, 3, 3, 3))[:, :, 1, 1]
    torch.testing.assert_close(kernels.norm(dim=0), torch.full((4,), 2.0), rtol=1e-4, atol=0)


def test_a_cell_may_double_the_sides_late():
    """What acts on single pixels commutes with the doubling, which the official cell does first."""
    torch.manual_seed(0)
    cell = Cell(4, 2, 3, up=True, gated=True)
    randomise(cell)
    s = torch.randn(2, 4, 3, 3)
    up = F.interpolate(s, scale_factor=2)
    x = F.silu(cell.norms[1](cell.expand(cell.norms[0](up))))
    x = cell.norms[3](cell.contract(F.silu(cell.norms[2](cell.depthwise(x)))))
    wide = F.interpolate(s, scale_factor=2, mode="bilinear", align_corners=True)
    torch.testing.assert_close(cell(s), cell.skip(wide) + 0.1 * cell.gate(x))


def test_readjusted_statistics_are_those_of_the_samples():
    generator = tiny()
    generator.readjust(Rng(*range(64)), batches=16, momentum=0.3)
    norm, seen = generator.network.post[0].norms[0], []
    norm.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    generator(Rng(*range(100, 612)).normal(generator.space.dim))
    torch.testing.assert_close(norm.running_mean, seen[0].mean((0, 2, 3)), atol=0.1, rtol=0.05)
    torch.testing.assert_close(norm.running_var, seen[0].var((0, 2, 3)), atol=0.1, rtol=0.1)
    again = tiny()
    again.readjust(Rng(*range(64)), batches=16, momentum=0.3)
    assert torch.equal(again.network.post[0].norms[0].running_mean, norm.running_mean)


@pytest.mark.parametrize("option", [{"temperature": 0.0}, {"bound": -1.0}, {"free": 4}])
def test_impossible_options_are_refused(option):
    with pytest.raises(SpecError):
        tiny(**option)


@pytest.mark.parametrize("twins", [True, False])
def test_the_tensors_give_the_configuration(twins):
    _, file = official("nvae", "v2")
    tensors = {k: v for k, v in file.tensors.items() if twins or "weight_normalized" not in k}
    found = nvae.infer(type(file)(tensors))
    assert found is not None
    assert found["config"] == {
        "groups": [2, 2, 4],
        "width": 32,
        "side": 2,
        "latents": 2,
        "cells": 2,
        "channels": 3,
        "post": [3],
        "components": 1,
        "gated": True,
    }
    generator = nvae.build(**found["config"])
    state = translate(tensors, nvae.KEYS[found["keys"]](generator))
    generator.load_state_dict(state, strict=True)
    kernel = file.tensors["post_process.1._ops.0.conv.3.weight" + twins * "_normalized"]
    assert torch.equal(generator.network.post[1].contract.weight, kernel)
    assert nvae.infer(type(file)({"prior_ftr0": torch.zeros(1)})) is None


def test_a_grey_pixel_shows_how_likely_it_is_white():
    generator = tiny(components=1, channels=1)
    obey(generator)
    z = torch.randn(2, generator.space.dim)
    odds = generator.network(generator.groups(z))
    assert odds.shape[1] == 1
    torch.testing.assert_close(generator(z), odds.sigmoid().expand(-1, 3, -1, -1))


def test_a_grey_file_is_recognised():
    config, checkpoint = official("nvae", "mnist")
    seen = nvae.infer(checkpoint)
    assert seen["config"]["channels"] == 1 and config["dataset"] == "mnist"
    generator = nvae.build(**seen["config"])
    state = translate(checkpoint.tensors, nvae.KEYS[seen["keys"]](generator))
    generator.load_state_dict(state, strict=True)
