"""Faces: made files in face-api's layout, the cut, and the energies that look at it."""

import numpy as np
import pytest
import torch

import plain_files as write
from latentzoo import energies, picture
from latentzoo.energies.age import Age
from latentzoo.energies.identity import Identity
from latentzoo.errors import CheckpointError, ImageError, SpecError, UnknownName
from latentzoo.guides import faceapi, faces, networks, references
from latentzoo.guides.faces import Cut
from latentzoo.guides.facial import Distances, Recognition, Years
from latentzoo.guides.roles import Faces
from latentzoo.hub import client, package
from latentzoo.record import execute, plain

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
    monkeypatch.setattr(client, "fetch", lambda of, progress=None: tmp_path)
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


@pytest.mark.parametrize(
    ("boxes", "logits", "count"),
    [
        ([[0.1, 0.1, 0.4, 0.4]], [2.0], 1),
        (
            [[0.1, 0.1, 0.4, 0.4], [0.12, 0.1, 0.42, 0.41], [0.2, 0.2, 0.3, 0.3]],
            [2.0, 3.0, 1.0],
            1,
        ),
        ([[0.1, 0.1, 0.4, 0.4], [0.6, 0.1, 0.9, 0.4]], [2.0, 3.0], 2),
        ([[0.1, 0.1, 0.4, 0.4], [0.6, 0.1, 0.9, 0.4], [0.6, 0.6, 0.9, 0.9]], [2.0, 3.0, -1.0], 2),
        ([[0.1, 0.1, 0.4, 0.4]], [-2.0], 0),
    ],
)
def test_two_faces_of_a_reference_are_said_and_none_is_refused(
    boxes, logits, count, files, monkeypatch, recwarn
):
    answer = torch.tensor([boxes]), torch.tensor([logits])
    monkeypatch.setattr(faceapi.Finder, "forward", lambda self, image: answer)
    finding, image = faces.Finding(files), torch.rand(1, 3, 80, 80)
    if count == 0:
        with pytest.raises(ImageError, match=r"two.png: no face is found"):
            finding(image, source="two.png")
        return
    finding(image, source="two.png")
    said = [str(w.message) for w in recwarn if "faces are found" in str(w.message)]
    assert len(said) == (count > 1)
    assert not said or "two.png: 2 faces are found in it" in said[0]
    assert faces.apart(answer[0][0], answer[1][0])[0] == int(answer[1].argmax())


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


@pytest.mark.parametrize(
    "face", [[0.1, 0.2], [0, 0, 0], [0, 0, 9], [float("nan"), 0, 1], [2, 0, 0.5], [-1, 0, 0.9]]
)
def test_numbers_that_are_no_cut(face):
    with pytest.raises(SpecError, match="the face"):
        faces.cut(face)
    assert faces.cut([0.1, 0.2, 0.5]) == Cut(0.1, 0.2, 0.5)


@pytest.mark.parametrize("name", faces.CUTS)
def test_a_framed_picture_has_its_face_where_the_cut_is(name):
    cut, face = faces.cut(name), Cut(0.3, 0.2, 0.31)
    image = torch.rand(1, 3, 100, 80, generator=torch.Generator().manual_seed(0))
    assert torch.equal(cut(cut.framed(image, face)), face(image))


class Mean(torch.nn.Module):
    """An age that is a hundred times the face's brightness."""

    def forward(self, face):
        return (100 * face.mean((1, 2, 3)),)


def test_the_age_is_a_likelihood():
    energy = Age(Years(Mean(), "whole"), 70, 5)
    image = torch.tensor([0.7, 0.75, 0.6]).view(3, 1, 1, 1).expand(-1, 3, 8, 8)
    torch.testing.assert_close(energy(image), torch.tensor([0.0, 0.5, 2.0]), atol=1e-4, rtol=1e-4)
    assert energy.usual == 1


@pytest.mark.parametrize(
    ("words", "mean", "std"),
    [("70 +- 5", 70, 5), ("8", 8, 5), ("30.5±2", 30.5, 2), ("40+/-1.5", 40, 1.5)],
)
def test_ages_in_words(words, mean, std, files):
    energy = energies.load("age", words)
    assert (energy.mean, energy.std, energy.network.cut) == (mean, std, faces.FFHQ)


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
    not_happy = energies.load("attribute", "happy=0", model="face-api", face="whole")
    torch.testing.assert_close((-energy(image)).exp() + (-not_happy(image)).exp(), torch.ones(2))
    with pytest.raises(UnknownName, match="happy"):
        energies.load("attribute", "hapy", model="face-api")


class Shades(torch.nn.Module):
    """A face as the means of its quarters."""

    def forward(self, face):
        return torch.nn.functional.adaptive_avg_pool2d(face, 2).flatten(1)


def nowhere(image, *, source):
    raise ImageError(f"{source}: no face is found in it")


def test_a_person_is_near_to_itself():
    network = Distances(Shades(), nowhere, "whole")
    references = [torch.rand(1, 3, 6, 6) for _ in range(2)]
    energy, embed = Identity(network, references), Shades()
    expected = (embed(references[0]) - embed(references[1])).square().sum() / 2
    torch.testing.assert_close(energy(references[0]), expected[None])
    cosine = Identity(Recognition(Shades(), nowhere, "whole"), references[:1])
    torch.testing.assert_close(cosine(references[0]), torch.zeros(1), atol=1e-6, rtol=0)
    with pytest.raises(SpecError):
        Identity(network, [])


def test_where_a_face_was_found_is_settled_and_makes_the_same_network_again(tmp_path):
    image = torch.rand(1, 3, 60, 60, generator=torch.Generator().manual_seed(0))
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        picture.write(path, picture.to_uint8(image)[0])
    network = Recognition(Shades(), lambda image, source: Cut(0.25, 0.1, 0.4), "ffhq")
    first = network.references(paths)
    assert network.settled == {"face": "ffhq", "reference": [[0.25, 0.1, 0.4]] * 2}
    again = Recognition(Shades(), nowhere, **network.settled)
    assert all(map(torch.equal, first, again.references(paths)))
    assert again.settled == network.settled
    with pytest.raises(SpecError, match="2 faces and there are 1 pictures"):
        again.references(paths[:1])


def drawn(path, width, height):
    """A picture of noise."""
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    picture.write(path, picture.to_uint8(image)[0])
    return path


def test_a_reference_that_is_no_square_is_said_with_what_is_looked_at(tmp_path, recwarn):
    find = lambda image, source: Cut(0.25, 0.1, 0.4)
    for width, height, count in ((60, 40, 1), (40, 40, 0)):
        recwarn.clear()
        path = drawn(tmp_path / "a.png", width, height)
        Recognition(Shades(), find, "ffhq").references([path])
        said = [str(w.message) for w in recwarn if "a.png" in str(w.message)]
        cut = "of its 60 x 40 pixels the face is looked at, 24 x 24 from (15, 6)"
        assert [cut in line for line in said] == [True] * count


class Whole(Faces):
    """A guide that reads references as they are, and has a finder."""

    finder = "face-api"

    def embed(self, image):
        return torch.nn.functional.normalize(Shades()(image), dim=1)


@pytest.mark.parametrize(("found", "said"), [(faces.FFHQ, False), (Cut(0.0, 0.0, 0.2), True)])
def test_a_guide_that_cuts_nothing_has_its_references_looked_at_where_the_finder_is_here(
    found, said, tmp_path, monkeypatch, recwarn
):
    path = drawn(tmp_path / "a.png", 80, 80)
    monkeypatch.setattr(references, "finder", lambda network: lambda image, source: found)
    assert references.examine(Whole(), [path]) == {}
    lines = [str(w.message) for w in recwarn if "a.png" in str(w.message)]
    assert ["its face is at 0.00, 0.00, 0.20" in line for line in lines] == [True] * said
    monkeypatch.setattr(references, "finder", lambda network: nowhere)
    with pytest.raises(ImageError, match=r"a\.png: no face is found"):
        references.examine(Whole(), [path])


def test_the_finder_is_taken_where_it_is_on_this_disk(files, monkeypatch):
    for here in (True, False):
        monkeypatch.setattr(package.Package, "here", lambda self, here=here: here)
        assert isinstance(references.finder(Whole()), faces.Finding) == here


def test_where_nobody_looks_at_a_reference_run_and_record_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(package.Package, "here", lambda self: False)
    path = drawn(tmp_path / "a.png", 64, 64)
    assert "`latentzoo fetch face-api` would" in str(references.examine(Whole(), [path]))
    run = plain.parse(
        {
            "generator": "avatar-turbo",
            "energies": [{"energy": "identity", "target": str(path)}],
            "chains": 1,
            "steps": 2,
        },
        source="test",
    )
    made = execute.make(run, tmp_path / "run")
    (said,) = plain.read(tmp_path / "run" / "run.yaml").record["assumed"].items()
    assert said[0] == f"the face in {path}" and "nobody examined" in said[1]
    assert any("nobody examined" in note for note in made.notes)


def test_a_portrait_without_a_face_is_said_before_the_run(files, tmp_path, monkeypatch):
    path = tmp_path / "wall.png"
    picture.write(path, picture.to_uint8(torch.rand(1, 3, 64, 64))[0])
    monkeypatch.setattr(faces, "SURE", torch.inf)
    run = plain.parse(
        {
            "generator": "avatar-turbo",
            "energies": [{"energy": "identity", "target": str(path), "model": "face-api"}],
            "chains": 1,
            "steps": 10,
        },
        source="test",
    )
    with pytest.raises(ImageError, match=r"wall\.png: no face is found"):
        execute.make(run, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_record_of_a_run_tells_the_cut_and_makes_the_run_again(files, tmp_path):
    run = plain.parse(
        {
            "generator": "avatar-turbo",
            "energies": [{"energy": "age", "target": "70 +- 5"}],
            "chains": 1,
            "steps": 2,
        },
        source="test",
    )
    first = execute.make(run, tmp_path / "a")
    told = plain.read(tmp_path / "a" / "run.yaml")
    assert told.energies[0].options == {"face": "ffhq"}
    assert torch.equal(execute.make(told, tmp_path / "b").z, first.z)
    assert execute.holds(tmp_path / "a", told)


def test_every_package_of_guides_is_described():
    assert {"face-api", "human", "faceres"} <= networks.packaged().keys()
    sources = [card.source for card in networks.packaged().values()]
    members = [member for source in sources for member in source.members]
    assert not any("gear" in member or "race" in member for member in members)
    assert np.all([source.size > 10**7 for source in sources])
