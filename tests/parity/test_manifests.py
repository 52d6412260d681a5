"""Every card of an official file has a manifest, and what the card describes loads every tensor of it, on `meta`."""

import json

import check
import manifest
import pytest
import torch
import yaml

from latentzoo import zoo
from latentzoo.hub import fit
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import translate
from latentzoo.zoo import _family

MANIFESTS = yaml.safe_load((check.HERE / "manifests.yaml").read_text())
OFFICIAL = [n for n in zoo.names() if not (zoo.card(n).url or "").startswith("package:")]
SMALL = 4096  # numbers; of larger tensors, only shapes are looked at


def test_every_card_of_an_official_file_has_a_manifest():
    assert sorted(MANIFESTS) == OFFICIAL
    there = {path.name.split(".json")[0] for path in (check.HERE / "manifest").iterdir()}
    assert set(MANIFESTS.values()) <= there


def test_what_no_manifest_verifies_is_told_by_the_card():
    seen = {
        name: check.read_json(check.HERE / "manifest" / f"{of}.json.gz")
        for name, of in MANIFESTS.items()
    }
    unsure = {name for name, told in seen.items() if told.get("caveat")}
    assert unsure == {name for name in zoo.names() if zoo.card(name).caveat}


def tensor(name, shape, dtype):
    """A tensor of a manifest; those that a family reads numbers of are there."""
    if name == "betas":
        return torch.linspace(0.0015**0.5, 0.0195**0.5, *shape) ** 2
    constant = name.endswith(("resample_filter", ".kernel"))
    small = torch.Size(shape).numel() <= SMALL and not constant
    kind, device = getattr(torch, dtype), "cpu" if small else "meta"
    return torch.zeros(shape, dtype=kind, device=device)


def cards():
    """Each card; of those of one file and one configuration, the ordinary suite takes the first."""
    seen = []
    for name in OFFICIAL:
        what = MANIFESTS[name], zoo.card(name).config
        yield pytest.param(name, marks=pytest.mark.slow if what in seen else ())
        seen.append(what)


@pytest.mark.parametrize("name", list(cards()))
def test_a_card_loads_its_file(name):
    told = check.read_json(check.HERE / "manifest" / f"{MANIFESTS[name]}.json.gz")
    card = zoo.card(name)
    state = {key: tensor(key, *rest) for key, *rest in told["state"]}
    records = json.loads(json.dumps(told.get("records", {})))
    file = Checkpoint(state, records, None, card.container)
    found = _family.network(file, [card.family])
    assert found is not None, "the family does not recognise it"
    _, seen, inner = found
    with torch.device("meta"), fit.uninitialised():
        generator = zoo.family(card.family).build(**{**seen["config"], **card.config})
    rules = zoo.family(card.family).KEYS[card.keys](generator)
    loaded = translate(inner.tensors, rules, source=MANIFESTS[name])
    own = {k: v for k, v in generator.state_dict().items() if not k.endswith(fit.COUNTER)}
    loaded = {k: v for k, v in loaded.items() if not k.endswith(fit.COUNTER)}
    assert not manifest.mismatches(own, loaded)
    assert max(generator.size) == card.resolution and str(generator.space) == card.latent
