import pytest
import torch

from latentzoo import zoo
from latentzoo.diffusion.schedule import Discrete, scaled_linear_betas
from latentzoo.errors import SpecError
from latentzoo.hub import fit
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule, translate
from latentzoo.rng import Rng
from latentzoo.zoo import ldm
from latentzoo.zoo.ldm import chain
from latentzoo.zoo.ldm.official import LEFT
from laws import obey, official, randomise

UNET = {"width": 32, "mult": (1, 2), "depth": 1, "attention": (2,), "head_width": 16}
STAGE = {
    "channels": 3,
    "latent": 2,
    "width": 32,
    "mult": (1, 1),
    "depth": 1,
    "attention": (),
}


def tiny(unet=None, first_stage=None, **options):
    torch.manual_seed(0)
    options = {"steps": 2, **options}
    unet, first_stage = UNET | (unet or {}), STAGE | (first_stage or {})
    generator = ldm.build(unet=unet, first_stage=first_stage, size=4, **options)
    randomise(generator)
    return generator


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"eta": 0.7},
        {"eta": 0.7, "white_box_steps": 0, "scale": None},
        {"eta": 0.7, "white_box_steps": 1},
        {"unet": {"modulate": True, "resample": True, "heads": 4}},
        {"first_stage": {"codebook": 20}, "quantise": False},
        {
            "unet": {"transformer": 1, "context": 6},
            "classes": 5,
            "empty_class": True,
            "class_index": 2,
            "guidance": 3.0,
        },
    ],
    ids=lambda o: "-".join(o) or "plain",
)
def test_laws(options):
    generator = tiny(**options)
    blocks = {"start": (3, 4, 4)}
    if options.get("eta") and options.get("white_box_steps") != 0:
        blocks["noise"] = (options.get("white_box_steps", 2), 3, 4, 4)
    assert dict(generator.space) == blocks and generator.size == (8, 8)
    obey(generator)


def test_the_steps_are_those_of_the_authors():
    schedule = Discrete.from_betas(scaled_linear_betas())
    times = lambda steps: [t.time for t, _ in chain(schedule, steps)]
    assert times(5) == [801, 601, 401, 201, 1]
    assert times(3) == [667, 334, 1]
    assert len(times(99)) == 99 and max(times(999)) == 999
    assert chain(schedule, 5)[-1][1].alpha ** 2 == pytest.approx(0.9985)


def test_a_code_is_decoded_by_its_nearest_entries_and_the_gradient_passes_them():
    stage = tiny(first_stage={"codebook": 20}).first_stage
    code = torch.randn(2, 3, 4, 4, requires_grad=True)
    entries = stage.quantize.embedding.weight
    pixels = code.detach().movedim(1, -1).reshape(-1, 3)
    nearest = entries[torch.cdist(pixels, entries).argmin(1)].view(2, 4, 4, 3).movedim(-1, 1)
    torch.testing.assert_close(stage.quantize(code.detach()), nearest)
    image = stage.decode(code)
    torch.testing.assert_close(image, stage.decoder(stage.post_quant_conv(nearest)))
    (gradient,) = torch.autograd.grad(image.sum(), code)
    q = nearest.requires_grad_()
    (there,) = torch.autograd.grad(stage.decoder(stage.post_quant_conv(q)).sum(), q)
    torch.testing.assert_close(gradient, there)


def test_distances_to_the_codebook_are_taken_in_pieces():
    stage = tiny(first_stage={"codebook": 7}).first_stage
    code = torch.randn(3, 3, 40, 40)
    whole = torch.cat([stage.quantize(c[None]) for c in code])
    assert torch.equal(stage.quantize(code), whole)


def test_guidance_goes_from_the_empty_class_through_the_class():
    classes = {"unet": {"transformer": 1, "context": 6}, "classes": 5, "empty_class": True}
    x, t = torch.randn(2, 3, 4, 4), torch.tensor([7.0, 500.0])
    network = lambda **o: tiny(**classes, **o)
    given, guided = network(class_index=1), network(class_index=1, guidance=2.5)
    empty = network(class_index=1)
    empty.label.fill_(4)
    expected = empty.eps(x, t) + 2.5 * (given.eps(x, t) - empty.eps(x, t))
    torch.testing.assert_close(guided.eps(x, t), expected)
    assert not torch.allclose(given.eps(x, t), network(class_index=2).eps(x, t))


def test_more_steps_draw_the_same_picture_more_finely():
    generators = [tiny(steps=s) for s in (2, 10, 20)]
    z = torch.randn(2, generators[0].space.dim)
    few, many, most = (g(z) for g in generators)
    assert (many - most).abs().mean() < 0.5 * (few - most).abs().mean()


@pytest.mark.parametrize("eta", [0.0, 0.6])
def test_an_image_has_a_latent_that_gives_its_code_again(eta):
    generator = tiny(eta=eta, scale=None, steps=3).double()
    generator.scale.fill_(0.7)
    generator.unet.out[2].weight *= 0.01  # no network that undoes noise is wild
    image = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    z = generator.encode(image, Rng(1, 2))
    x_0 = generator.scale * generator.first_stage.encode(2 * image - 1)
    torch.testing.assert_close(generator(z), generator.show(x_0), rtol=0, atol=1e-5)
    if eta > 0:
        again, other = generator.encode(image, Rng(1, 2)), generator.encode(image, Rng(3, 2))
        assert torch.equal(z, again)
        assert not torch.allclose(z[0], other[0]) and torch.allclose(z[1], other[1])


def test_codes_are_scaled():
    generator = tiny(scale=None)
    generator.scale.fill_(0.7)
    code = torch.randn(2, 3, 4, 4)
    expected = (generator.first_stage.decode(code / 0.7) + 1) / 2
    torch.testing.assert_close(generator.show(code), expected)


def test_fixed_noises_have_no_encoder():
    generator = tiny(eta=0.5, white_box_steps=1)
    with pytest.raises(SpecError, match="white_box_steps"):
        generator.encode(torch.rand(1, 3, 8, 8), Rng(0))


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0},
        {"steps": 1000},
        {"eta": 1.5},
        {"white_box_steps": 1},
        {"eta": 0.5, "white_box_steps": 4},
        {"class_index": 1},
        {"guidance": 2.0},
        {"classes": 5, "unet": {"transformer": 1, "context": 6}, "guidance": 2.0},
        {"classes": 5, "unet": {"transformer": 1, "context": 6}, "class_index": 5},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(SpecError):
        tiny(**options)


def test_a_published_file_is_loaded_by_its_path(tmp_path):
    _, file = official("ldm", "v2")
    file.tensors["betas"] = torch.tensor(scaled_linear_betas())
    torch.save({"state_dict": file.tensors, "epoch": 3}, tmp_path / "model.ckpt")
    generator = zoo.load(tmp_path / "model.ckpt", size=8, steps=4, eta=0.5, white_box_steps=2)
    assert generator.size == (32, 32)
    assert list(generator.space) == [("start", (4, 8, 8)), ("noise", (2, 4, 8, 8))]
    assert torch.equal(generator.scale, file.tensors["scale_factor"])
    averaged = file.tensors["model_ema.diffusion_modelout2bias"]
    assert torch.equal(generator.unet.out[2].bias, averaged)


@pytest.mark.parametrize(
    ("card", "dialect"), [("v1", "raw"), ("v2", "official"), ("v3", "official")]
)
def test_the_tensors_give_the_configuration(card, dialect):
    recorded, file = official("ldm", card)
    file.tensors["betas"] = torch.tensor(scaled_linear_betas())
    if dialect == "raw":
        kept = {k: v for k, v in file.tensors.items() if not k.startswith("model_ema.")}
        file = Checkpoint(kept, container="torch")
    found = ldm.infer(file)
    assert found["keys"] == dialect
    assert found["config"]["beta_end"] == pytest.approx(0.0195)
    generator = ldm.build(**found["config"])
    state = translate(file.tensors, ldm.KEYS[dialect](generator))
    generator.load_state_dict(state, strict=True)
    params = recorded["unet_config"]["params"]
    unet = found["config"]["unet"]
    assert unet["width"] == params["model_channels"]
    assert unet["modulate"] == unet["resample"] == params.get("resblock_updown", False)
    assert sorted(unet["attention"]) == sorted(params["attention_resolutions"])
    if card == "v3":
        assert found["config"]["classes"] == 11 and found["config"]["empty_class"]
    assert ldm.infer(Checkpoint({"model.x": torch.zeros(1)})) is None


def test_tables_and_leftovers_of_the_training_are_passed_over():
    names = ["ddim_sigmas", "ddim_alphas", "lvlb_weights", "logvar", "loss.logvar"]
    names += ["first_stage_model.loss.discriminator.main.0.weight"]
    state = {name: torch.ones(1) for name in names}
    assert translate(state, [Rule(key, None) for key in LEFT]) == {}


def test_the_card_of_imagenet_is_of_the_published_size():
    """Of 400 million numbers and an autoencoder of 55 million: the file has 1.8274 GB."""
    card = zoo.card("ldm-imagenet-256-v2")
    with fit.uninitialised(), torch.device("meta"):
        generator = ldm.build(**card.config)
    numbers = sum(value.numel() for value in generator.state_dict().values())
    assert 0.998 < 4 * numbers / 1.8274e9 < 1.0 and card.keys == "raw"
