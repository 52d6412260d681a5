"""Labels of any classifier: log-probabilities by hand, stable, found by name; preprocessing as Pillow does it."""

import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from energies import guides
from energies.guides import obey, pictures
from latentzoo import energies
from latentzoo.energies.attribute import Attribute, Label
from latentzoo.errors import CheckpointError, MissingExtra, SpecError, UnknownName
from latentzoo.guides.classifier import Classifier, load
from latentzoo.guides.preprocess import Preprocess

LABELS = ["tabby, tabby cat", "tiger cat", "crane", "crane"]


def vit(folder: Path, **options: str) -> Path:
    """A small vision transformer."""
    from transformers import ViTConfig, ViTForImageClassification

    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    config = ViTConfig(
        **size,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        id2label=dict(enumerate(LABELS)),
        **options,
    )
    guides.save(ViTForImageClassification(config), folder)
    guides.write_json(
        folder / "preprocessor_config.json",
        image_processor_type="ViTImageProcessor",
        size={"height": 32, "width": 32},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        resample=2,
    )
    return folder


def resnet(folder: Path) -> Path:
    """A small ResNet."""
    from transformers import ResNetConfig, ResNetForImageClassification

    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    guides.save(
        ResNetForImageClassification(
            ResNetConfig(**sizes, layer_type="basic", id2label=dict(enumerate(LABELS)))
        ),
        folder,
    )
    guides.write_json(
        folder / "preprocessor_config.json",
        image_processor_type="ConvNextImageProcessor",
        size={"shortest_edge": 28},
        crop_pct=0.875,
        image_mean=[0.4] * 3,
        image_std=[0.2] * 3,
        resample=3,
    )
    return folder


def test_a_vision_transformer_by_label(tmp_path: Path) -> None:
    from transformers import ViTForImageClassification

    energy = energies.load("attribute", "Tabby cat", model=str(vit(tmp_path)))
    image = pictures(32)
    value = obey(energy, image)
    network = ViTForImageClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        logits = network((image - 0.5) / 0.5).logits
    torch.testing.assert_close(
        value, F.cross_entropy(logits, torch.zeros(3).long(), reduction="none")
    )
    unwanted = energies.load("attribute", "tabby=0", model=str(tmp_path))
    torch.testing.assert_close(
        unwanted(image), -torch.log1p(-(-value).exp()), rtol=1e-4, atol=1e-5
    )
    both = energies.load("attribute", "crane", model=str(tmp_path))
    p = logits.softmax(1)
    torch.testing.assert_close(both(image), -(p[:, 2] + p[:, 3]).log(), rtol=1e-4, atol=1e-5)


def test_a_residual_network_in_any_size(tmp_path: Path) -> None:
    energy = energies.load("attribute", "tiger cat", model=str(resnet(tmp_path)))
    obey(energy.double(), pictures(48).double(), step=1e-8)  # fine, as its slope has kinks


def test_labels_that_are_not_exclusive_are_each_by_itself(tmp_path: Path) -> None:
    classifier = load(str(vit(tmp_path, problem_type="multi_label_classification")))
    image = pictures(32)
    logits = classifier(image)
    torch.testing.assert_close(Label(classifier, "tiger cat")(image), F.softplus(-logits[:, 1]))


def test_far_from_the_label_there_is_a_slope() -> None:
    logits = nn.Parameter(torch.tensor([[0.0, 1e4, 0.0, 0.0]]))
    fixed = nn.Module()
    fixed.forward = lambda image: logits
    energy = Label(Classifier(fixed, Preprocess(), LABELS), "tabby")
    value = energy(pictures(8, 1))
    (slope,) = torch.autograd.grad(value.sum(), logits)
    assert value.item() == 1e4 and slope[0].tolist() == [-1, 1, 0, 0]


def test_an_unknown_label_gives_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"did you mean .*'tabby cat'"):
        energies.load("attribute", "taby cat", model=str(vit(tmp_path)))
    with pytest.raises(SpecError, match="tabby=0"):
        energies.load("attribute", "tabby=yes", model=str(tmp_path))
    with pytest.raises(CheckpointError, match="no such file"):
        energies.load("attribute", "Young", model="nowhere/best.pth")


def timm_transform(
    *, input_size: tuple[int, ...], crop_pct: float, mean: Any, std: Any, **_: Any
) -> Any:
    """What timm makes of the table for a square crop: torchvision's resize and centre crop, by Pillow."""

    def transform(picture: Image.Image) -> torch.Tensor:
        side = input_size[-1]
        short = math.floor(side / crop_pct)
        width, height = (short * n // min(picture.size) for n in picture.size)
        small = picture.resize((width, height), Image.Resampling.BICUBIC)
        left, top = round((width - side) / 2), round((height - side) / 2)
        pixels = np.array(small.crop((left, top, left + side, top + side))) / 255
        return torch.from_numpy((pixels - mean) / std).permute(2, 0, 1).float()

    return transform


def test_timm_by_its_extra_and_its_own_preprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtra, match=r"latentzoo\[timm\]"):
        load("timm:resnet18")
    network = nn.Sequential(nn.AvgPool2d(32), nn.Flatten(), nn.Linear(3, 4))
    settings = {"input_size": (3, 32, 32), "crop_pct": 0.8, "interpolation": "bicubic"}
    settings |= {"mean": (0.5,) * 3, "std": (0.25,) * 3}
    data = SimpleNamespace(
        infer_imagenet_subset=lambda network: "imagenet-1k",
        resolve_model_data_config=lambda network: settings,
        ImageNetInfo=lambda subset: SimpleNamespace(label_descriptions=lambda: LABELS),
        create_transform=timm_transform,
    )
    make = lambda name, pretrained: network
    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=make, data=data))
    classifier = load("timm:resnet18")
    image = pictures(40)
    expected = network((image[:, :, 4:36, 4:36] - 0.5) / 0.25)
    torch.testing.assert_close(classifier(image), expected)
    assert classifier.understand("tabby").places == [0]


def test_classifiers_that_are_given_are_put_to_rest() -> None:
    """In training mode, a batch norm makes each energy depend on the batch, and its statistics move."""
    network = nn.Sequential(
        nn.AvgPool2d(224), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 1), nn.Flatten(0)
    )
    energy, image = Attribute([network.train()], [True]), pictures(32)
    torch.testing.assert_close(energy(image)[:1], energy(image[:1]), rtol=1e-5, atol=1e-6)
    assert not network.training and network[1].num_batches_tracked == 0
