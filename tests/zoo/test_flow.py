import pytest
import torch
from repositories import UNET, diffusers, draw, load, network, repository

from latentzoo.errors import SpecError, UnknownName
from latentzoo.rng import Rng
from latentzoo.zoo import flow
from laws import obey


@pytest.fixture(scope="module")
def unet():
    return network()


@pytest.fixture
def generator(tmp_path, unet):
    def make(scheduler=None, **options):
        scheduler = scheduler or diffusers.FlowMatchEulerDiscreteScheduler()
        return load(flow, repository(tmp_path / "repo", unet, scheduler), **options)

    return make


@torch.no_grad()
def render(unet, scheduler, x, steps):
    scheduler.set_timesteps(steps)
    for t in scheduler.timesteps:
        x = scheduler.step(unet(x, t).sample, t, x).prev_sample
    return (x + 1) / 2


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_flows_are_those_of_diffusers(generator, unet, sampler, shift):
    kind = {
        "euler": diffusers.FlowMatchEulerDiscreteScheduler,
        "heun": diffusers.FlowMatchHeunDiscreteScheduler,
    }[sampler]
    x = draw(2, 3, 4, 4)
    for steps in (2, 10):
        ours = generator(kind(shift=shift), sampler=sampler, steps=steps)(x.flatten(1))
        theirs = render(unet, kind(shift=shift), x, steps)
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_laws(generator, sampler):
    obey(generator(steps=4, sampler=sampler))


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_the_reverse_flow_finds_the_picture_again(generator, sampler):
    ours = generator(steps=8, sampler=sampler).double()
    image = ours(draw(2, ours.space.dim).double())
    again = ours(ours.encode(image, Rng(1, 2)))
    torch.testing.assert_close(again, image, atol=1e-6, rtol=0)


def test_options_that_cannot_be_meant():
    with pytest.raises(SpecError, match="1 or more"):
        flow.build(UNET, {}, steps=0)
    with pytest.raises(UnknownName, match="heun"):
        flow.build(UNET, {}, sampler="ddim")
    with pytest.raises(SpecError, match="use_dynamic_shifting"):
        flow.build(UNET, {"use_dynamic_shifting": True})
