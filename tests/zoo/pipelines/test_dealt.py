"""Pictures of which each prompt has its own: every chain is the map of its own prompt and picture."""

import numpy as np
import pictured
import pytest
import test_pictures
import test_silent
import tiny
import torch
from every import ALL
from PIL import Image, ImageOps
from test_pictures import MASK, SEEN
from test_pipelines import takes_text
from test_silent import CONTROL, HOLE, INTO, SD

import latentzoo as lz
from latentzoo.energies.base import Function
from latentzoo.errors import LatentzooError, SpecError
from latentzoo.posterior import Posterior
from latentzoo.rng import Rng
from latentzoo.zoo.pipelines import dealt, pictures
from latentzoo.zoo.pipelines.pipeline import TextToImage

OTHER, HALF = ImageOps.mirror(SEEN), ImageOps.mirror(MASK)
PAIR = ["a red cube", "a blue sphere"]
SEEING = {
    label: about
    for label, about in ALL.items()
    if any(isinstance(x, Image.Image) for x in about.call.values())
} | {n: tiny.Tiny(b, c, {}, n) for n, (b, c, _) in test_pictures.CASES.items()}


def agree(several, alone):
    """Holds a map of two chains against those of each."""
    z = Rng(1, 2).normal(several.space.dim)
    with torch.no_grad():
        both = several(z)
        for i, one in enumerate(alone):
            assert one.space == several.space and one.size == several.size
            torch.testing.assert_close(both[i : i + 1], one(z[i : i + 1]), atol=1e-4, rtol=1e-4)
            part = several.select(torch.tensor([i]))
            torch.testing.assert_close(part(z[i : i + 1]), both[i : i + 1], atol=1e-5, rtol=1e-4)
    return both


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (INTO, {"image": [SEEN, OTHER]}),
        (INTO, {"image": np.stack([np.asarray(x) / 255 for x in (SEEN, OTHER)])}),
        (HOLE, {"image": [SEEN, OTHER], "mask_image": [MASK, HALF]}),
        (HOLE, {"mask_image": [MASK, HALF]}),
        (CONTROL, {"image": [SEEN, OTHER]}),
        ("StableDiffusion3ControlNetPipeline", {"control_image": [SEEN, OTHER]}),
    ],
)
def test_each_prompt_has_its_own_picture(name, shown):
    several = test_silent.load(name, prompt=PAIR, **shown)
    alone = [
        test_silent.load(name, prompt=PAIR[i], **{k: x[i] for k, x in shown.items()})
        for i in (0, 1)
    ]
    a, b = agree(several, alone)
    assert several.chains == 2 and not torch.equal(a, b)


def test_one_prompt_of_two_pictures_and_a_text_against_each():
    same = ["a red cube"] * 2
    several = test_silent.load(INTO, prompt=same, image=[SEEN, OTHER], negative_prompt=["a", "b"])
    alone = [
        test_silent.load(INTO, prompt=same[0], image=x, negative_prompt=t)
        for x, t in ((SEEN, "a"), (OTHER, "b"))
    ]
    a, b = agree(several, alone)
    assert several.prompt == same[0] and not torch.equal(a, b)


def test_a_posterior_knows_whose_picture_is_whose(tmp_path):
    for name, x in (("a.png", SEEN), ("b.png", OTHER)):
        x.save(tmp_path / name)
    paths = [tmp_path / "a.png", tmp_path / "b.png", tmp_path / "a.png"]
    several = test_silent.load(INTO, prompt=["a red cube"] * 3, image=paths)
    assert len(several.texts) == 3
    dark = {"dark": Function(lambda image: image.mean((1, 2, 3)))}
    z = Rng(1, 2, 3).normal(several.space.dim)
    whole = Posterior(several, dark).evaluate(z)
    parts = Posterior(several, dark, micro_batch=2).evaluate(z)
    torch.testing.assert_close(whole.phi, parts.phi, atol=1e-5, rtol=1e-4)


def test_pictures_that_are_the_same_are_read_once():
    several = test_silent.load(INTO, prompt=["a red cube"] * 3, image=[SEEN, OTHER, SEEN])
    assert [asked.own for asked in several.asked] == [0, 1, 0] and len(several.texts) == 2


def test_a_variation_of_each_picture_needs_no_prompt():
    about = ALL["StableDiffusionImageVariationPipeline"]
    pipe = about()
    several = lz.load(pipe, **{**about.call, "image": [SEEN, OTHER]})
    agree(several, [lz.load(pipe, **{**about.call, "image": x}) for x in (SEEN, OTHER)])


def test_a_list_for_one_picture_is_shared():
    about = pictured.PICTURED["QwenImageEditPlusPipeline"]
    pipe, (first, second) = about(), about.call["image"]
    load = lambda prompt, image: lz.load(pipe, prompt=prompt, **{**about.call, "image": image})
    whole = [first, second]
    agree(load(PAIR, whole), [load(PAIR[0], whole), load(PAIR[1], whole)])
    turned = [second, first]
    agree(load(PAIR, [whole, turned]), [load(PAIR[0], whole), load(PAIR[1], turned)])


@pytest.mark.parametrize(
    ("name", "over", "words"),
    [
        (INTO, {"prompt": PAIR, "image": [SEEN] * 3}, "3 pictures, and there are 2 prompts"),
        (INTO, {"image": [SEEN, SEEN]}, "give one picture, or one prompt for each"),
        (
            INTO,
            {"prompt": PAIR, "image": [SEEN, SEEN.resize((32, 32))]},
            "different latents, .* or pictures of different sizes",
        ),
        (
            HOLE,
            {"prompt": PAIR, "image": [SEEN, SEEN], "mask_image": [MASK, MASK.resize((8, 8))]},
            "mask_image of .* has 8x8 pixels and its picture 16x16",
        ),
        (INTO, {"image": torch.zeros(16, 16, 3)}, r"give image.movedim\(-1, 0\)"),
        (INTO, {"prompt": PAIR, "image": [SEEN, "no.png"]}, "there is no such picture"),
    ],
)
def test_what_cannot_be_dealt_is_one_line(name, over, words):
    with pytest.raises(LatentzooError, match=words) as caught:
        test_silent.load(name, **over)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (INTO, {"image": np.asarray(SEEN) / 255}),
        (CONTROL, {"image": np.asarray(SEEN) / 255}),
        (CONTROL, {"image": torch.from_numpy(np.asarray(SEEN) / 255).movedim(-1, 0)}),
        (HOLE, {"mask_image": np.asarray(MASK) > 0}),
        (HOLE, {"mask_image": torch.from_numpy(np.asarray(MASK) > 0)}),
    ],
)
def test_an_array_is_the_picture_of_its_numbers(name, shown):
    array, usual = test_silent.load(name, **shown), test_silent.load(name)
    z = Rng(1).normal(usual.space.dim)
    with torch.no_grad():
        torch.testing.assert_close(array(z), usual(z), atol=1e-5, rtol=0)


def test_what_a_call_takes_where_nothing_is_given_may_be_given():
    usual = {"generator": None, "num_images_per_prompt": 1, "return_dict": True, "latents": None}
    test_silent.load(SD, **usual, output_type="pil")
    with pytest.raises(SpecError, match="'output_type' is not taken: pictures stay tensors"):
        test_silent.load(SD, output_type="pt")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("label", sorted(SEEING))
def test_every_class_deals_its_pictures(label):
    """And takes a list for one picture only where the table says so."""
    about = SEEING[label]
    pipe, call = about(), about.call
    names = [n for n, x in call.items() if isinstance(x, Image.Image)]
    shown = {n: [call[n], ImageOps.mirror(call[n])] for n in names if pictures.is_picture(n)}
    other = about.prompt.replace("a ", "the ")  # within a prompt that is a table, too
    prompts = [about.prompt, other] if takes_text(pipe) else [None, None]
    texts = prompts if takes_text(pipe) else None
    alone = [
        TextToImage(pipe, prompts[i], **{**call, **{n: x[i] for n, x in shown.items()}})
        for i in (0, 1)
    ]
    lists = {n for n in shown if dealt._several(pipe, n)}
    deep = {n: [[one] for one in x] if n in lists else x for n, x in shown.items()}
    agree(TextToImage(pipe, texts, **{**call, **deep}), alone)
    if takes_text(pipe):
        for name in {*shown} - lists:
            with pytest.raises(LatentzooError):
                TextToImage(pipe, about.prompt, **{**call, name: shown[name]})
