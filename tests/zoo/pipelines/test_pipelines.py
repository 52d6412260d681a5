"""Laws of every pipeline: it is its own call, a map, differentiable, and holds only what it needs."""

import warnings
from inspect import signature

import pytest
import tiny
import torch
from every import ALL
from torch.overrides import TorchFunctionMode

from latentzoo.rng import Rng
from latentzoo.zoo.pipelines.pipeline import TextToImage
from laws import obey


class Recorder(TorchFunctionMode):
    """Notes every draw of a pipeline's own call."""

    def __init__(self):
        super().__init__()
        self.drawn = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func in (torch.randn, torch.randn_like):
            self.drawn.append(out.clone())
        return out


def takes_text(pipe):
    """Whether a pipeline's call has a prompt."""
    return "prompt" in signature(type(pipe).__call__).parameters


def held(pipe):
    """The names of the parts that a pipeline has."""
    return {name for name, part in pipe.components.items() if part is not None}


def own(pipe, call, n=1, prompt=tiny.PROMPT):
    """The pictures of a pipeline's own call, (n, 3, H, W), and its draws."""
    known = signature(type(pipe).__call__).parameters
    many = "num_images_per_prompt" in known
    how = {"num_images_per_prompt": n} if many else {}
    if takes_text(pipe):
        how["prompt"] = prompt if many else [prompt] * n
    if "use_resolution_binning" in known:
        how["use_resolution_binning"] = False
    rng = torch.Generator().manual_seed(7)
    with Recorder() as recorder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pipe(**how, **call, output_type="np", generator=rng)
    images = found[next(name for name in ("images", "image", "rgb") if name in found)]
    return torch.from_numpy(images)[..., :3].movedim(-1, 1), recorder.drawn


def latent(generator, drawn):
    """The latent of recorded draws."""
    blocks = {
        name: torch.zeros(len(drawn[-1]), *shape) for name, shape in generator.space.blocks.items()
    }
    for place, noise in zip(generator.places, drawn, strict=True):
        if place is not None and place.row is None:
            whole = noise.shape[1:] != generator.space.blocks[place.block]
            blocks[place.block] = noise[None] if whole else noise
        elif place is not None:
            blocks[place.block][:, place.row] = noise
    return generator.space.join(**blocks)


def near(ours, image):
    """The largest difference between a picture of the map and one of the own call."""
    return float((ours.clamp(0, 1) - image).abs().max())


@pytest.fixture(scope="module", params=ALL)
def made(request):
    """A tiny pipeline, its map, pictures of its own call with its draws, and the parts it had before."""
    about = ALL[request.param]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of modules that are imported now
        if not hasattr(tiny.D, about.name):
            pytest.skip(f"this diffusers has no {about.name}")
    if "Kolors" in about.name:
        pytest.importorskip("sentencepiece")
    pipe = about()
    image, drawn = own(pipe, about.call, prompt=about.prompt)
    prompt, before = about.prompt if takes_text(pipe) else None, held(pipe)
    generator = TextToImage(pipe, prompt, recompute=False, **about.call)
    return about, pipe, generator, image, drawn, before


def test_the_map_is_the_pipelines_own_call(made):
    _, _, generator, image, drawn, _ = made
    with torch.no_grad():
        assert near(generator(latent(generator, drawn)), image) == 0


def test_every_draw_with_an_influence_has_a_block(made):
    about, _, generator, *_ = made
    assert about.blocks is None or generator.space.blocks == about.blocks


def test_text_encoders_leave_unless_they_must_stay(made):
    about, pipe, generator, _, _, before = made
    stay = {k for k in generator.nets if "text_encoder" in k or k == "bert"}
    assert bool(stay) == about.stays
    assert held(pipe) == before, "the user's pipeline lost a part"


@pytest.mark.parametrize("recompute", [True, pytest.param("lean", marks=pytest.mark.slow)])
def test_a_recomputed_gradient_is_the_same_bit_for_bit(made, recompute):
    about, pipe, generator, *_ = made
    prompt = about.prompt if takes_text(pipe) else None
    again = TextToImage(pipe, prompt, recompute=recompute, **about.call)
    z = Rng(1, 2).normal(generator.space.dim)
    gradients = []
    for g in (generator, again):
        x = z.clone().requires_grad_()
        gradients.append(torch.autograd.grad(g(x).square().sum(), x)[0])
    assert torch.equal(*gradients)


def test_the_laws_hold(made):
    about, _, generator, *_ = made
    if about.exact:
        obey(generator)
        return
    z = Rng(1, 2).normal(generator.space.dim).requires_grad_()
    images = generator(z)
    assert torch.equal(images, generator(z))
    torch.testing.assert_close(generator(z[:1]), images[:1], atol=1e-5, rtol=1e-5)
    probe = Rng(4, 5).normal(3, *generator.size)
    inner = lambda at: (generator(at).double() * probe).sum()
    (gradient,) = torch.autograd.grad(inner(z), z)
    along = gradient / gradient.norm()
    with torch.no_grad():
        slope = (inner(z + 0.05 * along) - inner(z - 0.05 * along)) / 0.1
    torch.testing.assert_close((gradient * along).sum().double(), slope, rtol=2e-2, atol=0.0)
