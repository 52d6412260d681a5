"""The costs that `latentzoo show` tells are those counted on our networks, without their weights."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import latentzoo
from latentzoo import energies
from latentzoo.errors import SpecError, UnknownName
from latentzoo.guides import faceapi, networks
from latentzoo.guides.arcface import ArcFace
from latentzoo.guides.clip import CLIP
from latentzoo.guides.efficientnet import EfficientNetLite
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
    "efficientnet-lite0": EfficientNetLite,
}
FACES = {"identity": "recognition", "attribute": "expression", "age": "age", "finder": "finder"}


LARGE = [name for name in CLIPS if "patch32" not in name]
ENTRIES = [pytest.param(n, marks=pytest.mark.slow if n in LARGE else ()) for n in NETWORKS]


@pytest.mark.parametrize("name", ENTRIES)
def test_what_is_told_is_what_is_counted(name: str) -> None:
    (told,) = networks.known()[name].uses.values()
    counted(told, NETWORKS[name])


@pytest.mark.parametrize("kind", FACES)
def test_what_is_told_of_face_api_too(kind: str) -> None:
    counted(networks.known()["face-api"].uses[kind], faceapi.FILES[FACES[kind]][1])


def counted(told: networks.Use, make: Callable[[], nn.Module]) -> None:
    with torch.device("meta"), torch.no_grad():
        network = make().eval()
        look: Callable[[Tensor], Tensor] = getattr(network, "encode_image", network)
        with FlopCounterMode(display=False) as counter:
            look(torch.empty(1, 3, told.side, told.side))
    assert told.parameters == sum(p.numel() for p in network.parameters())
    assert told.gflop == pytest.approx(counter.get_total_flops() / 1e9, rel=0.005)


def test_every_network_is_of_a_kind_that_exists() -> None:
    kinds = {kind for network in networks.known().values() for kind in network.uses}
    assert kinds <= {*energies.known(), "features", "finder"}
    for network in networks.known().values():
        assert network.licence and (network.url or network.notes)
        assert network.url is None or network.source is None


def test_what_a_card_is_not_for_is_said_with_what_is() -> None:
    with pytest.raises(
        SpecError, match="'avatar-id' is for identity, not for age; take one of face-api"
    ):
        energies.load("age", "70", model="avatar-id")
    with pytest.raises(UnknownName, match="did you mean 'face-api'"):
        energies.load("age", "70", model="faceapi")
    with pytest.raises(SpecError, match="has no option 'face'; leave it out"):
        energies.load("attribute", "hat=none", model="avatar-attributes", face="ffhq")


def test_the_core_compares_no_names() -> None:
    """A guide is a card: no module of the energies, the run or the command line knows one by its name."""
    root = Path(latentzoo.__file__).parent
    for room in ("energies", "run", "record", "report", "zoo", "cli"):
        for path in (root / room).rglob("*.py"):
            nodes = ast.walk(ast.parse(path.read_text()))
            compared = " ".join(ast.unparse(n) for n in nodes if isinstance(n, ast.Compare))
            assert not any(repr(name) in compared for name in networks.known()), path
