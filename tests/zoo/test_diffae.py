import pytest
import torch

from latentzoo import zoo
from latentzoo.diffusion.schedule import strided
from latentzoo.errors import CheckpointError, SpecError
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import translate
from latentzoo.rng import Rng
from latentzoo.zoo import diffae
from laws import obey, official, randomise

TINY = {
    "resolution": 8,
    "mult": (1, 1),
    "encoder_mult": (1, 1),
    "width": 16,
    "depth": 1,
    "encoder_depth": 1,
    "attention": (4,),
    "style": 6,
    "hidden": 10,
    "layers": 3,
    "betas": "const0.0015",
    "latent_betas": "const0.0015",
}


def tiny(**options):
    torch.manual_seed(0)
    generator = diffae.build(**{**TINY, "steps": 2, "latent_steps": 3, **options})
    randomise(generator)
    with torch.no_grad():
        # No network that undoes noise is wild; a start of unit variance is clipped here and there.
        generator.unet.out[2].weight *= 0.01
        generator.latent_net.layers[-1].linear.weight *= 0.1
        generator.conds_mean += torch.randn(1, 6)
        generator.conds_std += torch.rand(1, 6)
    return generator


def test_laws():
    generator = tiny()
    assert list(generator.space) == [("semantic", (6,)), ("start", (3, 8, 8))]
    obey(generator)


def test_a_fixed_start_leaves_the_code_alone():
    whole, alone = tiny(), tiny(latent="semantic", seed=5)
    assert list(alone.space) == [("semantic", (6,))]
    z = torch.randn(2, 6)
    start = alone.fixed.expand(2, -1, -1, -1)
    torch.testing.assert_close(alone(z), whole(whole.space.join(semantic=z, start=start)))
    assert torch.equal(alone(z), tiny(latent="semantic", seed=5)(z))
    assert not torch.allclose(alone(z), tiny(latent="semantic", seed=6)(z))


def test_images_stay_in_the_unit_interval():
    generator = tiny()
    images = generator(5 * torch.randn(4, generator.space.dim))
    assert images.min() >= 0 and images.max() <= 1


def test_codes_have_the_statistics_of_the_data():
    generator = tiny()
    z = torch.randn(3, 6)
    before = (generator.code(z) - generator.conds_mean) / generator.conds_std
    generator.conds_mean, generator.conds_std = torch.zeros(1, 6), torch.ones(1, 6)
    torch.testing.assert_close(generator.code(z), before)


def test_the_times_have_the_smallest_stride_that_gives_their_number():
    assert strided(3, 1000) == [0, 334, 668]
    assert strided(5, 1000) == [0, 200, 400, 600, 800]
    assert strided(20, 1000)[1] == 50 and len(strided(1000, 1000)) == 1000
    with pytest.raises(SpecError, match=r"\[499|\[334|500"):
        strided(501, 1000)


def test_an_image_has_a_latent_that_gives_it_again():
    generator = tiny(steps=5, latent_steps=5).double()
    z = Rng(1, 2, dtype=torch.float64).normal(generator.space.dim)
    image = (0.25 + 0.5 * generator(z)).clamp(0.1, 0.9)
    found = generator.encode(image, Rng(1, 2))
    code = generator.encoder(2 * image - 1)
    semantic = generator.space.split(found)["semantic"]
    torch.testing.assert_close(generator.code(semantic), code, atol=1e-6, rtol=0)
    torch.testing.assert_close(generator(found), image, atol=1e-6, rtol=0)


@pytest.mark.parametrize("option", [{"latent": "start"}, {"steps": 501}, {"betas": "square"}])
def test_impossible_options_are_refused(option):
    with pytest.raises(SpecError):
        tiny(**option)


def whole_file(card):
    recorded, file = official("diffae", card)
    style, side = recorded["style_ch"], recorded["img_size"]
    tensors = {f"{p}.{k}": v for k, v in file.tensors.items() for p in ("model", "ema_model")}
    tensors["x_T"] = torch.zeros(2, 3, side, side)
    tensors |= {"conds_mean": torch.rand(1, style), "conds_std": torch.rand(1, style)}
    return recorded, Checkpoint(tensors, container="torch")


@pytest.mark.parametrize("card", ["v1", "v2"])
def test_the_tensors_give_the_configuration(card):
    recorded, file = whole_file(card)
    found = diffae.infer(file)
    config = found["config"]
    assert config["resolution"] == recorded["img_size"]
    assert [config["resolution"] >> n for n in config["levels"]] == recorded["net_attn"]
    assert config["encoder_mult"] == recorded["net_enc_channel_mult"]
    assert config["layers"] == recorded["net_latent_layers"]
    generator = diffae.build(**config)
    state = translate(file.tensors, diffae.KEYS[found["keys"]](generator))
    generator.load_state_dict(state, strict=True)
    assert torch.equal(generator.conds_std, file.tensors["conds_std"])
    assert diffae.infer(Checkpoint({"ema_model.x": torch.zeros(1)})) is None


def test_a_published_file_is_loaded_by_its_path(tmp_path):
    _, file = whole_file("v1")
    torch.save({"state_dict": file.tensors, "global_step": 7}, tmp_path / "last.ckpt")
    generator = zoo.load(tmp_path / "last.ckpt", steps=2, latent="semantic", seed=3)
    assert generator.size == (16, 16) and generator.space.dim == 48
    assert torch.equal(generator.conds_mean, file.tensors["conds_mean"])
    assert generator.fixed.std().item() == pytest.approx(1, abs=0.1)


def test_sides_of_attention_that_are_given_count(tmp_path):
    recorded, file = whole_file("v1")
    torch.save({"state_dict": file.tensors}, tmp_path / "a.ckpt")
    load = lambda sides: zoo.load(tmp_path / "a.ckpt", attention=sides)
    assert load(recorded["net_attn"]).size == (recorded["img_size"],) * 2
    with pytest.raises(SpecError, match=r"attention at the sides .* does not fit"):
        load([8 if recorded["net_attn"] != [8] else 4])


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "ema_model.", "model.module."])
@pytest.mark.parametrize("noise", [True, False])
def test_the_network_alone_is_the_map_of_the_whole_file(prefix, noise, tmp_path):
    recorded, file = whole_file("v1")
    load = lambda tensors, **options: (
        torch.save(tensors, tmp_path / "a.pt"),
        zoo.load(tmp_path / "a.pt", steps=2, latent_steps=2, **options),
    )[1]
    whole = load({"state_dict": file.tensors})
    start = "ema_model."
    own = {k.removeprefix(start): t for k, t in file.tensors.items() if k.startswith(start)}
    alone = {f"{prefix}{k}": t for k, t in own.items()}
    beside = ["conds_mean", "conds_std", *(["x_T"] if noise else [])]
    alone |= {k: file.tensors[k] for k in beside}
    options = {} if noise else {"resolution": recorded["img_size"]}
    other = load(alone, **options)
    assert other.size == whole.size and "resolution" not in other.assumed
    pairs = zip(whole.state_dict().items(), other.state_dict().items(), strict=True)
    assert all(n == m and torch.equal(a, b) for (n, a), (m, b) in pairs)
    if not noise:
        (side,) = recorded["net_attn"]
        guessed = load(alone)
        assert guessed.size == 2 * (16 * recorded["img_size"] // side,)
        assert "attention were at 16 pixels" in guessed.assumed["resolution"]


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("ema_model.latent_net", "second stage"),
        ("conds_mean", "no conds_mean: a DiffAE draws codes"),
        ("conds_std", "no conds_std: a DiffAE draws codes"),
    ],
)
def test_a_file_that_cannot_draw_is_refused(missing, said):
    _, file = whole_file("v1")
    kept = {k: v for k, v in file.tensors.items() if not k.startswith(missing)}
    with pytest.raises(CheckpointError, match=said):
        diffae.infer(Checkpoint(kept))


def test_codes_that_are_not_normalised_are_refused():
    _, file = whole_file("v1")
    settings = {"hyper_parameters": {"latent_znormalize": False}}
    with pytest.raises(CheckpointError, match="latent_znormalize: False"):
        diffae.infer(Checkpoint(file.tensors, settings))
