"""Every shipped weight file loads, makes faces, and says about them what is true."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
import yaml

from latentzoo import energies
from latentzoo.builtin import attributes, weights
from latentzoo.builtin.avatars import NAMES, draw
from latentzoo.builtin.captions import parse
from latentzoo.builtin.clip import tokenize
from latentzoo.builtin.drawing import render
from latentzoo.errors import CheckpointError, EnergyError, SpecError, UnknownName
from latentzoo.guides import text_image
from latentzoo.record import spec
from latentzoo.record.experiment import Experiment
from latentzoo.rng import Rng
from latentzoo.zoo import card, load, names

GENERATORS = [name for name in names() if card(name).dataset.startswith("Avatars")]
FRESH = 5


@pytest.fixture(scope="module")
def faces():
    pytest.importorskip("python_avatars", reason="the extra 'avatars' is not installed")
    pytest.importorskip("resvg_py", reason="the extra 'avatars' is not installed")
    avatars = [draw(FRESH, index) for index in range(128)]
    pixels = torch.from_numpy(np.stack([render(avatar) for avatar in avatars]))
    return avatars, pixels.permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_makes_different_faces(name):
    generator = load(name)
    z = Rng(0, 1, 2, 3, 4, 5).normal(generator.space.dim)
    with torch.no_grad():
        x = generator(z)
        alone = generator(z[2:3])
    assert x.shape == (6, 3, 64, 64)
    torch.testing.assert_close(x[2:3], alone, atol=1e-4, rtol=0)
    low, high = torch.quantile(
        x.flatten()[::3], torch.tensor([0.001, 0.999])
    )  # a GAN overshoots in single pixels
    assert low > -0.2 and high < 1.3
    skin = attributes.judge()(x.clamp(0, 1))["skin"].argmax(1)
    assert len(set(skin.tolist())) > 1, "all faces look alike"
    assert x.flatten(1).std(dim=0).mean() > 0.08


PEAK = """
import re, sys, torch
from latentzoo.zoo import load
torch.set_num_threads(1)
generator = load("avatar-ldm", steps=int(sys.argv[1]), eta=1.0, recompute=True)
z = torch.zeros(4, generator.space.dim, requires_grad=True)
# of this program alone: getrusage begins with the peak of the process that started it
held = lambda: int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
before = held()
generator(z).sum().backward()
sys.stdout.write(str(held() - before - 2 * z.nbytes / 1024))  # a latent and its gradient are the user's
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_the_memory_of_the_gradient_hardly_grows_with_the_steps():
    few, many = (
        float(
            subprocess.run(
                [sys.executable, "-c", PEAK, steps], capture_output=True, check=True
            ).stdout
        )
        for steps in ("5", "50")
    )
    assert few > 0 and many < 1.3 * few


def test_encoding_finds_the_face_again(faces):
    generator = load("avatar-ldm", steps=20)
    x = faces[1][:2]
    with torch.no_grad():
        z = generator.encode(x, Rng(0, 1))
        y = generator(z)
        best = generator.decoder(generator.encoder(x))
    assert (y - x).abs().mean() < (best - x).abs().mean() + 0.03
    assert 0.5 < z.std() < 1.5


def test_a_stochastic_map_reads_its_noise():
    generator = load("avatar-ldm", steps=4, eta=1.0)
    assert generator.space.blocks["noise"] == (3, 4, 16, 16)
    z = Rng(0).normal(generator.space.dim).requires_grad_()
    generator(z).sum().backward()
    for name, gradient in generator.space.split(z.grad).items():
        assert gradient.abs().flatten(1).amax() > 0, name
    part = load("avatar-ldm", steps=4, eta=1.0, white_box_steps=1)
    assert part.space.blocks["noise"] == (1, 4, 16, 16)
    with pytest.raises(SpecError, match="leave out white_box_steps"):
        part.encode(torch.rand(1, 3, 64, 64), Rng(0))


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_an_encoded_picture_is_the_end_of_the_chain(eta):
    generator = load("avatar-ldm", steps=12, eta=eta)
    with torch.no_grad():
        x = load("avatar-turbo")(Rng(1).normal(1024))
        z = generator.encode(x, Rng(2))
        code = generator.encoder(x)
        assert z.shape == (1, generator.space.dim)
        assert (
            generator.reverse(**generator.space.split(z)) - code
        ).square().mean().sqrt() < 0.05 * code.std()
    if eta > 0:
        assert torch.equal(generator.encode(x, Rng(2)), z)
        assert not torch.equal(generator.encode(x, Rng(3)), z)


def test_part_of_the_way_to_noise_and_back():
    generator = load("avatar-ldm", steps=6)
    with torch.no_grad():
        x = generator(Rng(0, 1).normal(1024))
        far = [(generator.renew(x, Rng(2, 3), strength=s) - x).abs().mean() for s in (0, 0.5, 1)]
    assert far[0] < 0.02 < far[1] < far[2]
    with pytest.raises(SpecError, match=r"strength=1\.5"):
        generator.renew(x, Rng(2, 3), strength=1.5)


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"eta": 1.5}, {"eta": 1.0, "white_box_steps": 10}]
)
def test_a_map_that_is_not_defined_is_refused(options):
    with pytest.raises(SpecError, match=r"give|Expected .* [<>]= 1"):
        load("avatar-ldm", **options)


ACCURACY = {"hat": 0.97, "glasses": 0.93, "hat_color": 0.95, "hair": 0.9, "skin": 0.9}


@pytest.mark.parametrize("network", ["guide", "judge"])
def test_attributes_of_fresh_faces_are_read(network, faces):
    avatars, x = faces
    truth = torch.tensor([avatar.indices() for avatar in avatars])
    with torch.no_grad():
        said = getattr(attributes, network)()(x)
    for k, name in enumerate(NAMES):
        right = (said[name].argmax(1) == truth[:, k]).float().mean()
        assert right >= ACCURACY.get(name, 0.5), name
        assert torch.allclose(said[name].exp().sum(1), torch.ones(len(x)))


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("a person with sunglasses", 0.95),
        ("a person with a hat", 0.95),
        ("a smiling person", 0.8),
        ("a person without glasses", 0.97),
        ("a person with a yellow hat", 0.9),
    ],
)
def test_the_text_model_prefers_what_is_true(text, least, faces):
    avatars, x = faces
    true = torch.tensor([avatar.satisfies(parse(text)) for avatar in avatars])
    model = text_image.load("avatar-clip")
    unit = torch.nn.functional.normalize
    with torch.no_grad():
        s = unit(model.encode_image(x), dim=1) @ unit(model.encode_text([text]), dim=1)[0]
    area = (s[true][:, None] > s[~true][None]).float().mean()
    assert area > least


def test_a_weight_that_is_not_given_is_the_usual_one_and_is_recorded():
    terms = [
        spec.Term(target="a hat"),
        spec.Term(energy="attribute", target="hat=cat"),
        spec.Term(target="a beard", weight=3.0),
    ]
    made = Experiment(spec.Run(generator="avatar-turbo", energies=terms))
    assert [energy.weights for energy in made.energies.values()] == [(150.0,), (10.0,), (3.0,)]
    recorded = yaml.safe_load(spec.to_yaml(made.resolved))["energies"]
    assert [term["weight"] for term in recorded] == [150.0, 10.0, 3.0]


def test_unknown_words_are_named():
    with pytest.warns(UserWarning, match=r"'sunglases' \(near: sunglasses"):
        assert tokenize("a person with sunglases").shape == (1, 3)
    with pytest.raises(SpecError, match="no word of the text 'zebra' is in the vocabulary"):
        tokenize("zebra")
    with pytest.raises(SpecError, match="it is empty"):
        tokenize("")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenize("a person with sunglasses and a yellow hat")


def test_attributes_are_read_from_both_grammars():
    assert attributes.read("hat=brimmed|beanie, hat_color=yellow") == {
        "hat": {"brimmed", "beanie"},
        "hat_color": {"yellow"},
    }
    assert attributes.read("a bald person") == {"hair": {"bald"}}
    with pytest.raises(UnknownName, match="did you mean 'hat"):
        attributes.read("hats=yellow")
    with pytest.raises(UnknownName, match="unknown value of 'hat_color' 'yelow'"):
        attributes.read("hat_color=yelow")
    with pytest.raises(SpecError, match="says nothing"):
        attributes.read("a person")


def test_the_attribute_energy_is_low_where_it_is_true(faces):
    avatars, x = faces
    energy = energies.load("attribute", "a person with sunglasses", model="avatar-attributes")
    with torch.no_grad():
        e = energy(x)
    true = torch.tensor([avatar.satisfies(energy.understood) for avatar in avatars])
    assert e[true].median() < 0.2 < 2 < e[~true].median()
    with pytest.raises(EnergyError, match="64x64"):
        energy(torch.rand(1, 3, 32, 32))


def test_weights_that_are_not_there_name_their_recipe():
    with pytest.raises(CheckpointError, match="latentzoo-train avatar-nothing"):
        weights.tensors("avatar-nothing")
