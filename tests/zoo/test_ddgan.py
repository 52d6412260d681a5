import pytest
import torch

from latentzoo import zoo
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import translate
from latentzoo.zoo import ddgan
from latentzoo.zoo.ddgan import ddgan_schedule
from laws import obey, official, randomise

TINY = {
    "resolution": 8,
    "width": 8,
    "mult": (1, 2),
    "depth": 1,
    "attention": (8,),
    "code": 5,
    "style": 6,
    "mapping": 2,
}


def tiny(**options):
    torch.manual_seed(0)
    generator = ddgan.build(**TINY, **options)
    randomise(generator)
    return generator


@pytest.mark.parametrize("steps", [2, 4])
def test_laws(steps):
    generator = tiny(steps=steps)
    assert list(generator.space) == [
        ("start", (3, 8, 8)),
        ("code", (steps, 5)),
        ("noise", (steps - 1, 3, 8, 8)),
    ]
    obey(generator)


def test_every_step_reads_its_own_code_and_noise():
    generator = tiny(steps=4)
    z = torch.randn(1, generator.space.dim, requires_grad=True)
    (gradient,) = torch.autograd.grad(generator(z).square().sum(), z)
    parts = generator.space.split(gradient)
    for name in ("code", "noise"):
        assert (parts[name].flatten(2).abs().amax(2) > 0).all(), name


def test_images_stay_in_the_unit_interval():
    generator = tiny()
    images = generator(10 * torch.randn(4, generator.space.dim))
    assert images.min() >= 0 and images.max() <= 1


def test_a_single_step_is_a_gan():
    generator = tiny(steps=1)
    x, code, noise = generator.space.split(torch.randn(2, generator.space.dim)).values()
    assert noise.numel() == 0
    image = (generator.network(x, torch.zeros(2), code[:, 0]) + 1) / 2
    torch.testing.assert_close(generator(torch.cat([x.flatten(1), code.flatten(1)], dim=1)), image)


def test_the_schedule_of_two_steps():
    last, first = ddgan_schedule(2).levels((0, 1))
    assert last.alpha**2 == pytest.approx(1 - 0.921324, abs=1e-6)
    assert first.alpha**2 == pytest.approx((1 - 0.921324) * (1 - 0.999451), rel=1e-3)


def test_a_code_counts_by_its_direction():
    network, code = tiny().network, torch.randn(2, 5)
    torch.testing.assert_close(network.style(code), network.style(7 * code))


@pytest.mark.parametrize("name", ["official", "bare"])
def test_the_tensors_give_the_configuration(name):
    _, file = official("ddgan", "v2")
    if name == "official":
        file = type(file)({f"module.{k}": v for k, v in file.tensors.items()})
    found = ddgan.infer(file)
    assert found["keys"] == name
    assert found["config"] == {
        "resolution": 16,
        "width": 16,
        "mult": [1, 2],
        "depth": 2,
        "levels": [0],
        "code": 10,
        "style": 32,
        "mapping": 3,
        "channels": 3,
    }
    generator = ddgan.build(**found["config"])
    state = translate(file.tensors, ddgan.KEYS[name](generator))
    generator.load_state_dict(state, strict=True)
    assert ddgan.infer(type(file)({"synthesis.b4.const": torch.zeros(1)})) is None


def test_a_published_file_is_loaded_by_its_path(tmp_path):
    _, file = official("ddgan", "v2")
    torch.save({f"module.{k}": v for k, v in file.tensors.items()}, tmp_path / "netG_1.pth")
    generator = zoo.load(tmp_path / "netG_1.pth", steps=3)
    assert generator.size == (16, 16) and generator.space.blocks["noise"] == (2, 3, 16, 16)
    weight = file.tensors["z_transform.1.weight"]
    assert torch.equal(generator.network.mapping[0].weight, weight)


@pytest.mark.parametrize(
    "shape", [(1, (), (1, 2)), (3, (16,), (1, 2)), (2, (), (2, 1)), (2, (8,), (1, 1, 3))]
)
def test_every_plan_is_read_back_from_its_tensors(shape):
    depth, attention, mult = shape
    config = {**TINY, "resolution": 16, "depth": depth, "attention": attention, "mult": mult}
    generator = ddgan.build(**config)
    state, file = generator.state_dict(), {}
    for rule in ddgan.KEYS["bare"](generator):
        for tensor in ("weight", "bias"):
            value = state.get(rule.ours.replace("{t}", tensor))
            if value is not None:
                layer = rule.theirs.endswith(".W")
                file[rule.theirs.replace("{t}", tensor)] = value[:, :, 0, 0].T if layer else value
    found = ddgan.infer(Checkpoint(file))["config"]
    assert (found["depth"], tuple(found["mult"])) == (depth, mult)
    again = ddgan.build(**{**config, **found, "attention": None})
    again.load_state_dict(translate(file, ddgan.KEYS["bare"](again)), strict=True)
