"""Faces: made files in face-api's layout, the cut, and the energies that look at it."""

import numpy as np
import pytest
import torch

import plain_files as write
from latentzoo import energies
from latentzoo.energies.age import Age
from latentzoo.energies.identity import Person
from latentzoo.errors import CheckpointError, SpecError, UnknownName
from latentzoo.guides import faceapi, faces, packages
from latentzoo.guides.faces import Cut

LAYOUT = {
    "depthwise": ("depthwise_filter", (2, 3, 0, 1)),
    "pointwise": ("pointwise_filter", (2, 3, 1, 0)),
    "scale": ("scale.weights", None),
    "shift": ("scale.biases", None),
}


def official(network):
    """A network's weights under the file's names and in its layout."""
    found = {}
    for name, value in network.state_dict().items():
        scope, _, kind = name.rpartition(".")
        if kind in LAYOUT:
            theirs, order = LAYOUT[kind]
            value = value if order is None else value.permute(order)
        elif kind == "weight":
            theirs = "filters" if value.ndim == 4 else "weights"
            value = value.permute(2, 3, 1, 0) if value.ndim == 4 else value.T
        else:
            theirs = kind
        whole = (
            "fc"
            if name == "fc.weight" and "fc.bias" not in network.state_dict()
            else f"{scope}.{theirs}"
        )
        found[whole.replace(".", "/")] = value.numpy()
    return found


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder of all networks with random weights, in the place of the package."""
    generator = torch.Generator().manual_seed(0)
    for name, make in faceapi.FILES.values():
        network = make()
        for parameter in network.parameters():
            fan = max(1, parameter[0].numel())
            parameter.data = torch.randn(parameter.shape, generator=generator) * (2 / fan) ** 0.5
        path = write.tfjs(tmp_path / f"{name}-weights_manifest.json", official(network))
        path.write_text(path.read_text().replace(f"{path.stem}.bin", f"{name}.bin"))
        path.with_suffix(".bin").rename(tmp_path / f"{name}.bin")
        network.eval()
        torch.save(network.state_dict(), tmp_path / f"{name}.state")
    monkeypatch.setattr(packages, "fetch", lambda name, progress=None: tmp_path)
    return tmp_path


@pytest.mark.parametrize("purpose", faceapi.FILES)
def test_a_file_is_the_network_whatever_the_batch(purpose, files):
    network = faceapi.load(purpose, files)
    state = torch.load(files / f"{faceapi.FILES[purpose][0]}.state", weights_only=True)
    assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
    x = torch.rand(2, 3, 90, 90, generator=torch.Generator().manual_seed(1), requires_grad=True)
    tensors = lambda y: y if isinstance(y, tuple) else (y,)
    whole = tensors(network(x))
    for ours, alone in zip(whole, tensors(network(x[1:])), strict=True):
        torch.testing.assert_close(ours[1:], alone, rtol=1e-4, atol=1e-4)
    (slope,) = torch.autograd.grad(sum(y.sum() for y in whole), x)
    assert slope.isfinite().all() and slope.abs().sum() > 0


def test_another_networks_file_is_refused(files):
    for kind in ("-weights_manifest.json", ".bin"):
        (files / f"face_expression_model{kind}").rename(files / f"age_gender_model{kind}")
    with pytest.raises(CheckpointError):
        faceapi.load("age", files)


def test_a_cut_takes_its_square_and_nothing_outside_but_black():
    image = torch.arange(100.0).view(1, 1, 10, 10).expand(-1, 3, -1, -1)
    assert torch.equal(Cut(0.2, 0.3, 0.5)(image), image[:, :, 3:8, 2:7])
    wide = Cut(-0.2, 0.8, 0.5)(image)
    assert wide.shape == (1, 3, 5, 5)
    assert torch.equal(wide[:, :, :2, 2:], image[:, :, 8:, :3])
    assert wide[:, :, 2:].abs().sum() == 0 and wide[:, :, :, :2].abs().sum() == 0
    with pytest.raises(UnknownName):
        faces.cut("ffqh")


class Mean(torch.nn.Module):
    """An age that is a hundred times the face's brightness."""

    def forward(self, face):
        return 100 * face.mean((1, 2, 3))


def test_the_age_is_a_likelihood():
    energy = Age(Mean(), 70, 5, cut=Cut(0, 0, 1))
    image = torch.tensor([0.7, 0.75, 0.6]).view(3, 1, 1, 1).expand(-1, 3, 8, 8)
    torch.testing.assert_close(energy(image), torch.tensor([0.0, 0.5, 2.0]), atol=1e-4, rtol=1e-4)
    assert energy.usual == 1


@pytest.mark.parametrize(
    ("words", "mean", "std"),
    [("70 +- 5", 70, 5), ("8", 8, 5), ("30.5±2", 30.5, 2), ("40+/-1.5", 40, 1.5)],
)
def test_ages_in_words(words, mean, std, files):
    energy = energies.load("age", words, model="face-api")
    assert (energy.mean, energy.std, energy.cut) == (mean, std, faces.FFHQ)


@pytest.mark.parametrize("words", ["old", "-3", "70 +- 0", "300", "70 + 5", "", "70 +- -5"])
def test_what_is_no_age(words, files):
    with pytest.raises(SpecError):
        energies.load("age", words)


def test_expressions_are_labels(files):
    energy = energies.load("attribute", "happy", model="face-api", face="whole")
    image = torch.rand(2, 3, 64, 64)
    network = faceapi.load("expression", files)
    torch.testing.assert_close(
        energy(image), -network(image).log_softmax(1)[:, 1], rtol=1e-4, atol=1e-4
    )
    with pytest.raises(UnknownName, match="happy"):
        energies.load("attribute", "hapy", model="face-api")


def test_a_person_is_near_to_itself():
    embed = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())
    references = [torch.rand(1, 3, 6, 6) for _ in range(2)]
    energy = Person(embed, references, cut=Cut(0, 0, 1))
    expected = (embed(references[0]) - embed(references[1])).square().sum() / 2
    torch.testing.assert_close(energy(references[0]), expected[None])
    with pytest.raises(SpecError):
        Person(embed, [])


def test_every_package_of_guides_is_described():
    assert {"face-api", "human", "efficientnet-lite0"} <= packages.known().keys()
    members = [member for of in packages.known().values() for member in of.members]
    assert not any("gear" in member or "race" in member for member in members)
    assert np.all([of.size > 10**7 for of in packages.known().values()])
