import official as files
import pytest
import torch

from latentzoo import zoo
from latentzoo.errors import SpecError
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import translate
from latentzoo.nn.alias_free import plan
from latentzoo.rng import Rng
from latentzoo.zoo import _family, _plan, stylegan3
from laws import obey, official, randomise

PLAN = plan(16, 4, channel_base=64, channel_max=6)
TINY = {"plan": PLAN, "z_dim": 5, "w_dim": 7}


def tiny(**options):
    torch.manual_seed(0)
    generator = stylegan3.build(**(TINY | options))
    randomise(generator)
    generator.w_avg += 0.3
    return generator


@pytest.mark.parametrize(
    "options",
    [
        {"truncation": -0.6, "cutoff": 2},
        {"kernel": 1, "radial": True, "classes": 4, "class_index": 2},
    ],
)
def test_laws(options):
    generator = tiny(**options)
    assert generator.size == (16, 16)
    obey(generator)


def test_zero_truncation_is_the_mean_and_classes_differ():
    z = Rng(0, 1).normal(5)
    mean = tiny(truncation=0).double()(z.double())
    torch.testing.assert_close(mean[0], mean[1], rtol=0, atol=1e-12)
    images = [tiny(classes=3, class_index=i)(z) for i in (0, 1)]
    assert (images[0] - images[1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"class_index": 1}, "it has none"),
        ({"plan": None}, "load the file"),
        ({"plan": plan(16, 4, channel_base=64, channel_max=6, channels=2)}, "have 2 channels"),
    ],
)
def test_options_out_of_range(options, fact):
    with pytest.raises(SpecError, match=fact):
        tiny(**options)


@pytest.mark.parametrize("card", ["t16_uncond", "r16_cond_grey"])
def test_a_file_without_records_tells_its_network(card):
    _, file = official("stylegan3", card)
    family, seen, _ = _family.recognise(file, None)
    assert family == "stylegan3"
    generator = stylegan3.build(**seen["config"])
    meta = {k: torch.empty_like(v, device="meta") for k, v in file.tensors.items()}
    state = translate(meta, stylegan3.KEYS["official"](generator))
    own = generator.state_dict()
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in own.items()}


def test_a_file_of_stylegan_xl_is_of_its_own_family():
    for card in ("stem16_t_uncond", "superres16_32_64_cond"):
        _, file = official("stylegan_xl", card)
        assert stylegan3.infer(Checkpoint(file.tensors)) is None


def test_the_records_of_a_pickle_say_what_its_tensors_do(tmp_path):
    """A file that the official code wrote, without its source text: layers, clamp, scale and rate are told."""
    tensors, config = files.state("stylegan3", "t16_uncond")
    plan = _plan.Plan.of(str(files.pickled("stylegan3.pkl")(tmp_path)))
    assert not plan.assumed and plan.config["clamp"] == 256 and plan.config["lr"] == 0.01
    z = Rng(0, 1).normal(config["z_dim"])
    own = stylegan3.build(**plan.config, truncation=0.5)
    own.load_state_dict(translate(tensors, stylegan3.KEYS["official"](own)))
    loaded = zoo.load(tmp_path / "stylegan3.pkl", truncation=0.5)
    torch.testing.assert_close(loaded(z), own(z), rtol=0, atol=1e-6)


def test_more_layers_than_there_are_cannot_be_truncated():
    all_of_them = tiny().synthesis.styles
    assert tiny(truncation=0.5, cutoff=all_of_them).cutoff == all_of_them
    with pytest.raises(SpecError, match=f"cutoff=99 is out of range.*0 to {all_of_them}"):
        tiny(truncation=0.5, cutoff=99)
