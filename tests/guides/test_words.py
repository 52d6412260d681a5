"""Words that a text-image model does not read are named; texts reach it as its library would send them."""

import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from energies import guides
from latentzoo.errors import CheckpointError, SpecError
from latentzoo.guides import text_image
from latentzoo.guides.words import cleaned, tokens, unread_by_open_clip

transformers = pytest.importorskip("transformers")


def bert(folder: Path) -> object:
    folder.mkdir(exist_ok=True)
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "hat", "with"]
    (folder / "vocab.txt").write_text("\n".join(known))
    guides.write_json(folder / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    return transformers.AutoTokenizer.from_pretrained(folder)


def test_what_is_cut_is_named(tmp_path: Path) -> None:
    guides.clip(tmp_path)
    model = text_image.load(str(tmp_path))
    long = "abcdefghij " * 7 + "yellow hat"  # a letter a token: 75 fit
    with pytest.warns(UserWarning, match="does not read 'w hat' of 'abc"):
        model.encode_text([long])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode_text(["a cat", "a hat"])


def test_words_that_a_vocabulary_lacks_are_named(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="does not read 'zebra'"):
        made = tokens(bert(tmp_path), ["a cat with zebra hat"], 12)
    assert made["input_ids"].shape == (1, 12)
    with pytest.warns(UserWarning, match="'cat with a hat'"):
        tokens(bert(tmp_path), ["a cat with a hat"], 3)


MARKS = ["a cat [SEP] hat", "[CLS] a cat", "a [MASK] cat"]


@pytest.mark.parametrize("text", MARKS)
def test_a_mark_of_the_tokenizer_in_a_text_is_refused(text: str, tmp_path: Path) -> None:
    """CLIP takes what is at the first end for the meaning of the whole."""
    inside = SimpleNamespace(tokenizer=bert(tmp_path), clean_fn=str)
    with pytest.raises(SpecError, match="which the model takes for a mark of its own"):
        tokens(bert(tmp_path), ["a cat", text], 12)
    with pytest.raises(SpecError, match="leave it out"):
        unread_by_open_clip(inside, text, [2, 5, 6, 3])
    guides.clip(tmp_path / "clip")
    model = text_image.load(str(tmp_path / "clip"))
    with pytest.raises(SpecError, match=r"has '<\|endoftext\|>' in it"):
        model.encode_text(["a cat <|endoftext|> and a hat"])
    tokens(bert(tmp_path), ["a [PAD] cat"], 12)  # what fills up does no harm


def test_texts_are_cleaned_as_openai_does() -> None:
    assert cleaned("it\u2019s \u201cblue\u201d &amp;amp; \ufb01ne ") == 'it\'s "blue" & fine'
    assert cleaned("\ufeffa\x07b \x1b[31mred\x1b[0m \u0133") == "ab red ij"
    assert (
        cleaned("caf\u00e9 \u00bd") == "caf\u00e9 \u00bd"
    )  # no compatibility form of anything else


def test_words_that_open_clips_tokenizers_cut_are_named(tmp_path: Path) -> None:
    inside = SimpleNamespace(tokenizer=bert(tmp_path), clean_fn=str.lower)
    assert unread_by_open_clip(inside, "A Cat", [2, 5, 6, 3]) == ""
    assert (
        unread_by_open_clip(inside, "A Cat with zebra", [2, 5, 3])
        == "'cat with [UNK]' and 'zebra'"
    )
    own = pytest.importorskip("open_clip").get_tokenizer("ViT-B-32")
    long = "a photo of a cat and " * 13 + "a yellow hat"
    assert unread_by_open_clip(own, long, own([long])[0].tolist()) == "'a cat and a yellow hat'"
    assert unread_by_open_clip(own, "a photo", own(["a photo"])[0].tolist()) == ""


def test_a_network_of_texts_and_films_is_refused(tmp_path: Path) -> None:
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    size |= {"num_attention_heads": 2}
    vision = {**size, "image_size": 32, "patch_size": 8, "mit_hidden_size": 32}
    vision |= {"mit_num_attention_heads": 2, "mit_intermediate_size": 64}
    config = transformers.XCLIPConfig(text_config={**size, "vocab_size": 9}, vision_config=vision)
    guides.save(transformers.XCLIPModel(config), tmp_path)
    with pytest.raises(CheckpointError, match="is no text-image model"):
        text_image.load(str(tmp_path))


def _siglip(folder: Path) -> text_image.TextImage:
    guides.siglip(folder)
    bert(folder)
    return text_image.load(str(folder))


def test_siglip_reads_its_padding_and_sees_a_squashed_picture(tmp_path: Path) -> None:
    model = _siglip(tmp_path)
    theirs = transformers.SiglipModel.from_pretrained(tmp_path).eval()
    numbers = torch.tensor([[2, 5, 6, 3, *[0] * 12]])
    with torch.no_grad():
        expected = text_image.features(theirs.get_text_features(input_ids=numbers))
        torch.testing.assert_close(model.encode_text(["a cat"]), expected)
        image = torch.rand(2, 3, 48, 80)
        squashed = torch.nn.functional.interpolate(
            image, (32, 32), mode="bilinear", antialias=True
        )
        seen = text_image.features(theirs.get_image_features(pixel_values=(squashed - 0.5) / 0.5))
        expected = torch.nn.functional.normalize(seen, dim=1)
        torch.testing.assert_close(model.embed(image), expected, rtol=1e-4, atol=1e-5)
