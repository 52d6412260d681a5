"""Every card is complete and true of its family, as far as that can be known without the weights."""

import inspect

import pytest
import torch

from latentzoo import zoo

NAMES = zoo.names()
BUILT_IN = [n for n in NAMES if (zoo.card(n).url or "").startswith("package:")]
"""The others are built with the names of their files, in tests/parity/test_manifests.py."""


def test_names_are_of_one_form() -> None:
    assert all(name == name.lower() and " " not in name and "_" not in name for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_what_a_user_must_know(name: str) -> None:
    card = zoo.card(name)
    assert card.licence and card.paper and card.dataset and card.latent
    assert card.resolution in (16, 32, 64, 128, 256, 512, 1024)
    assert card.url is None or card.url.split(":")[0] in ("https", "hf", "package")
    assert card.sha256 is None or len(card.sha256) == 64
    assert card.family in zoo.families()
    assert card.keys in zoo.family(card.family).KEYS


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_card_builds_what_it_says(name: str) -> None:
    card = zoo.card(name)
    build = zoo.family(card.family).build
    inspect.signature(build).bind(**card.config)
    with torch.device("meta"):
        generator = build(**card.config)
    assert str(generator.space) == card.latent
    assert max(generator.size) == card.resolution
