import json
import math

import official as files
import pytest
import torch

from latentzoo import zoo
from latentzoo.diffusion.precondition import EDM, VE, VP, Boundary, Improved
from latentzoo.errors import CheckpointError, SpecError, UnknownName
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.rng import Rng
from latentzoo.zoo import _family, edm
from laws import PARITY, obey, official, randomise

TINY = {"resolution": 8, "width": 8, "mult": [1, 2], "depth": 1, "attention": [4], "steps": 3}
CARDS = ("ddpmpp_edm_classes", "ncsnpp_ve", "skips_vp", "adm_iddpm_classes")


def tiny(**options):
    torch.manual_seed(0)
    generator = edm.build(**(TINY | options))
    randomise(generator)
    return generator


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fourier": True, "noise": 16, "aside": "residual", "taps": 4, "path": "ve"},
        {"aside": "skip", "pictures": "all", "taps": 4, "channels": 1, "path": "vp"},
        {"architecture": "adm", "head_width": 8, "learned": True, "path": "iddpm"},
        {"classes": 3, "class_index": 2, "sampler": "ddim", "eta": 0.5, "white_box_steps": 1},
    ],
)
def test_laws(options):
    generator = tiny(**options)
    assert generator.space.blocks["start"] == (options.get("channels", 3), 8, 8)
    assert generator.space.blocks.get("noise", (0,))[0] == options.get("white_box_steps", 0)
    obey(generator)


def test_a_picture_has_a_latent():
    generator = tiny(sampler="ddim", eta=1.0, steps=6).double()
    picture = generator(Rng(0, dtype=torch.float64).normal(generator.space.dim))
    z = generator.encode(picture, Rng(1, dtype=torch.float64))
    torch.testing.assert_close(generator(z), picture, rtol=0, atol=0.1)


def test_classes_differ():
    z = Rng(0).normal(tiny().space.dim)
    images = [tiny(classes=3, class_index=i)(z) for i in range(3)]
    assert (images[0] - images[1]).abs().max() > 1e-3 < (images[1] - images[2]).abs().max()


@pytest.mark.parametrize("sampler", ["heun", "ddim"])
def test_the_chain_solves_the_flow_of_a_known_density(sampler, monkeypatch):
    """Data that are N(0, s^2 I) have D(x; v) = x s^2 / (s^2 + v^2), and x_0 = s z / sqrt(1 + (s / v_max)^2)."""
    s, errors = 0.3, []
    for steps in (20, 40):
        G = tiny(steps=steps, sampler=sampler)
        path = G.conditioning

        def answer(x, time, path=path):
            sigma = torch.exp(4 * time).view(-1, 1, 1, 1)
            c = path.scales(float(sigma.flatten()[0]))
            inner = x / c.into
            return (inner * s**2 / (s**2 + sigma**2) - c.skip * inner) / c.out

        monkeypatch.setattr(G, "predict", answer)
        z = Rng(0, dtype=torch.float64).normal(G.space.dim)
        expected = s * z / math.sqrt(1 + (s / 80) ** 2)
        errors.append(float((2 * G(z).flatten(1) - 1 - expected).abs().max()))
    order = math.log2(errors[0] / errors[1])
    assert order > (1.7 if sampler == "heun" else 0.8), errors


@pytest.mark.parametrize("path", [EDM(), Boundary(), VP(), VE(), Improved()])
def test_the_spread_of_what_a_network_sees_is_bounded_and_levels_are_its_own(path):
    low, high = path.range
    low, high = max(low, 0.002), min(high, 80.0)
    pairs = path.chain(low, high, 12, 7.0)
    sigmas = [t.sigma for t, _ in pairs]
    assert sigmas == sorted(sigmas, reverse=True) and pairs[-1][1].sigma == 0
    for t, _ in pairs:
        assert path.nearest(t.sigma) == t.sigma and path.level(t.sigma) == t
        scales = path.scales(t.sigma)
        assert scales.into * math.sqrt(t.sigma**2 + 0.25) <= max(1.0, t.sigma + 0.5)


def test_a_consistency_function_leaves_what_has_the_lowest_noise():
    skip, out, _ = Boundary(lowest=0.01).scales(0.01)
    assert (skip, out) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"class_index": 1}, SpecError, "it has none"),
        ({"steps": 0}, SpecError, "0 steps do not make a chain"),
        ({"sigma_min": 90}, SpecError, r"between sigma_min=90 and sigma_max=80"),
        ({"rho": 0}, SpecError, "positive rho"),
        ({"sampler": "dpm"}, UnknownName, "dpm"),
        ({"eta": 0.5}, SpecError, "does not fit the sampler heun"),
        ({"path": "flow"}, UnknownName, "flow"),
        ({"architecture": "dit"}, UnknownName, "dit"),
        ({"scales": {"dta": 1.0}}, UnknownName, "data"),
        ({"channels": 4}, SpecError, "have 4 channels"),
    ],
)
def test_options_out_of_range(options, error, match):
    with pytest.raises(error, match=match):
        edm.build(**(TINY | options))


@pytest.mark.parametrize("card", CARDS)
def test_a_file_without_records_tells_its_network(card):
    import check

    config, file = official("edm", card)
    family, seen, _ = _family.recognise(file, None)
    told = check.driver("edm").settings(config)
    unsaid = {"path", "scales", "head_width"}
    assert family == "edm" and set(seen["assumed"]) == unsaid
    seen = json.loads(json.dumps(seen["config"]))
    assert {k: seen[k] for k in told.keys() - unsaid} == {k: told[k] for k in told.keys() - unsaid}


def test_a_network_without_its_wrapper_loads_too(tmp_path):
    tensors, _ = files.state("edm", "ddpmpp_edm_classes")
    torch.save({k.removeprefix("model."): v for k, v in tensors.items()}, tmp_path / "net.pt")
    bare = zoo.load(tmp_path / "net.pt", steps=2)
    torch.save(tensors, tmp_path / "whole.pt")
    whole = zoo.load(tmp_path / "whole.pt", steps=2)
    z = Rng(0).normal(bare.space.dim)
    assert torch.equal(bare(z), whole(z)) and "path" in bare.assumed


def records(name):
    import check

    told = check.read_json(PARITY / "manifest" / f"{name}.json.gz")
    state = {key: torch.empty(shape, device="meta") for key, shape, _ in told["state"]}
    return Checkpoint(state, json.loads(json.dumps(told["records"])), None, "nvidia")


def test_a_pickle_says_everything():
    seen = edm.infer(records("edm-imagenet64-cond-adm"))
    assert seen["assumed"] == {} and seen["config"]["head_width"] == 64
    assert seen["config"]["path"] == "edm" and seen["config"]["scales"]["data"] == 0.5


@pytest.mark.parametrize(
    ("module", "change", "match"),
    [
        ("", {"class": "EDM2Precond"}, "EDM2Precond, which is not known; known: EDMPrecond"),
        ("model.enc.64x64_block0", {"skip_scale": 0.7}, "in a way of their own"),
        ("model.enc.32x32_block0", {"num_heads": 3}, "different widths"),
    ],
)
def test_what_a_pickle_says_and_is_not_understood_is_refused(module, change, match):
    file = records("edm-imagenet64-cond-adm")
    file.records["modules"][module] |= change
    with pytest.raises(CheckpointError, match=match):
        edm.infer(file)
