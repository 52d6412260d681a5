"""Files and options that no network can be made of, or another one than they say: one line where they are loaded."""

import argparse
import copy

import official
import pytest
import repositories
import torch
from repositories import diffusers

from latentzoo import zoo
from latentzoo.errors import CheckpointError, SpecError
from latentzoo.nn import levels
from latentzoo.rng import Rng
from latentzoo.zoo import _settings, consistency, ddgan, diffae, edm, guided_diffusion, sn_dpm


def test_sides_that_halve():
    assert levels.require((16, 24), 4) == (16, 24)
    with pytest.raises(
        SpecError, match=r"28 x 28 do not halve 3 times.*multiples of 8, as 32 x 32"
    ):
        levels.require((28, 28), 4)
    with pytest.raises(SpecError, match="2 x 16"):
        levels.require((2, 16), 3)


def test_a_repository_whose_side_its_levels_do_not_divide(tmp_path):
    config = {**repositories.UNET, "sample_size": 7}
    path = repositories.repository(
        tmp_path / "odd", repositories.network(config), diffusers.DDPMScheduler()
    )
    with pytest.raises(SpecError, match=r"maps of 7 x 7 do not halve 1 times"):
        zoo.load(path)


UNET = {"width": 32, "mult": [1, 2], "depth": 1, "attention": [2], "head_width": 16}


@pytest.mark.parametrize(
    "make",
    [
        lambda: guided_diffusion.build(**UNET, resolution=9),
        lambda: consistency.build(**UNET, resolution=9),
        lambda: edm.build(resolution=9, width=8, mult=[1, 2], depth=1, attention=[]),
        lambda: ddgan.build(resolution=30, mult=(1, 2, 2), width=16),
        lambda: sn_dpm.build(resolution=30, ch=32, ch_mult=(1, 2, 2)),
        lambda: diffae.build(
            resolution=30, width=32, mult=[1, 2, 2], encoder_mult=[1, 2, 2], style=32, attention=()
        ),
    ],
)
def test_a_side_given_as_an_option_that_the_levels_do_not_divide(make):
    with pytest.raises(SpecError, match="do not halve"):
        make()


@pytest.mark.parametrize("value", ["auto", None, [1.0]])
def test_what_a_file_says_has_the_types_of_the_options(value, tmp_path, monkeypatch):
    tensors, config = official.state("eg3d", "ffhq_8xdc")
    config = copy.deepcopy(config)
    config["rendering_kwargs"]["ray_start"] = value
    monkeypatch.setattr(official, "state", lambda *_: (tensors, config))
    path = official.persistent("eg3d", "ffhq_8xdc", neural_rendering_resolution=8)(tmp_path)
    with pytest.raises(CheckpointError, match=r"the option near=.* of the family 'eg3d'") as error:
        zoo.load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("stylegan2", ".blur.kernel"),
        ("stylegan2", "upsample.kernel"),
        ("stylegan2-human", "resample_filter"),
        ("eg3d", "resample_filter"),
        ("stylenerf", "resample_filter"),
        ("stylesdf", ".kernel"),
        ("giraffe_hd", ".kernel"),
        ("styleswin", "upsample.kernel"),
    ],
)
@pytest.mark.parametrize("change", ["box", "gain"])
def test_another_filter_is_not_passed_over(name, ending, change, tmp_path, monkeypatch):
    """The families whose filters are computed here compare those of the file with them."""
    real = official.state

    def other(*where):
        tensors, config = real(*where)
        found = [k for k in tensors if k.endswith(ending)]
        assert found
        box = torch.zeros(4, 4)
        box[1:3, 1:3] = 0.25
        new = {"box": lambda t: box, "gain": lambda t: 3 * t}[change]
        return tensors | {k: new(tensors[k]) for k in found}, config

    monkeypatch.setattr(official, "state", other)
    _, write, options = official.FILES[name]
    with pytest.raises(CheckpointError, match="is not the constant of this family"):
        zoo.load(write(tmp_path), **options)


@pytest.mark.parametrize("kind", [torch.float8_e5m2, torch.float8_e4m3fn, torch.bfloat16])
@pytest.mark.parametrize(
    "card", [("stylegan2", "s32_d64_m4"), ("stylesdf", "ffhq_like"), ("styleswin", "s32_d32_m3")]
)
def test_a_filter_that_is_rounded_with_its_file_is_the_same_filter(card, kind, tmp_path):
    tensors, config = official.state(*card)
    small = {k: t.clamp(-400, 400).to(kind) for k, t in tensors.items() if t.is_floating_point()}
    whole = {"g_ema": tensors | small, "args": argparse.Namespace(**config)}
    torch.save(whole, tmp_path / "a.pt")
    assert zoo.load(tmp_path / "a.pt").size


def test_a_table_of_classes_that_nothing_looks_at(tmp_path):
    tensors, _ = official.state("ldm", "v1")
    tensors |= {"cond_stage_model.embedding.weight": torch.randn(11, 64)}
    torch.save({"state_dict": tensors}, tmp_path / "a.ckpt")
    with pytest.raises(SpecError, match="a table of 11 classes, and its U-Net no attention"):
        zoo.load(tmp_path / "a.ckpt")


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.75, 1.0, -1.0])
def test_a_network_in_the_middle_of_its_growth_says_the_size_of_its_pictures(
    alpha, tmp_path, monkeypatch
):
    tensors, config = official.state("stylenerf", "ffhq_like")
    grown = tensors | {"synthesis.alpha": torch.tensor(alpha)}
    monkeypatch.setattr(official, "state", lambda *_: (grown, config))
    G = zoo.load(official.persistent("stylenerf", "ffhq_like")(tmp_path))
    assert G(Rng(0).normal(G.space.dim)).shape == (1, 3, *G.size)


@pytest.mark.parametrize("name", ["stylenerf", "stylesdf", "giraffe_hd", "edm"])
def test_an_option_that_the_tensors_do_not_fit_is_named(name, tmp_path):
    path = official.FILES[name][1](tmp_path)
    with pytest.raises(
        CheckpointError, match=r"do not fit resolution=64; they fit resolution=\d+"
    ):
        zoo.load(path, resolution=64)


def test_an_option_is_not_blamed_for_a_file_that_lacks_tensors(tmp_path):
    g_ema, _ = official.state("stylegan2", "s32_d64_m4")
    g_ema.pop("conv1.activate.bias")
    torch.save(g_ema, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"lacks 1 tensors"):
        zoo.load(tmp_path / "a.pt", truncation=0.7)


@pytest.mark.parametrize(
    "make",
    [
        lambda **sides: ddgan.build(resolution=32, mult=(1, 2), width=16, levels=[1], **sides),
        lambda **sides: sn_dpm.build(
            resolution=32,
            ch=32,
            ch_mult=(1, 2),
            levels=[1],
            attn_resolutions=sides.get("attention"),
        ),
        lambda **sides: diffae.build(
            **{"resolution": 32, "width": 32, "mult": [1, 2], "encoder_mult": [1, 2]},
            **{"style": 32, "levels": [1]},
            **sides,
        ),
    ],
)
def test_sides_of_attention_that_are_not_the_levels_are_refused(make):
    make(), make(attention=[16])
    with pytest.raises(SpecError, match=r"sides \[8\] does not fit 32 pixels .*sides are \[16\]"):
        make(attention=[8])


def test_steps_of_ddgan_beyond_all_reason():
    with pytest.raises(SpecError, match=r"steps=1000000.*<= 1000"):
        _settings.accept("ddgan", {"steps": 1_000_000})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cond_stage_model.transformer.text_model.embeddings.position_ids", "CLIP's text encoder"),
        ("cond_stage_model.model.transformer.resblocks.0.ln_1.weight", "OpenCLIP's text encoder"),
        ("conditioner.embedders.0.transformer.text_model.final_layer_norm.bias", "XL"),
        ("model.diffusion_model.joint_blocks.0.x_block.attn.proj.bias", "Stable Diffusion 3"),
        ("double_blocks.0.img_attn.proj.bias", "Flux"),
    ],
)
def test_one_file_of_text_to_image_says_what_it_is_and_how_it_is_loaded(name, said, tmp_path):
    latent_diffusion, _ = official.state("ldm", "v1")
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": {**latent_diffusion, name: torch.zeros(1)}}, path)
    with pytest.raises(CheckpointError, match=f"{said}.*config=FOLDER, and a prompt"):
        zoo.load(path)


@pytest.mark.parametrize("width", [64, 24])
def test_heads_of_a_width_that_does_not_divide_a_layer(width):
    with pytest.raises(SpecError, match=f"32 channels do not divide into heads of {width}"):
        consistency.build(**{**UNET, "mult": [1, 1], "head_width": width}, resolution=8)
