import json
import shutil

import pytest
import torch

from latentzoo import zoo
from latentzoo.errors import LatentzooError, SpecError
from latentzoo.hub import fit
from latentzoo.hub.keys import translate
from latentzoo.hub.read import read
from latentzoo.zoo import ldm_diffusers
from laws import obey, randomise

diffusers = pytest.importorskip("diffusers")

BLOCKS = {
    "block_out_channels": (32, 32),
    "layers_per_block": 1,
    "norm_num_groups": 32,
}
SCHEDULER = {
    "beta_start": 0.0015,
    "beta_end": 0.0195,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
}


def autoencoder(kind):
    ends = {
        "down_block_types": ("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        "up_block_types": ("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
    }
    if kind == "vae":
        return diffusers.AutoencoderKL(latent_channels=3, scaling_factor=0.6, **BLOCKS, **ends)
    more = {"num_vq_embeddings": 9, "vq_embed_dim": 3, "scaling_factor": 1.0}
    return diffusers.VQModel(latent_channels=2, **more, **BLOCKS, **ends)


@pytest.fixture(scope="module", params=["vqvae", "vae"])
def repository(request, tmp_path_factory):
    """A tiny pipeline, its folder, and the name of its autoencoder."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=4,
        in_channels=3,
        out_channels=3,
        attention_head_dim=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        **BLOCKS,
    )
    stage = autoencoder(request.param)
    randomise(unet)
    randomise(stage)
    folder = tmp_path_factory.mktemp(request.param)
    for name, part in (("unet", unet), (request.param, stage)):
        part.save_pretrained(folder / name)
    scheduler = diffusers.DDIMScheduler(**SCHEDULER, set_alpha_to_one=False, steps_offset=1)
    scheduler.save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text('{"_class_name": "LDMPipeline"}')
    return unet, stage, scheduler, folder


def load(folder, **options):
    file = read(folder)
    found = ldm_diffusers.infer(file)
    generator = ldm_diffusers.build(**found["config"], **options)
    rules = ldm_diffusers.KEYS[found["keys"]](generator)
    generator.load_state_dict(translate(file.tensors, rules), strict=True)
    return generator.eval().requires_grad_(False)


def test_the_images_are_those_of_diffusers(repository):
    unet, stage, scheduler, folder = repository
    generator = load(folder, steps=5)
    z = torch.randn(2, generator.space.dim)
    x = z.view(2, 3, 4, 4)
    scheduler.set_timesteps(5)
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(unet(x, t).sample, t, x).prev_sample
        image = stage.decode(x / stage.config.scaling_factor).sample
    torch.testing.assert_close(generator(z), (image + 1) / 2, atol=1e-4, rtol=1e-4)
    pixels = torch.rand(2, 3, 8, 8)
    encoded = stage.encode(2 * pixels - 1)
    code = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mean
    torch.testing.assert_close(generator.first_stage.encode(2 * pixels - 1), code)


def test_the_zoo_recognises_the_folder(repository):
    generator = zoo.load(repository[-1], steps=3)
    assert generator.size == (8, 8) and len(generator.pairs) == 3


def test_laws(repository):
    generator = load(repository[-1], steps=2, eta=0.5, quantise=False)
    assert list(generator.space) == [("start", (3, 4, 4)), ("noise", (2, 3, 4, 4))]
    obey(generator)


def test_the_names_of_2022_are_read(repository, tmp_path):
    file = read(repository[-1])
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, value in file.tensors.items():
        for new, older in old.items():
            name = name.replace(f".{new}.", f".{older}.")
        renamed[name] = value
    found = ldm_diffusers.infer(file)
    generator = ldm_diffusers.build(**found["config"])
    rules = ldm_diffusers.KEYS[found["keys"]](generator)
    generator.load_state_dict(translate(renamed, rules), strict=True)


def test_schedules_that_are_not_supported_are_refused():
    with pytest.raises(SpecError, match="clip_sample"):
        ldm_diffusers.chain({**SCHEDULER, "clip_sample": True}, 5)
    with pytest.raises(SpecError, match="prediction_type"):
        ldm_diffusers.chain({**SCHEDULER, "prediction_type": "v_prediction"}, 5)
    with pytest.raises(SpecError, match="steps"):
        ldm_diffusers.chain(SCHEDULER, 1001)


OTHER = {
    "down_block_types": ("DownEncoderBlock2D", "DownEncoderBlock2D"),
    "block_out_channels": (32, 64),
    "act_fn": "relu",
    "norm_num_groups": 16,
    "norm_type": "spatial",
    "vq_embed_dim": 2,
    "shift_factor": 0.3,
    "latents_mean": [0.1, 0.2, 0.3],
    "latents_std": [1.1, 1.2, 1.3],
    "scaling_factor": 0.5,
    "layers_per_block": 2,
    "num_vq_embeddings": 7,
    "latent_channels": 2,
}
"""Another value for each key that is no number of samples, and no switch."""


@pytest.mark.parametrize("kind", ["vqvae", "vae"])
def test_every_key_of_an_autoencoder_is_followed_or_refused(kind):
    """One at a time, and each left out; the codes are decoded as diffusers does, with its scale."""
    base = autoencoder(kind)
    keys = [k for k in base.config if k[:1] != "_"]
    for key, change in [
        (None, None),
        *((key, c) for key in keys for c in ("changed", "left out")),
    ]:
        given = {k: v for k, v in base.config.items() if k[:1] != "_"}
        if change == "changed":
            old = given[key]
            given[key] = OTHER.get(key, not old if isinstance(old, bool) else 5)
        elif key is not None:
            del given[key]
        if key in ("up_block_types", "sample_size") or (
            kind == "vqvae" and key == "scaling_factor"
        ):
            continue  # mirrors the way down; no meaning; without one it is 1, as published, and said
        torch.manual_seed(0)
        try:
            stage = type(base)(**given)
        except (ValueError, TypeError, NotImplementedError, IndexError):
            continue  # diffusers has no such network either
        randomise(stage)
        config = {"_class_name": type(base).__name__, **given}
        try:
            ours = ldm_diffusers.first_stage(config, quantise=True)
            rules = ldm_diffusers.autoencoder(ours.factor.bit_length())
            fit.fit(ours, stage.state_dict(), rules, source="stage")
        except LatentzooError as error:
            assert "\n" not in str(error)
            continue
        code = torch.randn(
            1, stage.config.latent_channels if kind == "vae" else ours.channels, 4, 4
        )
        with torch.no_grad():
            image = stage.decode(code / stage.config.scaling_factor).sample
            found = ours.decode(code / ldm_diffusers.scaling(config))
        torch.testing.assert_close(found, image, atol=1e-4, rtol=1e-3, msg=f"{key} {change}")


def test_a_scale_that_is_not_there_is_said_and_can_be_set(repository, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(repository[-1], folder)
    place = next(folder.glob("v*/config.json"))
    config = json.loads(place.read_text())
    known = config.pop("scaling_factor")
    place.write_text(json.dumps(config))
    alone = zoo.load(folder, steps=2)
    assert "scale" in alone.assumed
    told = zoo.load(folder, steps=2, scale=known)
    z = torch.randn(1, told.space.dim)
    assert not told.assumed and torch.equal(told(z), zoo.load(repository[-1], steps=2)(z))


@pytest.mark.parametrize("key", sorted(ldm_diffusers.TYPES))
@pytest.mark.parametrize("name", ["VQModel", "AutoencoderKL"])
def test_an_autoencoder_of_other_values_is_refused_in_one_line(name, key):
    levels = {"block_out_channels": [32, 64], "down_block_types": ["DownEncoderBlock2D"] * 2}
    config = {"_class_name": name, **levels, "up_block_types": ["UpDecoderBlock2D"] * 2}
    ldm_diffusers.first_stage(config, quantise=True)
    wrong = ("x", -1, 0, 1.5, True, {}, [], ["x", "y"], [32], [1, 2])
    allowed = {"scaling_factor": (1.5,)}.get(key, ())
    for value in (v for v in wrong if v not in allowed):
        with pytest.raises(SpecError) as caught:
            ldm_diffusers.first_stage({**config, key: value}, quantise=True)
        assert "the autoencoder's" in str(caught.value) or "an autoencoder" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_way_up_mirrors_the_way_down():
    config = {"_class_name": "VQModel", "block_out_channels": [32, 64]}
    config["down_block_types"] = ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"]
    ups = ["AttnUpDecoderBlock2D", "UpDecoderBlock2D"]
    ldm_diffusers.first_stage({**config, "up_block_types": ups}, quantise=True)
    with pytest.raises(SpecError, match="must mirror each other"):
        ldm_diffusers.first_stage({**config, "up_block_types": ups[::-1]}, quantise=True)
