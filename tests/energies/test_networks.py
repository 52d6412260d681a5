"""The costs that `latentzoo show` tells are those counted on our networks, without their weights."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from latentzoo import energies
from latentzoo.guides import networks
from latentzoo.guides.arcface import ArcFace
from latentzoo.guides.clip import CLIP
from latentzoo.guides.resnet import AttributeClassifier

CLIPS = {
    "openai/clip-vit-base-patch32": (512, 12, 768, 32, 512, 12),
    "openai/clip-vit-base-patch16": (512, 12, 768, 16, 512, 12),
    "openai/clip-vit-large-patch14": (768, 24, 1024, 14, 768, 12),
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": (1024, 32, 1280, 14, 1024, 24),
}


def clip(name: str) -> CLIP:
    embed, layers, width, patch, text_width, text_layers = CLIPS[name]
    return CLIP(
        embed_dim=embed,
        image_resolution=224,
        vision_layers=layers,
        vision_width=width,
        vision_patch_size=patch,
        context_length=77,
        vocab_size=49408,
        transformer_width=text_width,
        transformer_heads=text_width // 64,
        transformer_layers=text_layers,
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{name: lambda name=name: clip(name) for name in CLIPS},
    "model_ir_se50.pth": ArcFace,
    "ckpts/celeba/ATTRIBUTE/best.pth": AttributeClassifier,
}


LARGE = [name for name in CLIPS if "patch32" not in name]
ENTRIES = [pytest.param(n, marks=pytest.mark.slow if n in LARGE else ()) for n in NETWORKS]


@pytest.mark.parametrize("name", ENTRIES)
def test_what_is_told_is_what_is_counted(name: str) -> None:
    told = networks.known()[name]
    with torch.device("meta"), torch.no_grad():
        network = NETWORKS[name]().eval()
        look: Callable[[Tensor], Tensor] = getattr(network, "encode_image", network)
        with FlopCounterMode(display=False) as counter:
            look(torch.empty(1, 3, told.side, told.side))
    assert told.parameters == sum(p.numel() for p in network.parameters())
    assert told.gflop == pytest.approx(counter.get_total_flops() / 1e9, rel=0.005)


def test_every_network_is_of_a_kind_that_exists() -> None:
    assert {network.energy for network in networks.known().values()} <= {
        *energies.known(),
        "features",
    }
    assert all(
        network.licence and (network.url or network.notes) for network in networks.known().values()
    )
