"""The real networks against the runtimes they were published for, measured by `measure.py` and kept as cards."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from figures import CARDS, card
from measure import latents

from latentzoo import zoo
from latentzoo.guides import networks


def test_the_cards_are_of_the_files_that_are_loaded():
    hashes = {
        Path(member).name: sha
        for source in (
            *(zoo.card(name).source for name in zoo.names()),
            *(of.source for of in networks.packaged().values()),
        )
        if source is not None
        for member, sha in source.members.items()
    }
    for path in CARDS.glob("*.json"):
        files = json.loads(path.read_text())["files"]
        assert files.items() <= hashes.items(), path.name


def test_mobilestylegan_is_openvinos():
    _, expected = card("mobilestylegan")
    generator = zoo.load("mobilestylegan-ffhq-1024", truncation=1.0)
    w = generator.mapping(torch.from_numpy(latents(2, 512)))
    torch.testing.assert_close(w, expected["w"], atol=1e-5, rtol=0)
    image = generator.synthesis(expected["w"])[:, :, 16::32, 16::32]
    torch.testing.assert_close(image, expected["image"], atol=5e-4, rtol=0)
    assert expected["image"].std() > 0.3


@pytest.mark.parametrize(
    "name", ["hsc_ScoreNet64", "hsc_ScoreNet32", "ZTF_ScoreNet64", "ZTF_ScoreNet32"]
)
def test_the_scores_are_equinoxs(name):
    _, expected = card("galaxygrad")
    side = int(name[-2:])
    network = zoo.load(f"galaxygrad-{name[:3].lower()}-{side}").network
    y = torch.from_numpy(latents(1, side * side)).view(1, 1, side, side)
    scores = torch.cat([network(y, t)[0, :, 2::4, 2::4] for t in (0.01, 0.5, 10.0)])
    torch.testing.assert_close(scores, expected[name].flatten(0, 1), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["dcgan-digiface-64", "galaxygrad-hsc-32"])
def test_the_real_maps_keep_the_laws(name):
    generator = zoo.load(name)
    z = torch.from_numpy(latents(3, generator.space.dim))
    images = generator(z)
    assert torch.equal(images, generator(z)) and images.isfinite().all()
    torch.testing.assert_close(generator(z[1:2]), images[1:2], atol=1e-4, rtol=1e-4)
    assert np.ptp(images.numpy()) > 0.5
