"""IP-Adapters: the map is the own call of a pipeline that has one, and what none sees, or one is not shown, is told."""

import pytest
import tiny
import torch
from test_pictures import SEEN

import latentzoo as lz
from latentzoo.errors import SpecError
from latentzoo.rng import Rng
from latentzoo.zoo.pipelines import ip_adapter

D = tiny.D
CALL = {"num_inference_steps": 2, "height": 16, "width": 16, "guidance_scale": 3.0}
WIDTH, TOKENS, TEXT = 16, 4, 32
"""Of the picture's embedding, of what is made of it, and of the text."""


def weights(unet):
    """An IP-Adapter's numbers for a U-Net."""
    rng = torch.Generator().manual_seed(3)
    draw = lambda *shape: 0.3 * torch.randn(*shape, generator=rng)
    reading = [n.rsplit(".", 1)[0] for n in unet.attn_processors if "attn2" in n]
    widths = [unet.get_submodule(n).to_k.out_features for n in reading]
    keys = {
        f"{2 * i + 1}.to_{k}_ip.weight": draw(n, TEXT) for i, n in enumerate(widths) for k in "kv"
    }
    proj = {
        "proj.weight": draw(TOKENS * TEXT, WIDTH),
        "proj.bias": draw(TOKENS * TEXT),
        "norm.weight": torch.ones(TEXT),
        "norm.bias": draw(TEXT),
    }
    return {"image_proj": proj, "ip_adapter": keys}


@pytest.fixture(scope="module")
def made():
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    config = CLIPVisionConfig(
        **small, num_attention_heads=2, image_size=32, patch_size=8, projection_dim=WIDTH
    )
    about = tiny.Tiny(tiny.sd, CALL, {}, "StableDiffusionPipeline")
    size = {"height": 32, "width": 32}
    pipe = about(
        image_encoder=CLIPVisionModelWithProjection(config).eval(),
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size),
    )
    pipe.load_ip_adapter(weights(pipe.unet), subfolder="", weight_name="")
    pipe.set_ip_adapter_scale(0.7)
    return pipe


def test_the_map_is_the_pipelines_own_call(made):
    generator = lz.load(made, prompt=tiny.PROMPT, ip_adapter_image=SEEN, **CALL)
    z = Rng(1).normal(generator.space.dim)
    own = lambda picture: (
        made(
            tiny.PROMPT,
            ip_adapter_image=picture,
            latents=z.reshape(1, 4, 8, 8),
            output_type="pt",
            **CALL,
        ).images
    )
    assert torch.equal(generator(z).clamp(0, 1), own(SEEN))
    assert not torch.allclose(own(SEEN), own(SEEN.rotate(90)), atol=1e-4)


def test_one_that_is_shown_nothing_is_told(made):
    with pytest.raises(SpecError, match="has an IP-Adapter, which is shown no picture; give ip_"):
        lz.load(made, prompt=tiny.PROMPT, **CALL)


def test_the_adapter_of_stable_diffusion_3_is_one():
    pipe = tiny.MADE["StableDiffusion3Pipeline"]()
    assert not ip_adapter.has(pipe.transformer)
    shown = {"ip_adapter_image_embeds": torch.zeros(2, 1, 4, WIDTH)}
    with pytest.raises(SpecError, match="seen by no IP-Adapter"):
        ip_adapter.judge(pipe, shown)
    pipe.transformer.image_proj = D.models.embeddings.IPAdapterTimeImageProjection(
        embed_dim=WIDTH, output_dim=TEXT, hidden_dim=16, depth=1, dim_head=8, heads=2
    )
    ip_adapter.judge(pipe, shown)
    ip_adapter.judge(pipe, {})  # which does without
