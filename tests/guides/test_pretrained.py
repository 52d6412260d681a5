"""What is taken from `transformers` is whole, fits together, and says so in one line where it does not."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from energies import guides
from latentzoo.errors import CheckpointError, LatentzooError, MissingExtra, SpecError
from latentzoo.guides import classifier, compared, features, pretrained, text_image

transformers = pytest.importorskip("transformers")
SIZE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
SIZE |= {"num_attention_heads": 2, "image_size": 32, "patch_size": 8}


def backbone(folder: Path, kind: str = "ViTModel", **settings: Any) -> Path:
    config = transformers.ViTConfig(**{**SIZE, **settings})
    guides.save(getattr(transformers, kind)(config), folder)
    guides.write_json(
        folder / "preprocessor_config.json",
        image_processor_type="ViTImageProcessor",
        size={"height": 32, "width": 32},
    )
    return folder


def changed(folder: Path, name: str, value: torch.Tensor | None) -> Path:
    """Takes a tensor out of the file, or puts another in its place."""
    state = load_file(folder / "model.safetensors")
    key = next(key for key in state if key.endswith(name))
    old = state.pop(key).shape
    state |= {} if value is None else {key: value.expand(old).clone()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_part_that_would_be_drawn_at_random_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lack 2 tensors .*classifier"):
        classifier.load(str(backbone(tmp_path / "backbone")))
    features.load(str(backbone(tmp_path / "pooled", "ViTForImageClassification")))  # no pooler
    less = changed(backbone(tmp_path / "less"), "intermediate.dense.weight", None)
    with pytest.raises(CheckpointError, match=r"lack 1 tensors .*layers?\.0"):
        features.load(str(less))
    clip = changed(guides.clip(tmp_path / "clip"), "mlp.fc1.weight", None)
    with pytest.raises(CheckpointError, match="lack 1 tensors"):
        text_image.load(str(clip))


def test_what_a_network_does_not_take_or_does_not_end_is_said_at_load(tmp_path: Path) -> None:
    nan = changed(
        backbone(tmp_path / "nan"), "intermediate.dense.weight", torch.tensor(float("nan"))
    )
    with pytest.raises(CheckpointError, match="are not finite"):
        features.load(str(nan))
    other = backbone(tmp_path / "other", "ViTForImageClassification", image_size=64)
    with pytest.raises(CheckpointError, match=r"does not take the pictures .*32\*32"):
        classifier.load(str(other))


@pytest.mark.parametrize("error", [MissingExtra("x", "clip", "a model"), SpecError("a; b")])
def test_an_error_of_our_own_is_not_the_networks(error: LatentzooError) -> None:
    def see(_: torch.Tensor) -> torch.Tensor:
        raise error

    with pytest.raises(type(error)) as caught:
        compared.tried(see, source="a model")
    assert caught.value is error


@pytest.mark.parametrize(
    "config", ["{", '{"model_type": "tomorrow"}', '{"model_type": "vit", "hidden_size": "x"}']
)
def test_files_that_say_nothing_are_refused_in_one_line(tmp_path: Path, config: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match="cannot be loaded") as caught:
        classifier.load(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_words_is_refused(tmp_path: Path) -> None:
    folder = guides.clip(tmp_path)
    for file in ("vocab.json", "merges.txt", "tokenizer_config.json", "tokenizer.json"):
        (folder / file).unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match=r"has no words, .*tokenizer\.json") as caught:
        text_image.load(str(folder))
    assert "\n" not in str(caught.value)


def test_pictures_and_texts_of_other_sizes_are_refused(tmp_path: Path) -> None:
    size = {k: v for k, v in SIZE.items() if k not in ("image_size", "patch_size")}
    count = guides.tokenizer(tmp_path)
    ends = {"bos_token_id": count - 2, "eos_token_id": count - 1, "pad_token_id": count - 1}
    text = {**size, **ends, "hidden_size": 24, "vocab_size": count, "max_position_embeddings": 16}
    config = transformers.SiglipConfig(text_config=text, vision_config=SIZE)
    guides.save(transformers.SiglipModel(config), tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps(
            {"image_processor_type": "SiglipImageProcessor", "size": {"height": 32, "width": 32}}
        )
    )
    with pytest.raises(CheckpointError, match="has pictures of 16 numbers and texts of"):
        text_image.load(str(tmp_path))


def test_what_is_hushed_is_one_thread(caplog: pytest.LogCaptureFixture) -> None:
    """Also of a logger that is made inside; and all are heard again after it."""
    known = logging.getLogger("library.known")
    with ThreadPoolExecutor(1) as other, pretrained.hushed():
        known.critical("hidden")
        logging.getLogger("library.made_inside").error("hidden")
        logging.error("hidden")
        other.submit(known.warning, "of another thread").result()
    known.warning("after")
    logging.getLogger("library.made_inside").warning("after it too")
    assert caplog.messages == ["of another thread", "after", "after it too"]
