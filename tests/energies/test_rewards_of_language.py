"""Rewards with language inside, against transformers' own classes on small random weights: MPS, HPSv3, questions."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from energies import guides, vision_language
from energies.guides import obey, pictures
from latentzoo import energies
from latentzoo.energies.base import Energy
from latentzoo.errors import CheckpointError, LatentzooError, SpecError
from latentzoo.guides import mps, questions

SIZES = [(32, 48), (50, 70), (24, 90)]
"""Of whole tokens, and of others that are resized."""


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("qwen3")
    return folder, vision_language.qwen3(folder)


@pytest.fixture(scope="module")
def qwen2(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("qwen2")
    return folder, vision_language.qwen2(folder)


def picture(height: int, width: int) -> tuple[Image.Image, Tensor]:
    """A smooth picture in bytes, and the same as numbers."""
    y, x, c = np.ogrid[:height, :width, :3]
    pixels = (120 + 60 * np.sin(0.2 * y + c) + 50 * np.cos(0.15 * x - c)).clip(0, 255)
    found = Image.fromarray(pixels.astype(np.uint8))
    return found, torch.from_numpy(np.array(found)).permute(2, 0, 1)[None].float() / 255


def theirs(folder: Path, network: Any, shown: Image.Image, text: str) -> tuple[Tensor, Tensor]:
    """The logits after a message by transformers' own parts, and its tokens."""
    from transformers import AutoImageProcessor, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    made = AutoImageProcessor.from_pretrained(folder)(shown, return_tensors="pt")
    count = int(made["image_grid_thw"].prod()) // 4
    content = [{"type": "image"}, {"type": "text", "text": text}]
    message = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    ).replace("<|image_pad|>", "<|image_pad|>" * count)
    ids = tokenizer(message, return_tensors="pt")["input_ids"]
    kinds = (ids == network.config.image_token_id).int()
    with torch.no_grad():
        logits = network(input_ids=ids, mm_token_type_ids=kinds, **made).logits
    return logits[0, -1], ids[0]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("family", ["qwen3", "qwen2"])
def test_an_answer_has_the_probability_that_transformers_gives_it(
    family: str, height: int, width: int, request: pytest.FixtureRequest
) -> None:
    folder, network = request.getfixturevalue(family)
    shown, image = picture(height, width)
    energy = energies.load("reward", "a cat", model=f"vqa:{folder}")
    logits, _ = theirs(folder, network, shown, questions.WHOLE.format(text="a cat"))
    first = energy.model.answers("yes")
    assert first == sorted(set(first), key=first.index)
    expected = -logits.log_softmax(0)[first].logsumexp(0)
    torch.testing.assert_close(energy(image)[0], expected, rtol=1e-3, atol=1e-3)


def test_questions_are_combined(qwen3: tuple[Path, Any]) -> None:
    folder, _ = qwen3
    image = pictures(32)
    words = "Is there a dog? | How many cats are there? two"
    rate = lambda target, **more: energies.load("reward", target, model=f"vqa:{folder}", **more)
    each = torch.stack([rate(part)(image) for part in words.split("|")])
    torch.testing.assert_close(rate(words)(image), each.sum(0))
    torch.testing.assert_close(rate(words, combine="mean")(image), -(-each).exp().mean(0))
    torch.testing.assert_close(rate(words, combine="geometric")(image), -(-each).mean(0).exp())
    obey(rate(words), image)


def test_what_answers_and_questions_are() -> None:
    assert questions.spellings("two") == ["two", "Two", "2", " two", " Two", " 2"]
    (one,) = questions.read("a cat")
    assert one.text.startswith('Does this figure show "a cat"?') and one.answer == "yes"
    both = questions.read("Is it red? no | How many? three")
    assert [q.answer for q in both] == ["no", "three"] and both[1].text.startswith("How many? ")
    with pytest.raises(SpecError, match="'a cat' is no question"):
        questions.read("a cat | Is it red?")


def gradient_is_true(
    energy: Energy, image: Tensor, size: float = 1e-5, rtol: float = 1e-4
) -> None:
    """In 64 bits the slope is that of central differences."""
    energy, x = energy.double(), image.double().requires_grad_()
    (slope,) = torch.autograd.grad(energy(x).sum(), x)
    step = size * torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        measured = (energy(x + step) - energy(x - step)).sum() / 2
    torch.testing.assert_close((slope * step).sum(), measured, rtol=rtol, atol=1e-12)


def test_the_gradient_of_answers_in_64_bits(
    qwen3: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers normalises and turns in 32 bits whatever the numbers are; here both are done in theirs."""
    from transformers.models.qwen3_vl import modeling_qwen3_vl as theirs

    def normalised(self: Any, x: Tensor) -> Tensor:
        return self.weight * x / (x.square().mean(-1, keepdim=True) + self.variance_epsilon).sqrt()

    def turned(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, ...]:
        c, s = cos.unsqueeze(-2).to(q), sin.unsqueeze(-2).to(q)
        return tuple(x * c + theirs.rotate_half(x) * s for x in (q, k))

    monkeypatch.setattr(theirs.Qwen3VLTextRMSNorm, "forward", normalised)
    monkeypatch.setattr(theirs, "apply_rotary_pos_emb_vision", turned)
    energy = energies.load("reward", "a cat", model=f"vqa:{qwen3[0]}")
    gradient_is_true(energy, pictures(32)[:1], rtol=1e-7)


@pytest.mark.parametrize("mark", [*vision_language.MARKS, "<|video_pad|>"])
def test_a_mark_of_pictures_or_speakers_in_a_text_is_refused(
    mark: str, qwen3: tuple[Path, Any]
) -> None:
    with pytest.raises(SpecError, match=f"has '{re.escape(mark)}' in it"):
        energies.load("reward", f"a cat {mark}", model=f"vqa:{qwen3[0]}")


@pytest.fixture(scope="module")
def hpsv3(qwen2: tuple[Path, Any]) -> tuple[Path, Any, nn.Module]:
    """The official file's names, an instruction, and the network with its head."""
    folder, network = qwen2
    from transformers import AutoTokenizer, Qwen2VLForConditionalGeneration

    network = Qwen2VLForConditionalGeneration.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|Reward|>"]})
    network.resize_token_embeddings(300 + 8)
    torch.manual_seed(1)
    layers = (nn.Linear(32, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 16), nn.ReLU())
    head = nn.Sequential(*layers, nn.Linear(16, 2)).eval()
    names = {f"rm_head.{k}": x for k, x in head.state_dict().items()}
    for name, x in network.state_dict().items():
        old = name.removeprefix("model.")
        old = old if old.startswith("visual.") else old.replace("language_model.", "model.")
        names[old] = x.clone()
    save_file({k: x.contiguous() for k, x in names.items()}, folder / "HPSv3.safetensors")
    (folder / "instruction.txt").write_text("Rate it. Prompt: {text_prompt} so: <|Reward|> END")
    return folder, network, head


@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 90)])
def test_hpsv3_is_the_head_at_its_token(
    hpsv3: tuple[Path, Any, nn.Module], height: int, width: int
) -> None:
    from transformers import AutoImageProcessor, AutoTokenizer

    folder, network, head = hpsv3
    shown, image = picture(height, width)
    options = {"texts": str(folder), "template": str(folder / "instruction.txt")}
    energy = energies.load("reward", "a cat", model=f"hpsv3:{folder}/HPSv3.safetensors", **options)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|Reward|>"]})
    size = {"shortest_edge": 256 * 28 * 28, "longest_edge": 256 * 28 * 28}
    made = AutoImageProcessor.from_pretrained(folder, size=size)(shown, return_tensors="pt")
    said = [
        {"type": "image"},
        {"type": "text", "text": "Rate it. Prompt: a cat so: <|Reward|> END"},
    ]
    message = tokenizer.apply_chat_template(
        [{"role": "user", "content": said}], tokenize=False, add_generation_prompt=True
    )
    marks = "<|image_pad|>" * (int(made["image_grid_thw"].prod()) // 4)
    ids = tokenizer(message.replace("<|image_pad|>", marks), return_tensors="pt")["input_ids"]
    kinds = (ids == network.config.image_token_id).int()
    with torch.no_grad():
        states = network.model(input_ids=ids, mm_token_type_ids=kinds, **made).last_hidden_state
        at = (ids[0] == tokenizer.convert_tokens_to_ids("<|Reward|>")).nonzero()[0, 0]
        expected = -head(states[0, at])[0]
    torch.testing.assert_close(energy(image)[0], expected, rtol=1e-3, atol=1e-3)


def test_hpsv3_obeys_and_asks_for_its_instruction(hpsv3: tuple[Path, Any, nn.Module]) -> None:
    folder, _, _ = hpsv3
    model = f"hpsv3:{folder}/HPSv3.safetensors"
    with pytest.raises(SpecError, match="give template=FILE"):
        energies.load("reward", "a cat", model=model, texts=str(folder))
    (folder / "other.txt").write_text("Rate it: {text_prompt}")
    with pytest.raises(SpecError, match="once in it"):
        options = {"texts": str(folder), "template": str(folder / "other.txt")}
        energies.load("reward", "a cat", model=model, **options)
    options["template"] = str(folder / "instruction.txt")
    obey(energies.load("reward", "a cat", model=model, **options), pictures(32)[:2])
    with pytest.raises(SpecError, match=r"has '<\|Reward\|>' in it"):
        energies.load("reward", "a <|Reward|>", model=model, **options)


@pytest.fixture(scope="module")
def official_mps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP's folder, and MPS's weights by their official names."""
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("mps")
    guides.clip(folder / "clip", act="gelu")
    config = CLIPConfig.from_pretrained(folder / "clip", projection_dim=128)
    config.text_config.max_position_embeddings = 256  # a letter a token
    config.save_pretrained(folder / "clip")
    torch.manual_seed(0)
    clip = guides.shake(CLIPModel(config))
    cross = guides.shake(mps.Cross(128, 2))
    names = {f"model.{k}": x for k, x in clip.state_dict().items()}
    for name, x in cross.state_dict().items():
        layer, place, rest = name.removeprefix("layers.").split(".", 2)
        names[f"cross_model.layers.{layer}.{place}.fn.{rest}"] = x
    names["cross_model.layers.0.1.fn.rotary_emb.inv_freq"] = torch.ones(32)
    torch.save(names, folder / "MPS.pth")
    return folder


def heads_one_by_one(q: Tensor, k: Tensor, v: Tensor, drop: Tensor | None) -> Tensor:
    """Attention, (N, H * 64) to (M, 64), a head at a time."""
    out = []
    for head in q.split(64, dim=1):
        score = head @ k.T / 8
        if drop is not None:
            score = score + drop
        out.append(score.softmax(1) @ v)
    return torch.cat(out, 1)


def turned(x: Tensor) -> Tensor:
    """Pairs (i, i + 32) of 64 numbers as complex ones, turned."""
    place = torch.arange(len(x))[:, None] * 10000 ** -(torch.arange(32) / 32)
    z = torch.complex(x[:, :32], x[:, 32:]) * torch.polar(torch.ones_like(place), place)
    return torch.cat((z.real, z.imag), 1)


def gate(x: Tensor) -> Tensor:
    return x[:, : x.shape[1] // 2] * F.silu(x[:, x.shape[1] // 2 :])


def mps_by_hand(folder: Path, pixels: Tensor, prompt: str) -> Tensor:
    """The formula, one picture at a time, from the official names."""
    from transformers import AutoTokenizer, CLIPConfig, CLIPModel

    names = torch.load(folder / "MPS.pth", weights_only=True)
    clip = CLIPModel(CLIPConfig.from_pretrained(folder / "clip")).eval()
    clip.load_state_dict({k[6:]: x for k, x in names.items() if k.startswith("model.")})
    tokenizer = AutoTokenizer.from_pretrained(folder / "clip")
    settings = {"padding": "max_length", "max_length": 256, "truncation": True}
    read = lambda text: clip.text_model(
        tokenizer([text], return_tensors="pt", **settings)["input_ids"]
    )
    said, aspects = read(prompt), read(mps.ASPECTS)
    project = clip.text_projection
    c, a = project(said.last_hidden_state[0]), project(aspects.last_hidden_state[0])
    near = (c @ a.T).max(1).values
    drop = torch.where(near / near.max() > 0.3, 0.0, float("-inf"))
    x = clip.visual_projection(clip.vision_model(pixels).last_hidden_state[0])
    for layer in range(2):
        w = lambda name, place, layer=layer: names[f"cross_model.layers.{layer}.{place}.fn.{name}"]
        h = F.layer_norm(x, (128,), w("norm.weight", 0), w("norm.bias", 0))
        k, v = (c @ w("to_kv.weight", 0).T).split(64, 1)
        looked = heads_one_by_one(h @ w("to_q.weight", 0).T, k, v, drop)
        x = x + looked @ w("to_out.weight", 0).T
        x = x + gate(h @ w("ff.0.weight", 0).T) @ w("ff.2.weight", 0).T
        h = F.layer_norm(x, (128,), w("norm.weight", 1), w("norm.bias", 1))
        parts = (h @ w("fused_attn_ff_proj.weight", 1).T).split((128, 64, 64, 1024), 1)
        q = torch.cat([turned(part) for part in parts[0].split(64, 1)], 1)
        mixed = heads_one_by_one(q, turned(parts[1]), parts[2], None)
        x = x + mixed @ w("attn_out.weight", 1).T + gate(parts[3]) @ w("ff_out.1.weight", 1).T
    end = project(said.pooler_output[0])
    return clip.logit_scale.exp() * F.cosine_similarity(x[0], end, dim=0)


def test_mps_is_its_formula(official_mps: Path) -> None:
    folder = official_mps
    energy = energies.load(
        "reward", "a red cat", model=f"mps:{folder / 'MPS.pth'}", texts=str(folder / "clip")
    )
    image = pictures(32)
    value = obey(energy, image)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (guides.MEAN, guides.STD))
    with torch.no_grad():
        pixels = ((image - mean) / std).split(1)
        expected = torch.stack([-mps_by_hand(folder, x, "a red cat") for x in pixels])
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4)
    gradient_is_true(energy, image[:1])


def test_an_aesthetic_head_on_siglip(tmp_path: Path) -> None:
    from latentzoo.guides import text_image

    guides.siglip(tmp_path)
    guides.tokenizer(tmp_path)
    clip = text_image.load(str(tmp_path))
    image = pictures(32)
    width = clip.embed(image).shape[1]
    head = nn.Sequential(nn.Linear(width, 8), nn.Linear(8, 1))
    torch.save({f"layers.{k}": x for k, x in head.state_dict().items()}, tmp_path / "head.pth")
    energy = energies.load(
        "reward", "", model=f"aesthetic:{tmp_path / 'head.pth'}", clip=str(tmp_path)
    )
    with torch.no_grad():
        expected = -head(clip.embed(image))[:, 0]
    torch.testing.assert_close(obey(energy, image), expected, rtol=1e-4, atol=1e-5)


def test_chains_share_their_network(official_mps: Path) -> None:
    model = f"mps:{official_mps / 'MPS.pth'}"
    first = energies.load("reward", "a cat", model=model, texts=str(official_mps / "clip"))
    second = first.about("a dog")
    assert second is not None and second.model is first.model
    image = pictures(32)
    assert not torch.equal(second(image), first(image))
    assert torch.equal(second.about("a cat")(image), first(image))


@pytest.mark.parametrize(
    ("model", "options", "error", "words"),
    [
        ("mps:FILE", {"clip": "x"}, SpecError, "has no option clip"),
        ("mps:FILE", {"combine": "mean"}, SpecError, "has no option combine"),
        ("vqa:FOLDER", {"combine": "sum"}, SpecError, "product, mean, geometric"),
        ("vqa:CLIP", {}, LatentzooError, "cannot be loaded|known are"),
        ("mps:OTHER", {"texts": "CLIP"}, CheckpointError, "cross_model.layers is missing"),
    ],
)
def test_what_does_not_fit_is_one_line(
    model: str,
    options: dict[str, str],
    error: type[Exception],
    words: str,
    official_mps: Path,
    qwen3: tuple[Path, Any],
) -> None:
    torch.save({"a": torch.ones(1)}, official_mps / "other.pth")
    place = {"FILE": official_mps / "MPS.pth", "OTHER": official_mps / "other.pth"}
    place |= {"FOLDER": qwen3[0], "CLIP": official_mps / "clip"}
    put = lambda text: next((text.replace(k, str(v)) for k, v in place.items() if k in text), text)
    with pytest.raises(error, match=words) as caught:
        options = {k: put(v) for k, v in options.items()}
        energies.load("reward", "a cat", model=put(model), **options)
    assert "\n" not in str(caught.value)
