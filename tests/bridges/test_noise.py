"""The noise of a run: a pipeline of diffusers, plain or modular, that begins with it makes the run's pictures."""

import numpy as np
import pytest
import torch

import latentzoo as lz
from latentzoo.errors import SpecError, StateError
from toys import Affine, Bright

# schedulers of diffusers convert tensors as numpy 1 did
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
CALL = {"num_inference_steps": 3, "height": 16, "width": 16}


def run(generator, **kwargs):
    return lz.sample(
        lz.Posterior(generator, {"bright": Bright()}),
        chains=2,
        steps=3,
        kernel="ula",
        progress=False,
        **kwargs,
    )


def pictures(made) -> torch.Tensor:
    return torch.from_numpy(np.asarray(made)).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("StableDiffusionPipeline", False),
        ("StableDiffusionXLPipeline", False),
        ("StableDiffusion3Pipeline", False),
        ("FluxPipeline", True),
        ("ChromaPipeline", True),
    ],
)
def test_the_pipeline_makes_the_pictures_of_the_run(name: str, packed: bool) -> None:
    pytest.importorskip("diffusers")
    import tiny

    made = tiny.MADE[name]
    call = {k: v for k, v in made.call.items() if k != "negative_prompt"}
    result = run(lz.load(made(), prompt=tiny.PROMPT, **call))
    latents = lz.noise(result, packed=packed)
    own = made()([tiny.PROMPT] * 2, latents=latents, output_type="np", **call)
    truth = result.images.clamp(0, 1)
    torch.testing.assert_close(pictures(own.images), truth, atol=2e-5, rtol=0)
    assert torch.equal(lz.noise(result, chain=1, packed=packed)[0], latents[1])


def test_a_modular_pipeline_with_the_block_makes_them_from_the_folder(tmp_path) -> None:
    D = pytest.importorskip("diffusers")
    import tiny

    from latentzoo.bridges.blocks import NoiseOfRun

    made = tiny.MADE["StableDiffusionXLPipeline"]
    result = run(lz.load(made(), prompt=tiny.PROMPT, **CALL, guidance_scale=1.0))
    lz.save(result, tmp_path / "run")
    blocks = D.StableDiffusionXLAutoBlocks()
    blocks.sub_blocks.insert("latentzoo", NoiseOfRun(), 0)
    pipe = blocks.init_pipeline()
    names = {spec.name for spec in blocks.expected_components}
    parts = {k: v for k, v in made().components.items() if k in names and v is not None}
    pipe.update_components(**parts, guider=D.ClassifierFreeGuidance(guidance_scale=1.0))
    pipe.set_progress_bar_config(disable=True)
    words = {"prompt": [tiny.PROMPT] * 2, "output_type": "np"}
    images = pipe(run=str(tmp_path / "run"), **words, **CALL, output="images")
    truth = result.images.clamp(0, 1)
    torch.testing.assert_close(pictures(images), truth, atol=2e-5, rtol=0)


def test_a_folder_says_the_blocks_of_its_latents(tmp_path) -> None:
    result = run(Affine())
    saved = lz.open(lz.save(result, tmp_path / "run"))
    assert saved.space == result.generator.space


@pytest.mark.parametrize("given", ["affine", "chain", "potential", "nothing"])
def test_what_has_no_noise_is_refused(given: str, tmp_path) -> None:
    if given == "affine":
        with pytest.raises(SpecError, match="latentzoo decode"):
            lz.noise(run(Affine()))
    elif given == "chain":
        ddpm = lz.sample(lz.load("avatar-turbo"), chains=2)
        with pytest.raises(SpecError, match="0 to 1"):
            lz.noise(ddpm, chain=2)
    elif given == "potential":
        phi = lambda z: z.square().sum(1)
        bare = lz.sample(phi, dim=4, chains=1, steps=2, kernel="ula", progress=False)
        with pytest.raises(SpecError, match="without a generator"):
            lz.noise(bare)
    else:
        saved = lz.save(run(Affine()), tmp_path / "run")
        (saved / "latents.safetensors").unlink()
        with pytest.raises(StateError, match="when it is done"):
            lz.noise(saved)
