"""Words that a text-image model does not read are named; texts reach it as its library would send them."""

import warnings
from pathlib import Path

import pytest
import torch

from energies import guides
from latentzoo.guides import text_image
from latentzoo.guides.words import cleaned, tokens

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


def test_texts_are_cleaned_as_openai_does() -> None:
    assert cleaned("it\u2019s \u201cblue\u201d &amp;amp; \ufb01ne ") == 'it\'s "blue" & fine'
    assert (
        cleaned("caf\u00e9 \u00bd") == "caf\u00e9 \u00bd"
    )  # no compatibility form of anything else


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
