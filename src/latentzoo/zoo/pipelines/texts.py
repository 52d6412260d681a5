"""What a pipeline's text encoders say of prompts, kept, so that they run once and can leave memory.

An encoder is asked for one picture and for two. What doubled is a row for each picture, a tensor's
axis or a list; what did not is shared. So the texts of any number of pictures are known, of one
prompt or of one each.
"""

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from transformers import CLIPTextModel

from latentzoo.zoo.pipelines.stage import Encode, Standin

COUNT = "num_images_per_prompt"


class Said(NamedTuple):
    """What one call of an encoder gave for one picture and for two."""

    one: Any
    two: Any


class Texts(nn.Module):
    """Creates the memory of one prompt: the results of `encode_prompt`, in the order of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Any] = []

    def __len__(self) -> int:
        return len(self.forms)

    def keep(self, said: Said) -> None:
        """Notes one call; tensors become buffers, so that they move and are hashed as weights are."""

        def note(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            name = f"text_{len(self._buffers)}"
            self.register_buffer(name, x.detach())
            return _Buffer(name)

        self.forms.append(pytree.tree_map(note, said))

    def said(self, index: int) -> Said:
        """What the call `index` gave."""
        found = lambda x: self._buffers[x.name] if isinstance(x, _Buffer) else x
        return pytree.tree_map(found, self.forms[index])


@dataclass(frozen=True)
class _Buffer:
    """Where a tensor was."""

    name: str


def ask(
    encode: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, many: bool
) -> Said:
    """Asks an encoder for one picture and for two.

    Arguments:
        encode: The encoder.
        args: What a call for one picture gives it.
        kwargs: The same, by name.
        many: Whether the pipeline's call is told how many pictures to make of a prompt. Where its encoder is not told,
            the pipeline itself makes many of what one picture has.
    """
    signature = inspect.signature(encode)
    bound = signature.bind(*args, **kwargs)
    one, twice = encode(*bound.args, **bound.kwargs), dict(bound.arguments)
    if COUNT in signature.parameters:
        twice[COUNT] = 2
    elif "batch_size" in twice or not many:
        several = lambda v: isinstance(v, list) and len(v) == 1 and isinstance(v[0], str)
        twice = {k: v * 2 if several(v) else v for k, v in twice.items()}
        if "batch_size" in twice:
            twice["batch_size"] = 2
    else:
        return Said(one, one)
    bound.arguments.update(twice)
    return Said(one, encode(*bound.args, **bound.kwargs))


def as_before(pipe: Any) -> Any:
    """A copy whose CLIP text encoders have their layers where diffusers looks for the last norm when some are skipped:
    in `text_model`, which is the encoder itself since transformers 5."""
    new = copy.copy(pipe)
    for name, part in vars(pipe).items():
        if isinstance(part, CLIPTextModel) and not hasattr(part, "text_model"):
            vars(new)[name] = Standin(part, forward=part, text_model=part)
    return new


def recited(memories: Sequence[Texts]) -> Encode:
    """What answers for the text encoders from memory, call by call, for as many pictures as there are memories."""
    calls = iter(range(len(memories[0])))

    def answer(pipe: Any, args: Any, kwargs: Any) -> Any:
        del pipe, args, kwargs
        index = next(calls)
        return rows([memory.said(index) for memory in memories])

    return answer


def rows(said: Sequence[Said]) -> Any:
    """The texts of as many pictures as there are entries, each of its own prompt."""
    return _rows([s.one for s in said], [s.two for s in said])


def _rows(ones: Sequence[Any], twos: Sequence[Any]) -> Any:
    one, two, n = ones[0], twos[0], len(ones)
    if isinstance(one, Tensor):
        grown = _grown(one, two)
        if grown is None:
            return one
        if all(x is one for x in ones):
            return one.repeat_interleave(n, grown)
        return torch.stack(list(ones), grown + 1).flatten(grown, grown + 1)
    if not isinstance(one, (list, tuple)):
        return one
    if len(one) != len(two):
        return type(one)(each[i] for i in range(len(one)) for each in ones)
    inner = zip(zip(*ones, strict=True), zip(*twos, strict=True), strict=True)
    return type(one)(_rows(a, b) for a, b in inner)


def together(a: Said, b: Said) -> bool:
    """Whether two prompts can be in one batch: what differs has a row for each picture, of one shape."""
    return _together(a.one, a.two, b.one)


def _together(one: Any, two: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        same = isinstance(other, Tensor) and one.shape == other.shape
        return same and (_grown(one, two) is not None or torch.equal(one, other))
    if isinstance(one, (list, tuple)):
        if not isinstance(other, (list, tuple)) or len(one) != len(other):
            return False
        if len(one) != len(two):
            return all(_alike(x, y) for x, y in zip(one, other, strict=True))
        return all(map(_together, one, two, other))
    return bool(one == other)


def _alike(x: Any, y: Any) -> bool:
    if isinstance(x, Tensor):
        return isinstance(y, Tensor) and x.shape == y.shape
    return type(x) is type(y)


def _grown(one: Tensor, two: Tensor) -> int | None:
    pairs = enumerate(zip(one.shape, two.shape, strict=True))
    return next((d for d, (a, b) in pairs if a != b), None)
