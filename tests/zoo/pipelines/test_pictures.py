"""Pictures as arguments: what is drawn for them has blocks, and the map is still the own call."""

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from test_pipelines import latent, own

from latentzoo.zoo.pipelines.pipeline import TextToImage
from latentzoo.zoo.pipelines.probe import Probe
from laws import obey

SEEN = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8))
MASK = Image.fromarray(np.uint8(255 * np.tri(16)))
SIZE = {"height": 16, "width": 16, "num_inference_steps": 3}
CODE = (4, 8, 8)


def plain(**over):
    parts = tiny.sd(tiny.D.DDIMScheduler(clip_sample=False, steps_offset=1))
    return {**parts, **over}


def control(pick=plain):
    torch.manual_seed(0)
    parts = pick()
    net = tiny.D.ControlNetModel.from_unet(
        parts["unet"], conditioning_embedding_out_channels=(4, 8)
    )
    return {**parts, "controlnet": net}


def control3():
    net = tiny.D.SD3ControlNetModel(**tiny.SD3, num_layers=1)
    return {**tiny.sd3(), "controlnet": net}


def xl(**over):
    return {**tiny.sdxl(), **over}


CASES = {
    "StableDiffusionImg2ImgPipeline": (
        plain,
        {"image": SEEN, "strength": 0.7, "num_inference_steps": 4},
        {"start": CODE, "start2": CODE},
    ),
    "StableDiffusionInpaintPipeline": (
        plain,
        {"image": SEEN, "mask_image": MASK, **SIZE},
        None,
    ),
    "StableDiffusionControlNetPipeline": (control, {"image": SEEN, **SIZE}, {"start": CODE}),
    "StableDiffusionXLImg2ImgPipeline": (
        xl,
        {"image": SEEN, "strength": 0.7, "num_inference_steps": 4},
        {"start": CODE, "start2": CODE},
    ),
    "StableDiffusion3ControlNetPipeline": (  # which looks at the picture twice, for guidance
        control3,
        {"control_image": SEEN, "guidance_scale": 3.0, **SIZE},
        {"start": (2, *CODE), "start2": CODE},
    ),
    "StableDiffusion3Img2ImgPipeline": (
        tiny.sd3,
        {"image": SEEN, "strength": 0.7, **SIZE, "num_inference_steps": 4},
        {"start": CODE, "start2": CODE},
    ),
}


@pytest.fixture(scope="module", params=CASES)
def made(request):
    build, call, blocks = CASES[request.param]
    about = tiny.Tiny(build, call, blocks, request.param)
    pipe = about()
    image, drawn = own(pipe, call)
    return pipe, TextToImage(pipe, tiny.PROMPT, **call), image, drawn, blocks


def test_the_map_is_the_pipelines_own_call(made):
    _, generator, image, drawn, blocks = made
    with torch.no_grad():
        assert torch.equal(generator(latent(generator, drawn)).clamp(0, 1), image)
    assert blocks is None or generator.space.blocks == blocks


@pytest.mark.slow
def test_the_laws_hold(made):
    obey(made[1])


def test_tensors_that_are_given_go_where_the_networks_go():
    about = tiny.MADE["StableCascadeDecoderPipeline"]
    generator = TextToImage(about(), tiny.PROMPT, **about.call).half()
    given = lambda: generator.call.shared["image_embeddings"].dtype
    assert given() == torch.float32  # the pipeline's own affair
    generator.double()
    assert given() == torch.float64
    generator.float()
    assert given() == torch.float32
    generator.to("meta")
    assert generator.call.shared["image_embeddings"].is_meta


def test_a_network_may_empty_a_list_that_it_is_given():
    """As HunyuanDiT does with the states of its ControlNet."""
    x = torch.randn(2, 3, requires_grad=True)
    found = Probe()(lambda states: 2 * states.pop(), torch.nn.Identity(), ([x],), {})
    assert torch.equal(found, 2 * x) and found.requires_grad


def test_a_cache_that_the_pipeline_empties_is_kept_for_the_gradient():
    call = {"image": SEEN.resize((64, 64)), **SIZE, "text_encoder_out_layers": (1, 2)}
    parts = lambda: tiny.flux2(tiny.K.qwen3(), tiny.K.qwen_tokens(), 64)
    pipe = tiny.Tiny(parts, call, {}, "Flux2KleinKVPipeline")()
    image, drawn = own(pipe, call)
    gradients = []
    for recompute in (False, True):
        generator = TextToImage(pipe, tiny.PROMPT, recompute=recompute, **call)
        z = latent(generator, drawn).requires_grad_()
        found = generator(z)
        assert torch.equal(found.detach().clamp(0, 1), image)
        gradients.append(torch.autograd.grad(found.square().sum(), z)[0])
    assert torch.equal(*gradients)


def test_a_picture_by_its_path(tmp_path):
    SEEN.save(tmp_path / "seen.png")
    build, call, _ = CASES["StableDiffusionImg2ImgPipeline"]
    pipe = tiny.Tiny(build, call, {}, "StableDiffusionImg2ImgPipeline")()
    by_path = TextToImage(pipe, tiny.PROMPT, **{**call, "image": str(tmp_path / "seen.png")})
    z = torch.randn(1, by_path.space.dim, generator=torch.Generator().manual_seed(0))
    assert torch.equal(by_path(z), TextToImage(pipe, tiny.PROMPT, **call)(z))
