"""Configurations of the official code beyond those of the published files: read, and equal to what they must be."""

import json
import re
import sys
from itertools import pairwise
from unittest.mock import Mock

import official
import pytest
import torch
from safetensors.torch import save_file

from latentzoo import energies, zoo
from latentzoo.errors import CheckpointError, SpecError, UnknownName
from latentzoo.guides.resnet import AttributeClassifier
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.nn.style import SynthesisLayer
from latentzoo.nn.truncation import truncate
from latentzoo.rng import Domain, Rng
from latentzoo.zoo import _family, _plan, shelf
from laws import PARITY, randomise

sys.path.insert(0, str(PARITY))


def made(tensors, records=None, **options):
    """The map of official tensors and records."""
    file = Checkpoint(tensors, records or {})
    name, seen, inner = _family.recognise(file, None)
    return _plan.Plan(name, seen["keys"], seen["config"], inner, None).build(**options)


def test_mappings_of_eg3d_have_the_widths_of_their_tensors():
    tensors, config = official.state("eg3d", "ffhq_8xdc")
    prefix, noise = "backbone.mapping.", torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=noise)
    z, w = config["z_dim"], config["w_dim"]
    layers = sum(k.startswith(f"{prefix}fc") and k.endswith("weight") for k in tensors)
    widths = [z + 9, *[13] * (layers - 1), w]
    tensors |= {f"{prefix}embed.weight": draw(9, 25), f"{prefix}embed.bias": draw(9)}
    for i in range(layers):
        tensors[f"{prefix}fc{i}.weight"] = draw(widths[i + 1], widths[i])
        tensors[f"{prefix}fc{i}.bias"] = draw(widths[i + 1])
    records = {"modules": {"": {"_init_kwargs": config}}}
    G = made(tensors, records, resolution=8)
    shapes = [tuple(G.network.mapping[f"fc{i}"].weight.shape) for i in range(layers)]
    assert shapes == [(o, i) for i, o in pairwise(widths)]
    assert G(Rng(0).normal(G.space.dim)).isfinite().all()
    _, seen, _ = _family.network(Checkpoint(tensors), ["eg3d"])  # without records
    assert seen["config"]["embed_features"] == 9 and seen["config"]["mapping_features"] == 13


BARE = [
    *(("eg3d", "ffhq_8xdc"), ("eg3d", "cars_2x"), ("stylenerf", "ffhq_like")),
    *(("stylenerf", "three_levels"), ("giraffe_hd", "ffhq_like"), ("giraffe_hd", "compcar_like")),
]


@pytest.mark.parametrize(("family", "card"), BARE)
def test_a_bare_state_of_any_size_asks_for_what_its_tensors_do_not_tell(family, card):
    """With the scene of the constructor's arguments it has all that they say; and each of these it asks for."""
    tensors, arguments = official.state(family, card)
    said = shelf.family(family).read(arguments)
    _, seen, inner = _family.network(Checkpoint(tensors), [family])
    answers = {name: value for name, value in said.items() if name in seen["assumed"]}
    own, plain = seen["config"] | answers, lambda x: list(x) if isinstance(x, tuple) else x
    differ = {n for n, x in said.items() if x is not None and plain(own.get(n)) != plain(x)}
    assert not differ
    G = _plan.Plan(family, seen["keys"], own, inner, None).build()
    assert G(Rng(0).normal(G.space.dim)).isfinite().all()


def test_refiners_of_giraffe_hd_with_kernels_of_one_pixel():
    """The picture is that of kernels of three whose eight outer numbers are zero."""
    tensors, config = official.state("giraffe_hd", "ffhq_like")
    refiner = [k for k in tensors if k.startswith("refine_renderer.convs") and "conv.weight" in k]
    assert refiner
    middle = {k: tensors[k][..., 1:2, 1:2].clone() for k in refiner}
    wide = {k: torch.nn.functional.pad(v, (1, 1, 1, 1)) for k, v in middle.items()}
    one = made({**tensors, **middle}, {"args": {**config, "refine_kernal_size": 1}})
    three = made({**tensors, **wide}, {"args": {**config, "refine_kernal_size": 3}})
    z = Rng(0).normal(one.space.dim)
    torch.testing.assert_close(one(z), three(z), atol=1e-5, rtol=1e-5)
    seen = _family.network(Checkpoint({**tensors, **middle}), ["giraffe_hd"])[1]["config"]
    assert seen["refine_kernel"] == 1


@pytest.mark.parametrize("card", ["ffhq_like", "afhq_like"])
def test_the_jitter_of_stylesdf_is_one_for_a_ray_or_one_for_each_of_its_depths(card):
    import check

    config = check.read_json(PARITY / "cards" / "stylesdf" / f"{card}.json")["config"]
    driver = check.driver("stylesdf")
    G = driver.build(config).double()
    randomise(G)
    side, depths = G.network.resolution, G.network.samples
    azimuth = torch.tensor([[0.1, 0.2]], dtype=torch.float64)
    options = {"dist_radius": 0.12, "fov_ang": 6.0}
    pose, focal, near, far = driver.camera(azimuth, options, side)
    inputs = {"z": Rng(0).normal(G.space.dim).double(), "extrinsics": pose, "focal": focal}
    inputs |= {"near": near, "far": far}
    rays = torch.rand(1, side, side, 1, dtype=torch.float64)
    render = lambda t: driver.call(G, "render_jitter", {**inputs, "t_rand": t}, options, config)
    single, each = render(rays), render(rays.expand(-1, -1, -1, depths))
    for name, value in single.items():
        torch.testing.assert_close(each[name], value)
    other = render(torch.rand(1, side, side, depths, dtype=torch.float64))
    assert not torch.allclose(other["sdf"], single["sdf"])


MEANS = {
    ("stylegan2", "s32_d64_m4"): "latent_avg",
    ("stylegan2_ada", "human_32x16"): "mapping.w_avg",
    ("stylegan3", "t16_uncond"): "mapping.w_avg",
    ("eg3d", "ffhq_8xdc"): "backbone.mapping.w_avg",
    ("stylenerf", "ffhq_like"): "mapping.w_avg",
}


@pytest.mark.parametrize("source", MEANS, ids="/".join)
def test_mean_styles_of_layers(source):
    """Equal rows are one mean; others are one for each layer, and any other number is refused."""
    (tensors, _), name = official.state(*source), MEANS[source]
    file = lambda mean, psi: made({**tensors, name: mean}, truncation=psi).double()
    mean = torch.linspace(-1, 1, 64)[: len(tensors.get(name, range(64)))]
    with pytest.raises(SpecError, match="99 mean styles do not fit") as error:
        file(mean.expand(99, -1), 0.5)
    layers = int(re.findall(r"fit (\d+) layers", str(error.value))[0])
    plain = file(mean, 0.5)
    z = Rng(0, dtype=torch.float64).normal(plain.space.dim)
    for shape in ((1,), (1, 1), (layers,), (1, layers)):
        same = file(mean.expand(*shape, -1).clone(), 0.5)
        torch.testing.assert_close(same(z), plain(z))
    each = torch.randn(1, layers, len(mean), generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(file(each, 0.5)(z), plain(z))
    torch.testing.assert_close(file(each, 1.0)(z), file(mean, 1.0)(z))


@pytest.mark.parametrize("cutoff", [None, 0, 2, 5])
def test_each_layer_is_drawn_to_its_own_mean(cutoff):
    w, means = torch.randn(3, 4).double(), torch.randn(5, 4).double()
    found = truncate(w, means, 0.3, 5, cutoff)
    for layer, mean in enumerate(means):
        near = layer < (5 if cutoff is None else cutoff)
        torch.testing.assert_close(found[:, layer], mean + 0.3 * (w - mean) if near else w)


def test_a_network_of_nvidia_without_its_mean_style_has_one_of_its_latents():
    tensors, _ = official.state("stylegan2_ada", "human_32x16")
    without = {name: t for name, t in tensors.items() if name != "mapping.w_avg"}
    assert made(without).w_avg is None
    assert made(without, truncation=0.5)(Rng(0).normal(made(without).space.dim)).isfinite().all()


@pytest.fixture
def classifiers(tmp_path):
    """A folder of three small CelebA classifiers, and one file of all of them."""
    found = {}
    for i, name in enumerate(("Young", "Eyeglasses", "Male")):
        torch.manual_seed(i)
        network = AttributeClassifier((1, 1, 1, 1), 8)
        randomise(network)
        found[name] = network.state_dict()
        (tmp_path / "celeba" / name).mkdir(parents=True)
        torch.save({"model": found[name], "epoch": 3}, tmp_path / "celeba" / name / "best.pth")
    whole = {
        f"classifiers.{i}.model.{k}": v for i, s in enumerate(found.values()) for k, v in s.items()
    }
    torch.save(whole, tmp_path / "energy.pth")
    return tmp_path


def test_several_celeba_classifiers_are_one_guide(classifiers):
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    folder = str(classifiers / "celeba")
    load = lambda target, model: energies.load("attribute", target, model=str(model))(image)
    single = lambda name, target: load(target, f"{folder}/{name}/best.pth")
    both = load("Eyeglasses=0, Young", folder)
    torch.testing.assert_close(
        both, single("Eyeglasses", "Eyeglasses=0") + single("Young", "Young")
    )
    torch.testing.assert_close(load("Male=0", folder), single("Male", "Male=0"))
    every = load("Young,Eyeglasses=0,Male", classifiers / "energy.pth")
    torch.testing.assert_close(every, both + single("Male", "Male"))


@pytest.mark.parametrize(
    ("target", "place", "error", "match"),
    [
        ("Yung", "celeba", UnknownName, "'Young'"),
        ("Young=2", "celeba", SpecError, "'Young=2' is not one"),
        ("Young=", "celeba", SpecError, "'Young=' is not one"),
        ("Young,Male=0,Young=0", "celeba", SpecError, "'Young' is given twice"),
        ("Young,Male", "energy.pth", CheckpointError, "3 classifiers and 2 attributes"),
        ("Young", "energy.pth", CheckpointError, "3 classifiers and 1 attributes"),
    ],
)
def test_guides_that_are_not_there_are_one_line(classifiers, target, place, error, match):
    with pytest.raises(error, match=match) as found:
        energies.load("attribute", target, model=str(classifiers / place))
    assert "\n" not in str(found.value)


NOISY = {
    ("stylegan2", "s32_d64_m4"): "noises.",
    ("stylegan2_ada", "human_32x16"): "noise_const",
    ("stylesdf", "ffhq_like"): "noises.",
    ("giraffe_hd", "ffhq_like"): "noises.",
    ("eg3d", "ffhq_8xdc"): "noise_const",
}


@pytest.mark.parametrize("source", NOISY, ids="/".join)
def test_parameters_alone_have_maps_of_noise_of_a_fixed_seed_and_say_so(source, tmp_path):
    tensors, _ = official.state(*source)
    alone = {name: x for name, x in tensors.items() if NOISY[source] not in name}
    assert len(alone) < len(tensors)
    options = {"enlarger_start": 8, "resolution": 8} if source[0] == "eg3d" else {}
    torch.save(alone, tmp_path / "a.pt")
    one, two = (zoo.load(tmp_path / "a.pt", **options) for _ in range(2))
    said = next(text for name, text in one.assumed.items() if "noise" in name)
    assert said == "maps drawn from seed 0, as the file has none"
    pairs = list(zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    z = Rng(0).normal(one.space.dim)
    assert torch.equal(one(z), two(z)) and one(z).isfinite().all()
    torch.save(tensors, tmp_path / "b.pt")
    assert not any("noise" in name for name in zoo.load(tmp_path / "b.pt", **options).assumed)


@pytest.mark.parametrize("source", list(NOISY)[:2], ids="/".join)
def test_the_seed_of_maps_that_a_file_lacks_is_the_users(source, tmp_path):
    tensors, _ = official.state(*source)
    alone = {name: x for name, x in tensors.items() if NOISY[source] not in name}
    torch.save(alone, tmp_path / "a.pt")
    for seed in (0, 1):
        G, rng = zoo.load(tmp_path / "a.pt", seed=seed), Rng(seed, domain=Domain.MAP)
        assert not any("noise" in name for name in G.assumed)
        for layer in G.synthesis.layers:
            assert torch.equal(layer.noise_const, rng.normal(*layer.size)[0])


def test_a_card_does_not_hide_that_maps_are_drawn(tmp_path):
    tensors, _ = official.state("stylegan2_ada", "human_32x16")
    alone = {name: x for name, x in tensors.items() if "noise_const" not in name}
    torch.save(alone, tmp_path / "a.pt")
    plan = _plan.Plan.of(str(tmp_path / "a.pt"))
    told = shelf.card("stylegan2-ffhq-1024")
    G = _plan.Plan(plan.family, plan.keys, plan.config, plan.checkpoint, told).build()
    assert G.assumed == {"noise or seed": "maps drawn from seed 0, as the file has none"}


def test_a_tensor_is_what_its_first_rule_makes_of_it():
    rules = [Rule("old.{x*}", None), Rule("{x*}", "{x}")]
    network = SynthesisLayer(1, 1, 1, (4, 4))
    assert _plan.lacks_noise(network, ["old.noise_const"], rules)
    assert not _plan.lacks_noise(network, ["old.noise_const", "a.noise_const"], rules)


def test_an_error_is_not_its_own_cause(tmp_path, monkeypatch):
    file = Checkpoint({}, {}, tmp_path / "a.pt")
    for said, cause in ((f"{tmp_path}/a.pt: is odd", None), ("is odd", CheckpointError)):
        odd = CheckpointError(said)
        monkeypatch.setattr("latentzoo.zoo.diffae.infer", Mock(side_effect=odd))
        with pytest.raises(CheckpointError, match=r"a\.pt: is odd$") as caught:
            _family.configuration("diffae", file)
        assert isinstance(caught.value.__cause__, cause or type(None))


def test_a_network_of_rosinality_that_was_trained_without_noise(tmp_path):
    tensors, _ = official.state("stylegan2", "s32_d64_m4")
    without = {name: x for name, x in tensors.items() if "noise" not in name}
    silent = {name: 0 * x if ".noise.weight" in name else x for name, x in tensors.items()}
    (one, other), z = (made(without), made(silent)), Rng(0).normal(made(silent).space.dim)
    assert torch.equal(one(z), other(z))


FRAGMENTS = {
    "decoder.conv_in.weight": "the decoder of an autoencoder alone",
    "encoder.conv_in.weight": "the encoder of an autoencoder alone, which makes no pictures",
    "up.0.block.0.norm1.weight": "the decoder of an autoencoder alone",
    "down.0.attn2.to_k.weight": "a U-Net that reads texts",
    "controlnet_cond_embedding.blocks.0.bias": "a ControlNet",
    "lora_unet_down_0.lora_down.weight": "a LoRA; load its pipeline with the option lora=FILE",
    "text_model.encoder.layers.0.mlp.fc1.bias": "a text encoder",
    "d.final_linear.0.weight": "a discriminator",
    "string_to_param.*": "an embedding of a new word",
    "synthesis.b4.const": "a synthesis network without its mapping",
}


@pytest.mark.parametrize(("name", "said"), FRAGMENTS.items())
def test_a_part_of_a_generator_is_called_what_it_is(name, said, tmp_path):
    torch.save({name: torch.ones(2), f"{name}.more": torch.ones(2)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=f"the file holds {said}") as caught:
        zoo.load(tmp_path / "a.pt")
    assert "\n" not in str(caught.value)


CONFIGS = {
    "AutoencoderTiny": {"_class_name": "AutoencoderTiny"},
    "ViTModel": {"architectures": ["ViTModel"]},
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_single_network_is_called_by_its_configuration(kind, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS[kind]))
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"the file holds .*{kind}.*; give"):
        zoo.load(tmp_path)


def test_a_converted_file_says_that_its_maps_are_drawn(tmp_path):
    state = {
        n: x for n, x in official.state("stylegan2", "s32_d64_m4")[0].items() if "noises" not in n
    }
    torch.save(state, tmp_path / "a.pt")
    card = zoo.convert(tmp_path / "a.pt", tmp_path / "a.safetensors")
    assert card.assumed["noise or seed"] == "maps drawn from seed 0, as the file has none"


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ("model.diffusion_model.", "no autoencoder .*family=guided_diffusion"),
        ("first_stage_model.", "the autoencoder of a latent diffusion alone"),
    ],
)
def test_one_half_of_a_latent_diffusion_is_named(kept, said, tmp_path):
    tensors, _ = official.state("ldm", "v1")
    half = {name: x for name, x in tensors.items() if name.startswith(kept)}
    names = [half, {name.removeprefix(kept): x for name, x in half.items()}]
    for state in names if kept == "first_stage_model." else names[:1]:
        torch.save(state, tmp_path / "a.pt")
        with pytest.raises(CheckpointError, match=said):
            zoo.load(tmp_path / "a.pt")
