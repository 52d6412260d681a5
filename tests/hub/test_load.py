"""From names, files, ids and addresses to generators; and the safe form that `convert` writes."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from latentzoo import zoo
from latentzoo.errors import CheckpointError, SpecError, UnknownName
from latentzoo.hub import card as cards
from latentzoo.hub import fetch
from latentzoo.hub.fit import fit, uninitialised
from latentzoo.hub.read import Container, read

TABLE = {
    "family": "toy",
    "url": None,
    "container": "torch",
    "keys": "official",
    "licence": "MIT",
    "paper": "arXiv:1",
    "dataset": "none",
    "resolution": 2,
}


@pytest.fixture
def file(toy, tmp_path):
    torch.save({"g_ema": toy, "latent_avg": torch.ones(4), "args": {"n": 1}}, tmp_path / "toy.pt")
    return tmp_path / "toy.pt"


@pytest.fixture
def card(toy, monkeypatch):
    """Adds a card of the toy family."""

    def add(**fields):
        made = cards.parse("toy-card", TABLE | fields, source="here")
        monkeypatch.setattr(zoo.shelf, "_cards", lambda: {"toy-card": made})
        return made

    return add


def test_a_file_is_recognised_frozen_and_strict(toy, file):
    generator = zoo.load(file)
    assert torch.equal(generator.linear.weight, toy["fc.weight"])
    assert not generator.training and not any(p.requires_grad for p in generator.parameters())
    z = torch.randn(3, 4)
    expected = (z @ toy["fc.weight"].T + toy["fc.bias"]).view(3, 3, 2, 2)
    assert torch.allclose(generator(z), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_types(file, dtype):
    generator = zoo.load(file, dtype=dtype)
    assert {t.dtype for t in (*generator.parameters(), *generator.buffers())} == {dtype}
    assert generator.state_dict().keys() == {"linear.weight", "linear.bias"}


def test_half_files_become_float32(toy, tmp_path):
    save_file({k: v.half() for k, v in toy.items()}, tmp_path / "a.safetensors")
    assert zoo.load(tmp_path / "a.safetensors").linear.weight.dtype == torch.float32


@pytest.mark.parametrize("save", [torch.save, save_file])
def test_a_network_takes_the_numbers_of_its_file_as_they_lie(save, tmp_path):
    """No second copy; what has another type, or does not lie in order, is copied."""
    weights = {"0.weight": torch.randn(8, 4), "0.bias": torch.randn(8)}
    weights |= {"1.weight": torch.randn(2, 8).half(), "1.bias": torch.randn(2)}
    save(weights, tmp_path / "f")
    tensors = read(tmp_path / "f").tensors | {"1.bias": torch.randn(1).expand(2)}
    network = fit(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)), tensors, source="f")
    own = network.state_dict()
    taken = {name for name, x in own.items() if x.data_ptr() == tensors[name].data_ptr()}
    assert taken == {"0.weight", "0.bias"}
    assert all(torch.equal(x, tensors[name].float()) for name, x in own.items())
    assert all(x.is_contiguous() and x.dtype == torch.float32 for x in own.values())
    with torch.no_grad():
        network[0].weight.zero_()  # the pages are a private copy
    assert torch.equal(read(tmp_path / "f").tensors["0.weight"], weights["0.weight"])


def test_parallel_prefix_is_stripped(toy, tmp_path):
    torch.save({f"module.{name}": value for name, value in toy.items()}, tmp_path / "a.pt")
    assert torch.equal(zoo.load(tmp_path / "a.pt").linear.bias, toy["fc.bias"])


def test_options_go_before_the_card(card, file, monkeypatch):
    card(url="https://host/toy.pt", config={"gain": 2.0})
    monkeypatch.setattr(fetch, "fetch", lambda url, **kwargs: file)
    assert zoo.load("toy-card").gain == 2 and zoo.load("toy-card", gain=3.0).gain == 3


def test_unknown_options_are_named(file):
    with pytest.raises(
        UnknownName, match="unknown option of the family 'toy' 'gian'; did you mean 'gain'"
    ):
        zoo.load(file, gian=1.0)


def test_weights_are_not_drawn_and_the_random_state_is_left(file):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    zoo.load(file)
    assert torch.equal(torch.get_rng_state(), state)


def test_uninitialised_networks_draw_nothing():
    drawn = []
    with uninitialised(), pytest.MonkeyPatch.context() as patch:
        for name in ("uniform_", "normal_"):
            patch.setattr(
                torch.Tensor, name, lambda self, *args, **kwargs: drawn.append(1) or self
            )
        nn.Sequential(nn.Linear(3, 3), nn.Conv2d(3, 3, 3), nn.Embedding(3, 3), nn.GroupNorm(1, 3))
    assert not drawn


@pytest.mark.parametrize(
    ("x", "error", "fact"),
    [
        ("toy-crad", UnknownName, "did you mean 'toy-card'"),
        ("nowhere.pt", CheckpointError, "no such file"),
        ("folder/nowhere.pt", CheckpointError, "no such file"),
        ("/folder/sub/nowhere", CheckpointError, "no such file"),
        ("toy-card", CheckpointError, "has no address to download from"),
        ("ftp://host/x.pt", fetch.DownloadError, "not an address"),
    ],
)
def test_what_is_not_there(card, x, error, fact):
    card()
    with pytest.raises(error, match=fact):
        zoo.load(x)


def test_hugging_face_ids(toy, file, monkeypatch):
    asked = []

    def from_hub(url: str, **_: object) -> Path:
        asked.append(url)
        if url.endswith("model_index.json"):  # this repository has one checkpoint, and no pipeline
            raise fetch.DownloadError("there is none")
        return file

    monkeypatch.setattr(fetch, "from_hub", from_hub)
    monkeypatch.setattr(fetch.cache, "verify", lambda *args: None)
    for x in ("owner/repo", "owner/repo/sub/file.pt", "hf://owner/repo@v1/file.pt"):
        zoo.load(x)
    assert asked == [
        "hf://owner/repo/model_index.json",
        "hf://owner/repo",
        "hf://owner/repo/sub/file.pt",
        "hf://owner/repo@v1/file.pt",
    ]


def test_a_file_that_changes_another_one(toy, card, file, tmp_path, monkeypatch):
    """The card names both: the tensors are those of the base, but for the few of the file."""
    moved, places = tmp_path / "moved.pt", {"https://host/toy.pt": file}
    places["https://host/moved.pt"] = moved
    monkeypatch.setattr(fetch, "fetch", lambda url, **_: places[url])
    card(url="https://host/moved.pt", base="https://host/toy.pt")
    torch.save({"g_ema": {"fc.bias": toy["fc.bias"] + 1}}, moved)
    generator = zoo.load("toy-card")
    assert torch.equal(generator.linear.weight, toy["fc.weight"])
    assert torch.equal(generator.linear.bias, toy["fc.bias"] + 1)
    zoo.convert("toy-card", tmp_path / "whole.safetensors")
    assert torch.equal(zoo.load(tmp_path / "whole.safetensors").linear.bias, toy["fc.bias"] + 1)
    for wrong in ({"fc.bias": torch.ones(3)}, {"other": torch.ones(3)}):
        torch.save({"g_ema": wrong}, moved)
        with pytest.raises(CheckpointError, match="is that its base"):
            zoo.load("toy-card")


def test_the_container_of_the_card_must_be_the_files(card, file, monkeypatch):
    card(url="https://host/toy.pt", container="nvidia")
    monkeypatch.setattr(fetch, "fetch", lambda url, **kwargs: file)
    with pytest.raises(CheckpointError, match="container 'torch', its card says 'nvidia'"):
        zoo.load("toy-card")


def test_two_families_that_could_be_meant(file, monkeypatch):
    monkeypatch.setattr(zoo.shelf, "families", lambda: {"toy": "toy_family", "twin": "toy_family"})
    with pytest.raises(CheckpointError, match="could be of the families toy, twin; say which"):
        zoo.load(file)
    assert zoo.load(file, family="twin").gain == 1
    with pytest.raises(UnknownName, match="unknown family 'tow'"):
        zoo.load(file, family="tow")


def test_the_safe_form_loads_without_further_words(file, tmp_path):
    written = zoo.convert(file, tmp_path / "safe.safetensors")
    assert written.family == "toy" and written.config == {"width": 4} and "toy.pt" in written.notes
    found = read(tmp_path / "safe.safetensors")
    assert (
        set(found.tensors) == {"fc.weight", "fc.bias"}
        and found.records["card"]["keys"] == "official"
    )
    first, second = zoo.load(file), zoo.load(tmp_path / "safe.safetensors")
    z = torch.randn(2, 4)
    assert torch.equal(first(z), second(z))
    assert not list(tmp_path.glob(".*"))


def test_a_card_inside_of_a_file_is_not_trusted(file, tmp_path):
    zoo.convert(file, tmp_path / "a.safetensors")
    tensors = read(tmp_path / "a.safetensors").tensors
    for card in ('{"family": "os"}', "[]", "{", '{"family": "toy", "colour": 1}'):
        save_file(tensors, tmp_path / "b.safetensors", {"latentzoo": card})
        with pytest.raises((CheckpointError, SpecError, UnknownName)):
            zoo.load(tmp_path / "b.safetensors")


class TestCards:
    """Cards are strict: a wrong word is an error that names the right one."""

    def write(self, folder, text):
        (folder / "toy.yaml").write_text(text)
        return folder / "toy.yaml"

    good = "toy-1: {url: null, container: torch, keys: official, licence: MIT, paper: x, dataset: y, resolution: 2}\n"

    def test_the_family_is_the_files(self, tmp_path):
        (card,) = cards.read(self.write(tmp_path, self.good + "_common: {x: 1}\n")).values()
        assert card.family == "toy" and card.name == "toy-1" and card.config == {}

    @pytest.mark.parametrize(
        ("text", "fact"),
        [
            (
                good.replace("licence", "license"),
                "unknown field .* 'license'; did you mean 'licence'",
            ),
            (good.replace("resolution: 2", "resolution: big"), "wrong value .*int"),
            (good.replace("dataset: y, ", ""), "lacks dataset"),
            (good.replace("{", "{sha256: [1], "), "wrong value"),
            ("- a\n- b\n", "not a mapping"),
            ("a: {b: ", "not sound YAML"),
            ("a: !!python/object/apply:os.system [true]", "not sound YAML"),
        ],
    )
    def test_mistakes(self, tmp_path, text, fact):
        with pytest.raises((SpecError, UnknownName), match=fact):
            cards.read(self.write(tmp_path, text))

    def test_two_of_one_name(self, tmp_path):
        paths = [self.write(tmp_path, self.good)] * 2
        with pytest.raises(SpecError, match="there twice"):
            cards.read_all(paths)


def test_the_cards_of_the_zoo_are_sound():
    assert len(zoo.names()) > 5
    for name in zoo.names():
        card = zoo.card(name)
        family = zoo.family(card.family)
        assert card.keys in family.KEYS and card.container in get_args(Container), name
        assert card.url is None or card.url.startswith(("https://", "hf://", "package:")), name
        assert card.sha256 is None or len(card.sha256) == 64, name


def test_names_and_cards_need_no_torch():
    code = "import sys; from latentzoo import zoo; zoo.card(zoo.names()[0]); zoo.families(); "
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
