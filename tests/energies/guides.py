"""Small guide networks on disk, in the layouts of the official ones: what the tests of energies and of whole runs read."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

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
