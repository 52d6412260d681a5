"""Small guide networks on disk, in the official layouts: what the tests of energies and of runs read."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentzoo.energies.base import Energy

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "parity"))

MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def filled(arch: str, card: str) -> dict[str, Tensor]:
    """The tensors of a parity card by their official names."""
    import check

    record = check.read_json(check.HERE / "cards" / arch / f"{card}.json")
    return {entry["key"]: check.fill(entry, record["salt"]) for entry in record["state"]}


def celeba_classifier(path: Path) -> Path:
    """A small `best.pth`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(filled("celeba_classifier", "tiny_1111"), path)
    return path


def ir_se50(path: Path) -> Path:
    """A small `model_ir_se50.pth`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(filled("ir_se50", "tiny_units1121"), path)
    return path


def tokenizer(folder: Path) -> int:
    """Writes CLIP's tokenizer without merges, one token per letter; gives the number of tokens."""
    letters = [chr(c) for c in (*range(33, 127), *range(161, 173), *range(174, 256))]
    letters += [chr(256 + i) for i in range(256 - len(letters))]
    ends = ("<|startoftext|>", "<|endoftext|>")
    words = [*letters, *(f"{letter}</w>" for letter in letters), *ends]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    write_json(folder / "tokenizer_config.json", tokenizer_class="CLIPTokenizer")
    return len(words)


def clip(folder: Path, *, act: str = "quick_gelu", seed: int = 0) -> Path:
    """A CLIP repository of `transformers`: network, tokenizer, preprocessing."""
    from transformers import CLIPConfig, CLIPModel

    count = tokenizer(folder)
    size = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2}
    size |= {"num_attention_heads": 1, "hidden_act": act}
    ends = {"bos_token_id": count - 2, "eos_token_id": count - 1, "pad_token_id": count - 1}
    config = CLIPConfig(
        text_config={**size, **ends, "vocab_size": count},
        vision_config={**size, "image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    write_json(
        folder / "preprocessor_config.json",
        image_processor_type="CLIPImageProcessor",
        **{"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}},
        **{"image_mean": MEAN, "image_std": STD, "resample": 3},
    )
    return save(CLIPModel(config), folder, seed)


def siglip(folder: Path) -> Path:
    """A SigLIP repository of `transformers`, without its tokenizer."""
    from transformers import SiglipConfig, SiglipModel

    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    size |= {"num_attention_heads": 2}
    words = {"vocab_size": 600, "max_position_embeddings": 16}
    config = SiglipConfig(
        text_config={**size, **words}, vision_config={**size, "image_size": 32, "patch_size": 8}
    )
    save(SiglipModel(config), folder)
    write_json(
        folder / "preprocessor_config.json",
        image_processor_type="SiglipImageProcessor",
        **{"size": {"height": 32, "width": 32}, "resample": 2},
        **{"image_mean": [0.5] * 3, "image_std": [0.5] * 3},
    )
    return folder


def save(network: Any, folder: Path, seed: int = 0) -> Path:
    """Writes a network of `transformers` with every weight shaken, so that no part is silent."""
    shake(network, seed)
    network.save_pretrained(folder)
    return folder


@torch.no_grad()
def shake(network: nn.Module, seed: int = 0) -> nn.Module:
    """Adds noise to every weight."""
    stream = torch.Generator().manual_seed(seed)
    for value in network.parameters():
        value += 0.1 * torch.randn(value.shape, generator=stream)
    return network.eval()


def write_json(path: Path, **values: Any) -> None:
    """Writes a JSON object."""
    path.write_text(json.dumps(values))


def openai(repository: Path, path: Path, *, dtype: torch.dtype = torch.float32) -> Path:
    """The network of a CLIP repository with OpenAI's tensor names, as a state dict."""
    torch.save({"state_dict": openai_state(repository, dtype)}, path)
    return path


def openai_state(repository: Path, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The tensors of a CLIP repository by OpenAI's names: attention packed, projections the other way round."""
    from safetensors.torch import load_file

    theirs = load_file(repository / "model.safetensors")
    tower = {"text_model": "", "vision_model": "visual."}
    names = {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "embeddings.class_embedding": "class_embedding",
        "embeddings.patch_embedding.weight": "conv1.weight",
        "final_layer_norm": "ln_final",
        "pre_layrnorm": "ln_pre",
        "post_layernorm": "ln_post",
        "self_attn.out_proj": "attn.out_proj",
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "encoder.layers.": "transformer.resblocks.",
    }
    out: dict[str, Tensor] = {"logit_scale": theirs.pop("logit_scale")}
    out["text_projection"] = theirs.pop("text_projection.weight").T.contiguous()
    out["visual.proj"] = theirs.pop("visual_projection.weight").T.contiguous()
    for key, value in theirs.items():
        model, _, name = key.partition(".")
        if any(part in name for part in ("k_proj", "v_proj", "position_ids")):
            continue
        if "q_proj" in name:
            value = torch.cat([theirs[key.replace("q_proj", f"{x}_proj")] for x in "qkv"])
            name = name.replace("self_attn.q_proj.", "attn.in_proj_")
        for old, new in names.items():
            name = name.replace(old, new)
        out[tower[model] + name] = value
    return {name: value.to(dtype) for name, value in out.items()}


def image_reward_networks() -> tuple[nn.Module, nn.Module, nn.Module]:
    """The three parts of a small ImageReward."""
    from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    seeing = {**size, "num_attention_heads": 1, "image_size": 32, "patch_size": 8}
    reading = {**size, "num_attention_heads": 1, "vocab_size": 40, "encoder_hidden_size": 32}
    torch.manual_seed(0)
    vision = BlipVisionModel(BlipVisionConfig(**seeing, layer_norm_eps=1e-6))
    text = BlipTextModel(
        BlipTextConfig(**reading, max_position_embeddings=64), add_pooling_layer=False
    )
    head = nn.Sequential(nn.Linear(32, 8), nn.Dropout(), nn.Linear(8, 1))
    return shake(vision, 1), shake(text, 2), shake(head, 3)


def image_reward(path: Path, words: Path) -> Path:
    """A small `ImageReward.pt`, by the official names, and BERT's tokenizer."""
    vision, text, head = image_reward_networks()
    names = {
        "embeddings.class_embedding": "cls_token",
        "embeddings.position_embedding": "pos_embed",
        "embeddings.patch_embedding": "patch_embed.proj",
        "encoder.layers": "blocks",
        "layer_norm": "norm",
        "self_attn.qkv": "attn.qkv",
        "self_attn.projection": "attn.proj",
        "post_layernorm": "norm",
    }
    state: dict[str, Tensor] = {}
    for name, value in vision.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        state[f"blip.visual_encoder.{name}"] = value
    state |= {f"blip.text_encoder.{name}": value for name, value in text.state_dict().items()}
    state |= {f"mlp.layers.{name}": value for name, value in head.state_dict().items()}
    state["blip.text_encoder.embeddings.position_ids"] = torch.arange(64)[None]
    state["blip.vision_proj.weight"] = torch.ones(3, 32)
    torch.save(state, path)
    words.mkdir(exist_ok=True)
    letters = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", "cat"]
    (words / "vocab.txt").write_text("\n".join(letters))
    write_json(words / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    return path


def pictures(side: int = 40, count: int = 3) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def obey(energy: Energy, image: Tensor, step: float = 3e-4) -> Tensor:
    """Asserts one number per picture, the same in every batch, with its true slope; gives the numbers."""
    value = energy(image.requires_grad_())
    assert value.shape == (len(image),) and value.std() > 0
    torch.testing.assert_close(energy(image[1:2]), value[1:2], rtol=1e-4, atol=1e-5)
    (slope,) = torch.autograd.grad(value.sum(), image)
    assert (slope.flatten(1).abs().amax(1) > 0).all()
    x, step = image.detach(), step * slope.sign()
    measured = (energy(x + step) - energy(x - step)) / 2
    expected = (slope * step).flatten(1).sum(1)
    torch.testing.assert_close(measured, expected, rtol=3e-2, atol=1e-6)
    return value.detach()
