"""Translated networks: the same numbers, one graph for each, one shape for the whole run, one line where it fails."""

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch._inductor import cpp_builder, exc
from typer.testing import CliRunner

import latentzoo as lz
from latentzoo import compiling
from latentzoo.cli import app
from latentzoo.errors import SpecError
from latentzoo.guides.clip import CLIP
from latentzoo.guides.text_image import OpenAI
from latentzoo.zoo import ldm, stylegan2

pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute"),  # torch's own, while it traces
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated"),  # when it starts
    pytest.mark.filterwarnings("ignore:the generator's images run"),  # of weights drawn at random
]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Networks are traced, and refused where a graph breaks, but not translated to another language."""
    settings = {"dynamic": False, "backend": "eager", "fullgraph": True}
    monkeypatch.setattr(compiling, "SETTINGS", settings)
    monkeypatch.setattr(
        jaxtyping.config, "jaxtyping_disable", True
    )  # tests check types as they call
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


class Unread(OpenAI):
    """Its texts need no tokenizer."""

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return torch.ones(len(texts), 8)


def clip(**more: Any) -> lz.Clip:
    """A text energy of a small CLIP with random weights."""
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "embed_dim": 8,
        "image_resolution": 16,
        "vision_layers": 1,
        "vision_width": 64,
    }
    shape |= {"vision_patch_size": 8, "context_length": 4, "vocab_size": 9}
    shape |= {"transformer_width": 64, "transformer_heads": 1, "transformer_layers": 1}
    network = CLIP(**shape).requires_grad_(False)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return lz.Clip("a", Unread(network), **more)


def gan() -> lz.Generator:
    torch.manual_seed(0)
    return (
        stylegan2.build(widths=[8, 8, 8], z_dim=6, w_dim=6, layers=1).requires_grad_(False).eval()
    )


class Hole(nn.Module):
    """A map's picture that is not finite beyond a place: chains that go there stop."""

    def forward(self, image: Tensor) -> Tensor:
        mean = image.mean((1, 2, 3))
        return torch.where(mean > HOLE, torch.nan, mean)


HOLE = 0.7


def sampled(*, compile: bool) -> lz.Result:
    energies = {"text": 20 * clip(), "hole": Hole()}
    return lz.sample(lz.Posterior(gan(), energies, compile=compile), chains=6, steps=24)


def test_a_run_is_the_same_at_one_shape_whichever_chains_stop(traced: None) -> None:
    plain = sampled(compile=False)
    assert 0 < len(plain.failures) < 6
    assert not counters["stats"]
    result = sampled(compile=True)
    assert [(f.chain, f.step) for f in result.failures] == [
        (f.chain, f.step) for f in plain.failures
    ]
    torch.testing.assert_close(result.z, plain.z, rtol=1e-3, atol=1e-3)
    assert counters["stats"]["unique_graphs"] == 3, "a graph for the map and for each energy"
    assert not counters["graph_break"]


@pytest.mark.parametrize("recompute", [pytest.param(False, marks=pytest.mark.slow), True, "lean"])
def test_a_diffusion_s_networks_are_graphs(traced: None, recompute: bool | str) -> None:
    torch.manual_seed(0)
    generator = ldm.build(
        unet={**UNET, "modulate": False, "resample": False},
        first_stage={**STAGE, "attention": [], "codebook": 4},
        size=8,
        steps=2,
        recompute=recompute,
    )
    generator.requires_grad_(False).eval()
    z = torch.randn(2, generator.space.dim, requires_grad=True)
    (wanted,) = torch.autograd.grad(generator(z).square().sum(), z)
    compiling.compile(generator)
    names = [
        name for name, part in generator.named_modules() if part in compiling.repeated(generator)
    ]
    assert {"unet", "first_stage.decoder"} <= set(names)
    (found,) = torch.autograd.grad(generator(z).square().sum(), z)
    torch.testing.assert_close(found, wanted)
    assert counters["stats"]["unique_graphs"] > 0


UNET = {"width": 32, "mult": [1, 2], "depth": 1, "attention": [2], "heads": None, "head_width": 16}
STAGE = {"channels": 3, "latent": 3, "width": 32, "mult": [1, 2], "depth": 1}


def test_another_process_translates_what_was_translated_here(traced: None) -> None:
    generator, energy = gan(), clip()
    compiling.compile(generator)
    target = lz.Posterior(generator, energy)
    z = torch.zeros(2, 6)
    sent = pickle.loads(pickle.dumps(target))
    assert compiling.compiled(sent.generator)
    assert not compiling.compiled(sent.terms["energy"][1])
    torch.testing.assert_close(sent.evaluate(z).grad, target.evaluate(z).grad)


def test_what_is_once_is_not_translated(traced: None) -> None:
    posterior = lz.Posterior(gan(), clip(), compile=True)
    posterior.evaluate(torch.zeros(2, 6), gradient=False)
    posterior.images(torch.zeros(3, 6))
    assert not counters["stats"]


def test_a_map_that_is_python_is_refused() -> None:
    class Loop(type(gan())):
        def repeated(self) -> Iterator[nn.Module]:
            return iter(())

    generator = gan()
    generator.__class__ = Loop
    with pytest.raises(SpecError, match="a Loop cannot be compiled"):
        compiling.compile(generator)


def test_without_a_compiler_it_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nowhere() -> str:
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", nowhere)
    words = ["sample", "avatar-turbo", "--text", "a red hat", "--compile", "--chains", "1"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "run")])
    assert done.exit_code == 2
    assert "needs a C++ compiler" in " ".join(done.output.split())
    assert not (tmp_path / "run").exists()


def test_what_a_translation_fails_of_is_one_line() -> None:
    with pytest.raises(SpecError, match="could not be compiled"), compiling.said():
        raise exc.CppCompileError(["g++"], "no Python.h")


@pytest.mark.slow
def test_translated_gradients_are_those_that_were_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    torch.compiler.reset()
    z = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    plain = lz.Posterior(gan(), clip()).evaluate(z)
    fast = lz.Posterior(gan(), clip(), compile=True).evaluate(z)
    torch.testing.assert_close(fast.grad, plain.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fast.phi, plain.phi)
