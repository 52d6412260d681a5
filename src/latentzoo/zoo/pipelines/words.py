"""Which words of a prompt no text encoder reads."""

import copy
from functools import partial
from typing import Any

from transformers import PreTrainedTokenizerBase

from latentzoo.errors import SpecError
from latentzoo.zoo.pipelines.stage import Standin


class Reader:
    """Creates the ear at a pipeline's tokenizers: of each text, what each of them cut off."""

    def __init__(self) -> None:
        self.lost: dict[str, list[str]] = {}

    def hearing(self, pipe: Any) -> Any:
        """A copy of the pipeline whose tokenizers are heard."""
        new = copy.copy(pipe)
        for name, part in vars(pipe).items():
            if isinstance(part, PreTrainedTokenizerBase):
                vars(new)[name] = Standin(part, forward=partial(self.hear, part))
        return new

    def hear(self, tokenizer: Any, text: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Calls a tokenizer, and notes what it cuts off."""
        length, plain = kwargs.get("max_length"), isinstance(text, str)
        if kwargs.get("truncation") and isinstance(length, int) and text:
            for one in [text] if plain else text:
                if isinstance(one, str):
                    self.lost.setdefault(one, []).append(behind(tokenizer, one, length))
        return tokenizer(text, *args, **kwargs)

    def judge(self) -> None:
        """Says which words are lost.

        Raises:
            SpecError: If there is a text of which every encoder loses some.
        """
        for text, lost in self.lost.items():
            if all(lost):
                raise SpecError(
                    f"the text '{_short(text)}' is longer than the text encoders read: "
                    f"'{_short(min(lost, key=len))}' would be lost; shorten it"
                )


def behind(tokenizer: Any, text: str, length: int) -> str:
    """What a tokenizer leaves of a text behind its length; empty if it reads all."""
    numbers = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    room = length - tokenizer.num_special_tokens_to_add()
    return tokenizer.decode(numbers[room:]).strip() if len(numbers) > room else ""


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:57]}...{text[-57:]}"
