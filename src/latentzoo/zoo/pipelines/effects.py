r"""Which options of a call change nothing, found by leaving each of them out.

A pipeline's call is Python around its networks. Two calls whose networks are given the same, in the same order, get
the same from them, so a call is followed without a network: what the networks said in the first run is said again,
with noise that is a function of what they are given (so that guidance sees two things where a network is asked
twice), and what they are given is compared,

.. math:: a_1 = b_1, \dots, a_n = b_n \;\Rightarrow\; P(\varepsilon \mid a) = P(\varepsilon \mid b)

The first difference ends the call: the option has an effect. A network that is given something else runs once, as it
may not read what differs (the weight of a LoRA that is not there).
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils import _pytree as pytree

from latentzoo.zoo.pipelines import schedules, texts
from latentzoo.zoo.pipelines.probe import Probe
from latentzoo.zoo.pipelines.texts import Texts

ELSEWHERE = {
    *("height", "width", "use_resolution_binning"),
    *("clean_caption", "max_sequence_length", "min_sequence_length"),
}
"""What is looked at elsewhere: sizes of the picture by its size, what reads long texts by the words that are lost; and
what cleans a text, which may be clean."""
TIMES = {*schedules.TIMES, "num_inference_steps"}
"""Ways to say the steps; where several are given, they say the same (see `schedules`)."""
LEFT_OUT = object()
"""What an option is changed to that is left out."""

NEEDS: Mapping[str, str] = {
    r"negative_prompt(_\d)?": "it needs guidance, by a guidance_scale or true_cfg_scale above 1",
    r"true_cfg_scale": "it needs a negative_prompt",
    r"guidance_rescale": "it needs a guidance_scale above 1",
    r"skip_layer_guidance_\w+": "it needs skip_guidance_layers and a guidance_scale above 1",
    r"skip_guidance_layers": "it needs a guidance_scale above 1",
    r"(\w+_)?attention_kwargs": "it needs a LoRA, whose scale it is",
    r"masked_image_latents": "it needs a U-Net that reads a masked picture",
    r"(negative_)?aesthetic_score": "it needs a refiner",
    r"negative_(original|target)_size": (
        "it needs negative_original_size, negative_target_size and a guidance_scale above 1"
    ),
    r"guidance_scale": "it needs a network that reads it",
}
"""What an option needs to have an effect, by its name, where that can be said."""


class Heard(Exception):  # what ends a call, and is no error
    """A network was given something else, and said something else."""


Run = Callable[["Trace", "Ear", Mapping[str, Any]], Tensor]
"""The picture of a first run with some options changed."""


class Trace:
    """Creates the caller of networks in a call that is followed.

    Arguments:
        probe: What the networks said in the first run.
        like: A call that this one is compared with.
    """

    def __init__(self, probe: Probe, like: "Trace | None" = None) -> None:
        self.probe, self.like = probe, like
        self.calls: list[dict[str, str]] = []
        self.keys: list[Any] = []
        self.kept: dict[int, Any] = {}
        self.said: dict[int, str] = {}
        self.deaf: set[tuple[int, str]] = set()

    def __call__(
        self, call: Callable[..., Any], network: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        self.calls.append({name: digest(x) for name, x in named(args, kwargs).items()})
        self.keys.append(self.probe.key(network, args, kwargs))
        if self.like is None and self.keys[-1] not in self.keys[:-1]:
            self.kept[len(self.keys) - 1] = _copied((args, kwargs))
        if self.like is not None:
            self.compare(self.like, call, network, args, kwargs)
        heard = (self if self.like is None else self.like).calls[len(self.calls) - 1]
        rng = torch.Generator().manual_seed(int(digest(heard)[:15], 16))
        said = self.probe(call, network, args, kwargs)
        return pytree.tree_map(lambda x: _stirred(x, rng), said)

    def compare(
        self, like: "Trace", call: Callable[..., Any], network: Any, args: Any, kwargs: Any
    ) -> None:
        """Looks at the call at hand.

        Raises:
            Heard: If the network says something else than in the other call.
        """
        at, mine = len(self.calls) - 1, self.calls[-1]
        if at >= len(like.calls) or like.keys[at][0] != id(network):
            raise Heard
        theirs, key = like.calls[at], like.keys[at]
        changed = {n for n in {*mine, *theirs} if mine.get(n) != theirs.get(n)}
        changed = {(id(network), name) for name in changed} - self.deaf
        if not changed:
            return
        grown = len(key) == len(self.keys[-1]) and key != self.keys[-1]
        if grown or self.probe.whole or at not in like.kept:
            raise Heard
        if like.answer(at, call) != _answer(call, args, kwargs):
            raise Heard
        self.deaf |= changed

    def answer(self, at: int, call: Callable[..., Any]) -> str:
        """The hash of what a network says to what it was given in a call."""
        if at not in self.said:
            args, kwargs = self.kept[at]
            self.said[at] = _answer(call, args, kwargs)
        return self.said[at]


class Ear:
    """Creates what answers for text encoders: each of their calls is made once.

    Arguments:
        memory: What they said in the first run.
    """

    def __init__(self, memory: Texts) -> None:
        self.first = [memory.said(i).one for i in range(len(memory))]
        self.said: dict[Any, Any] = {}

    def __call__(self, pipe: Any, args: Any, kwargs: Any) -> Any:
        key = id(pipe), digest((args, kwargs))
        if key not in self.said:
            encode = texts.as_before(pipe).encode_prompt
            self.said[key] = self.first.pop(0) if self.first else encode(*args, **kwargs)
        return self.said[key]


def unheard(
    run: Run, probe: Probe, memory: Texts, given: Mapping[str, Any], usual: Mapping[str, Any]
) -> list[str]:
    """The options that change nothing, whatever they are.

    Arguments:
        run: Runs the call with some options changed.
        probe: What the networks said in the first run.
        memory: What the text encoders said in it.
        given: What the user gives.
        usual: What the call takes where nothing is given.
    """
    asked = [n for n in given if n in usual and judged(n, given)]
    asked = [n for n in asked if digest(given[n]) != digest(usual[n])]
    if not asked:
        return []
    ear, like = Ear(memory), Trace(probe)
    picture = digest(run(like, ear, {}))
    ear.first.clear()

    def same(name: str, value: Any) -> bool | None:
        """Whether another value makes the same; None if the pipeline refuses it."""
        trace = Trace(probe, like)
        try:
            other = digest(run(trace, ear, {name: value}))
        except Heard:
            return False
        except Exception:  # whatever foreign code does
            return None
        return other == picture and len(trace.calls) == len(like.calls)

    def without_effect(name: str) -> bool:
        if not same(name, LEFT_OUT):
            return False
        found = [same(name, value) for value in others(given[name])]
        return False not in found and (not found or True in found)

    return [name for name in asked if without_effect(name)]


def judged(name: str, given: Mapping[str, Any]) -> bool:
    """Whether an option is looked at: one that asks for nothing does nothing, as it should."""
    value = given[name]
    times = name in TIMES and len(TIMES & {*given}) > 1
    large = isinstance(value, Tensor | np.ndarray | Image.Image)
    return name not in ELSEWHERE and not times and (large or bool(value))


def told(kind: str, name: str, value: Any) -> str:
    """What is said of an option that changes nothing."""
    needs = next((why for words, why in NEEDS.items() if re.fullmatch(words, name)), "")
    short = isinstance(value, str | bool | int | float | dict | list | tuple)
    shown = f"{name}={value!r}" if short and len(repr(value)) < 80 else name
    why = f": {needs}" if needs else ""
    return f"{kind} makes the same picture without {shown}{why}; leave it out"


def others(value: Any) -> Iterator[Any]:
    """Other values of an option, which show that it is heard, though what was given is the usual one."""
    if isinstance(value, bool):
        return
    for change in (lambda x: x / 2, lambda x: 1.5 * x + 1):
        yield _changed(value, change)
        if not _has_numbers(value):
            return


def _changed(value: Any, change: Callable[[float], float]) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return type(value)(change(value))
    if isinstance(value, str):
        return f"{value} x"
    if isinstance(value, list | tuple):
        return type(value)(_changed(x, change) for x in value)
    if isinstance(value, dict):
        return {name: _changed(x, change) for name, x in value.items()}
    if isinstance(value, Image.Image):
        return ImageOps.invert(value)
    return value if getattr(value, "dtype", None) in (bool, torch.bool) else value / 2


def _has_numbers(value: Any) -> bool:
    return any(isinstance(x, int | float) for x in pytree.tree_leaves(value))


def _copied(given: Any) -> Any:
    """What a network is given, of which it may empty a list, and its pipeline write into a tensor."""
    return pytree.tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, given)


def _answer(call: Callable[..., Any], args: Any, kwargs: Any) -> str:
    own_args, own_kwargs = _copied((args, kwargs))
    with torch.no_grad():
        return digest(call(*own_args, **own_kwargs))


def _stirred(x: Any, rng: torch.Generator) -> Any:
    """A tensor with a tenth of its spread in noise."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        return x
    noise = torch.randn(x.shape, generator=rng).to(x)
    return x + 0.1 * x.std(correction=0) * noise


def named(args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by their places and names."""
    return {str(i): x for i, x in enumerate(args)} | dict(kwargs)


def digest(x: Any) -> str:
    """The hash of all that is in a value; an object that cannot be looked into is itself."""
    leaves, spec = pytree.tree_flatten(x)
    found = hashlib.blake2b(str(spec).encode(), digest_size=16)
    for leaf in leaves:
        found.update(_bytes(leaf))
    return found.hexdigest()


def _bytes(x: Any) -> bytes:
    if isinstance(x, Tensor):
        plain = torch.view_as_real(x.detach()) if x.is_complex() else x.detach()
        plain = plain.cpu().flatten().clone(memory_format=torch.contiguous_format)
        plain = plain.view(torch.uint8)
        return f"{x.dtype}{tuple(x.shape)}".encode() + plain.numpy().tobytes()
    if isinstance(x, np.ndarray):
        return f"{x.dtype}{x.shape}".encode() + x.tobytes()
    if isinstance(x, Image.Image):
        return f"{x.mode}{x.size}".encode() + x.tobytes()
    known = isinstance(x, int | float | complex | str | torch.dtype | torch.device | type(None))
    return repr(x).encode() if known else f"object {id(x)}".encode()
