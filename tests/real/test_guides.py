"""The networks of faces against TensorFlow.js, measured by `measure.mjs` and kept as a card; and what they find."""

import math

import pytest
import torch
from figures import card

from latentzoo import energies, picture
from latentzoo.errors import ImageError
from latentzoo.guides import faceapi, faces, human, networks

ABSOLUTE = 1e-3


def waves(side):
    """Two pictures of waves, (2, 3, side, side) in [0, 1], as `measure.mjs` computes them."""
    at = torch.arange(side, dtype=torch.float64) / side
    u, v, c = torch.meshgrid(at, at, torch.arange(3.0, dtype=torch.float64), indexing="ij")
    one = lambda k: (
        0.5
        + 0.25 * torch.sin(6.5 * (k + 1) * u + c)
        + 0.25 * torch.cos(9.5 * v * (u + 0.5) + 2 * k - c)
    )
    return torch.stack([one(k) for k in (0, 1)]).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("purpose", ["recognition", "expression", "landmarks"])
def test_face_api_is_what_it_is_in_tensorflow_js(purpose):
    _, expected = card("faces")
    network = faceapi.load(purpose, networks.fetch("face-api"))
    torch.testing.assert_close(
        network(waves(network.side)), expected[purpose], atol=ABSOLUTE, rtol=1e-5
    )


def test_the_age_and_the_finder_too():
    _, expected = card("faces")
    network = faceapi.load("age", networks.fetch("face-api"))
    years, male = network(waves(112))
    torch.testing.assert_close(years, expected["age"].flatten(), atol=ABSOLUTE, rtol=1e-5)
    torch.testing.assert_close(
        male, expected["gender"][:, 0] - expected["gender"][:, 1], atol=ABSOLUTE, rtol=1e-5
    )
    finder = faceapi.load("finder", networks.fetch("face-api"))
    answers = finder.answers(waves(416)).permute(0, 2, 3, 1)[:, ::3, ::3]
    torch.testing.assert_close(answers, expected["finder"], atol=ABSOLUTE, rtol=1e-5)


def test_the_judges_are_what_they_are_in_tensorflow_js():
    _, expected = card("faces")
    folder = networks.fetch("human")
    years, male, features = human.FaceRes(folder)(waves(224))
    check = lambda ours, name: torch.testing.assert_close(
        ours, expected[name], atol=ABSOLUTE, rtol=1e-4
    )
    check(features, "faceres/global_pooling/Mean")
    check(male[:, None], "faceres/gender_pred/Sigmoid")
    expectation = expected["faceres/age_pred/Softmax"] @ torch.arange(100.0)
    torch.testing.assert_close(years, expectation, atol=ABSOLUTE, rtol=1e-5)
    check(human.MobileFace(folder)(waves(112)), "mobileface/batchnorm0/add_1")
    check(human.Emotion(folder)(waves(64)), "emotion/Identity")


def finder():
    return networks.need("face-api", "finder", faces.Finding)


def test_a_public_portrait_is_found_and_judged():
    data = pytest.importorskip("skimage.data")
    portrait = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None] / 255
    cut = finder()(portrait, source="portrait")
    assert cut.left == pytest.approx(0.33, abs=0.03) and cut.side == pytest.approx(0.21, abs=0.03)
    for guide in ("face-api", "human"):
        happy = energies.load("attribute", "happy", model=guide, face=list(cut))
        assert happy(portrait) < -math.log(0.7), guide
        years = energies.load("age", "30", model=guide, face=list(cut)).years(portrait)
        assert 20 < float(years) < 45, guide


@pytest.mark.parametrize(
    ("guide", "near"), [("face-api", 0.4**2), ("human", 0.1), ("faceres", 0.1)]
)
def test_a_person_is_known_to_every_network(guide, near, tmp_path):
    data = pytest.importorskip("skimage.data")
    path = tmp_path / "portrait.png"
    portrait = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None] / 255
    picture.write(path, picture.to_uint8(portrait)[0])
    energy = energies.load("identity", str(path), model=guide)
    (place,) = energy.settled["reference"]
    itself = faces.FFHQ.framed(portrait, faces.cut(place))
    assert float(energy(itself)) < 1e-3 and float(energy(itself.flip(-1))) < near


def test_a_picture_without_a_face_is_said():
    noise = torch.rand(1, 3, 200, 300, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ImageError, match=r"noise\.png: no face is found"):
        finder()(noise, source="noise.png")


def test_imagenet_is_seen_in_public_photographs():
    pytest.importorskip("timm")
    data = pytest.importorskip("skimage.data")
    for name, label in (("coffee", "espresso"), ("rocket", "missile")):
        photo = torch.from_numpy(getattr(data, name)()).permute(2, 0, 1)[None] / 255
        energy = energies.load("attribute", label, model="efficientnet-lite0")
        logits = energy.network(photo)[0]
        assert int(logits.argmax()) in energy.understood.places, name
