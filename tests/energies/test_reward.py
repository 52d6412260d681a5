"""Rewards: small networks in the hub's layouts against their formulas, differentiable, each picture by itself."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from energies import guides
from energies.guides import obey, pictures
from latentzoo import energies
from latentzoo.energies.reward import Reward
from latentzoo.errors import CheckpointError, UnknownName
from latentzoo.guides import reward

PROMPT = "a photo of a cat"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rewards")
    guides.clip(folder / "clip", act="gelu")
    guides.openai(folder / "clip", folder / "hps.pt")
    return folder


def test_pickscore_is_the_scaled_cosine_of_transformers(folder: Path) -> None:
    from transformers import AutoTokenizer, CLIPModel

    energy = energies.load("reward", PROMPT, model=str(folder / "clip"))
    image = pictures(32)
    value = obey(energy, image)
    network = CLIPModel.from_pretrained(folder / "clip").eval()
    tokens = AutoTokenizer.from_pretrained(folder / "clip")(
        [PROMPT], padding="max_length", max_length=77, return_tensors="pt"
    )
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (guides.MEAN, guides.STD))
    with torch.no_grad():
        theirs = network(**tokens, pixel_values=(image - mean) / std)
    torch.testing.assert_close(value, -theirs.logits_per_image[:, 0], rtol=1e-4, atol=1e-4)


def test_hpsv2_is_the_cosine_without_a_scale(folder: Path) -> None:
    image = pictures()
    scaled = reward.load(str(folder / "clip"))
    energy = energies.load(
        "reward", PROMPT, model=f"hpsv2:{folder / 'hps.pt'}", texts=str(folder / "clip")
    )
    value = obey(energy, image)
    with torch.no_grad():
        expected = -scaled(image, PROMPT) / scaled.scale
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)


def test_an_aesthetic_head_is_one_affine_map(folder: Path) -> None:
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(24, 16), nn.Dropout(), nn.Linear(16, 8), nn.Linear(8, 1)).eval()
    named = {f"layers.{name}": value for name, value in head.state_dict().items()}
    torch.save(named, folder / "mlp.pth")
    torch.save(nn.Linear(24, 1).state_dict(), folder / "linear.pth")
    options = {"clip": str(folder / "clip")}
    image = pictures()
    energy = energies.load("reward", "", model=f"aesthetic:{folder / 'mlp.pth'}", **options)
    value = obey(energy, image)
    clip = reward.load(str(folder / "clip")).model
    with torch.no_grad():
        embedded = F.normalize(clip.encode_image(clip.preprocess(image)), dim=1)
        torch.testing.assert_close(value, -head(embedded)[:, 0], rtol=1e-4, atol=1e-5)
    linear = energies.load("reward", "", model=f"aesthetic:{folder / 'linear.pth'}", **options)
    assert linear(image).shape == (3,)


def test_image_reward_reads_its_official_names(folder: Path) -> None:
    from transformers import BertTokenizerFast

    guides.image_reward(folder / "ImageReward.pt", folder / "bert")
    energy = energies.load(
        "reward",
        "a cat",
        model=f"imagereward:{folder / 'ImageReward.pt'}",
        texts=str(folder / "bert"),
    )
    image = pictures(32)
    value = obey(energy, image)
    vision, text, head = guides.image_reward_networks()
    tokens = BertTokenizerFast.from_pretrained(folder / "bert")(
        ["a cat"] * 3, padding="max_length", max_length=35, return_tensors="pt"
    )
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (guides.MEAN, guides.STD))
    with torch.no_grad():
        seen = vision((image - mean) / std).last_hidden_state
        state = text(
            tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            encoder_hidden_states=seen,
        ).last_hidden_state[:, 0]
        expected = (head(state)[:, 0] - 0.16717362830052426) / 1.0333394966054072
    torch.testing.assert_close(value, -expected, rtol=1e-4, atol=1e-5)


def test_any_function_of_pictures_and_a_prompt_is_a_reward() -> None:
    energy = Reward("cat", lambda image, prompt: len(prompt) * image.mean((1, 2, 3)))
    image = pictures()
    torch.testing.assert_close(energy(image), -3 * image.mean((1, 2, 3)))


def test_what_is_no_reward_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match="did you mean 'hpsv"):
        reward.load("hpsv4:x.pt")
    torch.save(
        {"layers.0.weight": torch.ones(3, 24), "layers.0.bias": torch.ones(3)}, folder / "a"
    )
    with pytest.raises(CheckpointError, match="not linear maps to one number"):
        reward.load(f"aesthetic:{folder / 'a'}", model=str(folder / "clip"))
    monkeypatch.setenv("LATENTZOO_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="unset LATENTZOO_OFFLINE"):
        reward.load("somebody/no-such-model")
