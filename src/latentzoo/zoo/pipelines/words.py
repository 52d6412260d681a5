"""Which words of a prompt no text encoder reads.

A pipeline may put a prompt into a text of its own, its template, and cut the whole. Only the words of the prompt are
looked for: what is lost of the template is the pipeline's own affair.
"""

import copy
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from transformers import PreTrainedTokenizerBase

from latentzoo.errors import SpecError
from latentzoo.guides.words import require_plain
from latentzoo.zoo.pipelines.stage import Standin

ALL = None
"""What is lost of a prompt whose template alone is as long as its encoder reads."""


class Reader:
    """Creates the ear at a pipeline's tokenizers: of each text, what each of them cut off.

    Arguments:
        texts: What the user wrote: the prompt, and what it is against.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = sorted({text for text in texts if text.strip()}, key=len, reverse=True)
        self.lost: dict[str, list[str | None]] = {}
        self.longest = 0

    def hearing(self, pipe: Any) -> Any:
        """A copy of the pipeline whose tokenizers are heard."""
        new = copy.copy(pipe)
        for name, part in vars(pipe).items():
            if isinstance(part, PreTrainedTokenizerBase):
                vars(new)[name] = Standin(part, forward=partial(self.hear, part))
        return new

    def hear(self, tokenizer: Any, text: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Calls a tokenizer, and notes what it cuts off.

        Raises:
            SpecError: If the user's text has a mark of the tokenizer's own in it.
        """
        length, plain = kwargs.get("max_length"), isinstance(text, str)
        said = [one for one in ([text] if plain else text or ()) if isinstance(one, str)]
        for mine in self.texts:
            if any(_place(mine, one) is not None for one in said):
                require_plain(tokenizer, mine)
        if any(_place(mine, one) is not None for mine in self.texts for one in said):
            numbers = (tokenizer(one, verbose=False)["input_ids"] for one in said)
            self.longest = max(self.longest, *map(len, numbers))
        if kwargs.get("truncation") and isinstance(length, int) and text:
            for one in said:
                self.note(tokenizer, one, length)
        return tokenizer(text, *args, **kwargs)

    def note(self, tokenizer: Any, whole: str, length: int) -> None:
        """Notes what a tokenizer cuts off of the user's text in a whole one."""
        found = (
            (text, start) for text in self.texts if (start := _place(text, whole)) is not None
        )
        for text, start in found:
            before, until = whole[:start], whole[: start + len(text)]
            lost = behind(tokenizer, until, length)
            full = bool(lost and before.strip() and behind(tokenizer, before, length))
            self.lost.setdefault(text, []).append(ALL if full else lost)
            return  # the longest one

    def compare(self, encode: Callable[..., Any], args: Any, kwargs: Any, said: Any) -> None:
        """Looks whether what an encoder says depends on the last word of each text: a pipeline may cut that, after its
        tokenizer has read all. Where it says as much as there are words, nothing was cut.

        Arguments:
            encode: The encoder.
            args: What it is given.
            kwargs: The same, by name.
            said: What it says to that.

        Raises:
            SpecError: If it does not.
        """
        tensors = [x for x in pytree.tree_leaves(said) if isinstance(x, Tensor) and x.ndim > 1]
        rows = max((x.shape[-2] for x in tensors if x.is_floating_point()), default=0)
        if self.longest <= rows:
            return
        for text in self.texts:
            cut = self.lost.get(text, [])
            if cut and all(
                words is ALL or words for words in cut
            ):  # by all tokenizers, see `judge`
                continue
            if not any(
                isinstance(x, str) and x == text for x in pytree.tree_leaves((args, kwargs))
            ):
                continue
            *first, last = text.split()
            other = " ".join([*first, "y" if last == "x" else "x"])
            change = lambda x, old=text, new=other: new if isinstance(x, str) and x == old else x
            own_args, own_kwargs = pytree.tree_map(change, (args, kwargs))
            if _alike(encode(*own_args, **own_kwargs), said):
                raise SpecError(
                    f"the text '{_short(text)}' is longer than the pipeline reads: '{last}' would be lost; shorten it, "
                    "or give a larger max_sequence_length"
                )

    def judge(self, name: str) -> None:
        """Says which words are lost, of a pipeline by its name.

        Raises:
            SpecError: If there is a text of which every encoder loses some.
        """
        for text, lost in self.lost.items():
            if some := [words for words in lost if words]:
                if all(words is ALL or words for words in lost):
                    raise SpecError(
                        f"the text '{_short(text)}' is longer than the text encoders read: "
                        f"'{_short(min(some, key=len))}' would be lost; shorten it"
                    )
            elif all(words is ALL for words in lost):
                warnings.warn(
                    f"{name} reads nothing of '{_short(text)}': its own template is longer than its text encoder "
                    "reads; give a larger max_sequence_length",
                    stacklevel=2,
                )


def _alike(a: Any, b: Any) -> bool:
    """Whether encoders said the same twice."""
    pairs = zip(pytree.tree_leaves(a), pytree.tree_leaves(b), strict=False)
    same = lambda x, y: torch.equal(x, y) if isinstance(x, Tensor) else bool(x == y)
    return all(type(x) is type(y) and same(x, y) for x, y in pairs)


def behind(tokenizer: Any, text: str, length: int) -> str:
    """What a tokenizer leaves of a text behind its length; empty if it reads all."""
    numbers = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    room = max(length - tokenizer.num_special_tokens_to_add(), 0)
    return tokenizer.decode(numbers[room:]).strip() if len(numbers) > room else ""


def _place(text: str, whole: str) -> int | None:
    """Where a text begins in a whole one, which may have been stripped and put in small letters."""
    start = whole.lower().find(text.strip().lower())
    return None if start < 0 else start


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 120 else f"{text[:57]}...{text[-57:]}"
