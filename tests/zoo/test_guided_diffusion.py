import official as files
import pytest
import torch

from latentzoo import zoo
from latentzoo.errors import CheckpointError, SpecError, UnknownName
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.rng import Rng
from latentzoo.zoo import _family, guided_diffusion
from laws import obey, official, randomise

TINY = {
    "width": 32,
    "mult": [1, 2],
    "depth": 1,
    "attention": [2],
    "head_width": 16,
    "resolution": 8,
}


def tiny(**options):
    torch.manual_seed(0)
    generator = guided_diffusion.build(**(TINY | {"steps": 4} | options))
    randomise(generator)
    return generator


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sampler": "ddpm", "white_box_steps": 2},
        {"sampler": "ddpm", "learned": False, "resample": False, "modulate": False},
        {"eta": 0.5, "classes": 3, "class_index": 2, "clip": False, "betas": "cosine"},
        {"channels": 1, "sampler": "ddpm"},
    ],
)
def test_laws(options):
    generator = tiny(**options)
    noises = 0 if options.get("sampler", "ddim") == "ddim" and not options.get("eta") else 3
    assert generator.space.blocks["start"] == (options.get("channels", 3), 8, 8)
    latent = options.get("white_box_steps", noises)
    assert generator.space.blocks.get("noise", (0,))[0] == latent
    obey(generator)


@pytest.mark.parametrize("options", [{"eta": 1.0}, {"sampler": "ddpm"}])
def test_a_picture_has_a_latent(options):
    generator = tiny(**options).double()
    picture = generator(Rng(0, dtype=torch.float64).normal(generator.space.dim)).clamp(0.1, 0.9)
    z = generator.encode(picture, Rng(1, dtype=torch.float64))
    torch.testing.assert_close(generator(z), picture, rtol=0, atol=0.1)


def test_classes_differ():
    z = Rng(0).normal(tiny().space.dim)
    images = [tiny(classes=3, class_index=i)(z) for i in range(3)]
    assert (images[0] - images[1]).abs().max() > 1e-3 < (images[1] - images[2]).abs().max()


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"class_index": 1}, SpecError, "it has none"),
        ({"steps": 501}, SpecError, "no stride gives 501 steps"),
        ({"sampler": "ddpm", "steps": 1001}, SpecError, "do not fit 1000 times"),
        ({"sampler": "plms"}, UnknownName, "plms"),
        ({"betas": "sigmoid"}, UnknownName, "sigmoid"),
        ({"head_width": None}, SpecError, "give heads or head_width"),
        ({"head_width": None, "heads": 5}, SpecError, "do not divide into 5 heads"),
        ({"resolution": None}, SpecError, "give resolution="),
        ({"channels": 4}, SpecError, "have 4 channels"),
    ],
)
def test_options_out_of_range(options, error, match):
    with pytest.raises(error, match=match):
        guided_diffusion.build(**(TINY | {"steps": 4} | options))


@pytest.mark.parametrize("card", ["classes_updown", "grey_plain"])
def test_a_file_tells_its_network(card):
    config, file = official("guided_diffusion", card)
    family, seen, _ = _family.recognise(file, None)
    assert family == "guided_diffusion"
    import check

    told = check.driver("guided_diffusion").settings(config)
    unsaid = {"heads", "head_width", "parts_first", "resolution", "betas", "times"}
    assert {k: v for k, v in seen["config"].items() if k not in unsaid} == {
        k: v for k, v in told.items() if k not in unsaid
    }
    assert unsaid - {"heads", "head_width"} <= seen["assumed"].keys()


@pytest.mark.parametrize("name", ["adm-imagenet-64", "adm-imagenet-128", "adm-imagenet-512"])
def test_the_published_files_are_recognised_as_their_cards_say(name):
    config = zoo.card(name).config
    with torch.device("meta"):
        network = guided_diffusion.build(**config)
    tensors = {k.removeprefix("unet."): v for k, v in network.state_dict().items()}
    seen = guided_diffusion.infer(Checkpoint(tensors))["config"]
    assert {k: seen[k] for k in config if k != "class_index"} == {
        k: v for k, v in config.items() if k != "class_index"
    }
    with torch.device("meta"):
        assert guided_diffusion.build(**seen).size == network.size


def test_an_upsampler_is_refused():
    _, file = official("guided_diffusion", "classes_updown")
    tensors = {**file.tensors, "input_blocks.0.0.weight": torch.zeros(32, 6, 3, 3)}
    with pytest.raises(CheckpointError, match="enlarges pictures"):
        guided_diffusion.infer(Checkpoint(tensors))


def test_a_file_of_the_training_loop_loads(tmp_path):
    tensors, _ = files.state("guided_diffusion", "classes_updown")
    torch.save(tensors, tmp_path / "ema_0.9999_500000.pt")
    options = {"resolution": 8, "steps": 4, "head_width": 16, "class_index": 3}
    generator = zoo.load(tmp_path / "ema_0.9999_500000.pt", **options)
    assert generator(Rng(0).normal(generator.space.dim)).shape == (1, 3, 8, 8)
