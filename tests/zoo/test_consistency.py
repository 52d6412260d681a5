import json

import official as files
import pytest
import repositories
import torch
from repositories import diffusers

from latentzoo import zoo
from latentzoo.diffusion.consistency import indices
from latentzoo.errors import SpecError, UnknownName
from latentzoo.rng import Rng
from latentzoo.zoo import _family, consistency, consistency_diffusers
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
    generator = consistency.build(**(TINY | options))
    randomise(generator)
    return generator


@pytest.mark.parametrize(
    ("options", "noises"),
    [
        ({}, 0),
        ({"steps": 3}, 2),
        ({"timesteps": [22, 0], "clip": False}, 1),
        ({"timesteps": [0, 20, 39]}, 1),  # the last one is the lowest noise: nothing is put on it
        ({"steps": 3, "white_box_steps": 1, "classes": 3, "class_index": 2}, 1),
        ({"sampler": "heun", "steps": 3, "modulate": False}, 0),
        ({"sampler": "ddim", "steps": 3, "eta": 1.0, "channels": 1}, 2),
    ],
)
def test_laws(options, noises):
    generator = tiny(**options)
    assert generator.space.blocks["start"] == (options.get("channels", 3), 8, 8)
    assert generator.space.blocks.get("noise", (0,))[0] == noises
    obey(generator)


def test_a_picture_has_a_latent():
    generator = tiny(steps=3, clip=False).double()
    picture = generator(Rng(0, dtype=torch.float64).normal(generator.space.dim))
    z = generator.encode(picture, Rng(1, dtype=torch.float64))
    torch.testing.assert_close(generator(z), picture, rtol=0, atol=0.1)


def test_indices():
    assert indices(1, None, 40) == [0] and indices(2, None, 40) == [0, 20]
    assert indices(9, [22, 0], 40) == [0, 22]
    for steps, timesteps in ((0, None), (41, None), (1, [22]), (1, [0, 0]), (1, [0, 40]), (1, [])):
        with pytest.raises(SpecError):
            indices(steps, timesteps, 40)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"class_index": 1}, SpecError, "it has none"),
        ({"steps": 41}, SpecError, "41 steps do not fit 40 noises"),
        ({"timesteps": [5, 9]}, SpecError, "the highest noise"),
        ({"sampler": "heun", "timesteps": [0, 2]}, SpecError, "leave out timesteps"),
        ({"sigma_min": 81.0}, SpecError, "sigma_min=81"),
        ({"sampler": "plms"}, UnknownName, "plms"),
        ({"head_width": None}, SpecError, "give heads or head_width"),
        ({"resolution": None}, SpecError, "give resolution="),
    ],
)
def test_options_out_of_range(options, error, match):
    with pytest.raises(error, match=match):
        consistency.build(**(TINY | options))


@pytest.mark.parametrize("card", ["classes_modulated", "added_three_levels"])
def test_a_file_tells_its_network_and_is_not_guided_diffusion(card):
    import check

    config, file = official("consistency", card)
    family, seen, _ = _family.recognise(file, None)
    told = check.driver("consistency").settings(config)
    assert family == "consistency"
    unsaid = {"head_width", "resolution"}
    assert {k: seen["config"][k] for k in told.keys() - unsaid} == {
        k: v for k, v in told.items() if k not in unsaid
    }
    assert {"heads or head_width", "sampler", "noises", "resolution"} == seen["assumed"].keys()


def test_a_file_of_the_training_loop_loads_and_says_what_it_took(tmp_path):
    tensors, _ = files.state("consistency", "classes_modulated")
    torch.save(tensors, tmp_path / "cd_imagenet64_l2.pt")
    options = {"resolution": 8, "head_width": 16, "class_index": 3, "timesteps": [0, 22]}
    with pytest.warns(UserWarning, match="takes heun"):
        generator = zoo.load(tmp_path / "cd_imagenet64_l2.pt", **options)
    assert generator(Rng(0).normal(generator.space.dim)).shape == (1, 3, 8, 8)
    assert set(generator.assumed) == {"sampler", "noises"}


def pipeline(folder, unet=repositories.UNET, **scheduler):
    return repositories.repository(
        folder / "cm",
        repositories.network(unet),
        diffusers.CMStochasticIterativeScheduler(**scheduler),
        diffusers.ConsistencyModelPipeline,
    )


@pytest.mark.parametrize(
    ("call", "options", "scheduler"),
    [
        ({"num_inference_steps": 1}, {"steps": 1}, {}),
        ({"num_inference_steps": 3}, {"steps": 3}, {}),
        ({"timesteps": [22, 0]}, {"timesteps": [0, 22]}, {}),
        ({"timesteps": [39, 10, 0]}, {"timesteps": [0, 10, 39]}, {}),
        (
            {"num_inference_steps": 2},
            {"steps": 2},
            {
                "num_train_timesteps": 151,
                "sigma_min": 0.1,
                "sigma_data": 0.3,
                "rho": 5.0,
                "clip_denoised": False,
            },
        ),
    ],
)
def test_a_repository_is_diffusers_own_pipeline(call, options, scheduler, tmp_path, monkeypatch):
    path = pipeline(tmp_path, **scheduler)
    G = zoo.load(path, **options).double()
    pipe = diffusers.ConsistencyModelPipeline.from_pretrained(path)
    pipe.set_progress_bar_config(disable=True)
    pipe.unet.double()
    z = Rng(0, 1, dtype=torch.float64).normal(G.space.dim)
    start, *noise = G.space.split(z).values()
    given = iter([*(noise[0].unbind(1) if noise else ()), *[torch.zeros_like(start)] * 2])
    place = "diffusers.schedulers.scheduling_consistency_models.randn_tensor"
    monkeypatch.setattr(place, lambda *_, **__: next(given))
    monkeypatch.setattr(pipe, "postprocess_image", lambda x, output_type: x)
    x = pipe(batch_size=2, latents=start, **call).images
    expected = (x + 1) / 2
    torch.testing.assert_close(
        G(z), expected, rtol=1e-5, atol=1e-5
    )  # their noises are rounded to float32


def test_laws_of_a_repository(tmp_path):
    obey(zoo.load(pipeline(tmp_path), steps=2))


def test_classes_of_a_repository(tmp_path):
    path = pipeline(tmp_path, {**repositories.UNET, "num_class_embeds": 3})
    one, two = (zoo.load(path, class_index=i) for i in (0, 2))
    z = Rng(0).normal(one.space.dim)
    assert (one(z) - two(z)).abs().max() > 1e-4
    with pytest.raises(SpecError, match="0 to 2"):
        zoo.load(path, class_index=3)


def test_a_key_that_is_not_understood_is_refused(tmp_path):
    path = pipeline(tmp_path)
    config = json.loads((path / "scheduler" / "scheduler_config.json").read_text())
    for key, value, match in (("s_noise", 1.01, "not supported"), ("tomorrow", 1, "is not known")):
        with pytest.raises(SpecError, match=match):
            consistency_diffusers.build(repositories.UNET, {**config, key: value})


def test_one_step_has_no_encoder():
    generator = tiny()
    image = generator(Rng(0).normal(generator.space.dim))
    with pytest.raises(SpecError, match="take more steps"):
        generator.encode(image, Rng(1))
