"""What a picture of a pipeline should show: a prompt, or a class, or nothing that is said in words."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from latentzoo.errors import SpecError

PROMPT, AGAINST = "prompt", "negative_prompt"
CLASSES: Mapping[str, str] = {"DiTPipeline": "class_labels"}
"""The argument that says the class, one for each picture, of pipelines that read no text."""


class Asked(NamedTuple):
    """What a picture should show, a text or the number of a class, and the text it should not.

    None where neither is read: a decoder of embeddings, a variation of a picture.

    Attributes:
        own: Which of the chains' own pictures it is made of.
    """

    prompt: str | int | None
    against: str | None
    own: int = 0


def subject(kind: type[Any]) -> str | None:
    """The argument of a pipeline's call that says what a picture should show, a text or a class; None for none."""
    taken = PROMPT in inspect.signature(kind.__call__).parameters
    return CLASSES.get(kind.__name__, PROMPT if taken else None)


def said(pipe: Any, prompt: Any, call: dict[str, Any]) -> Any:
    """The prompt; or the class, which is taken out of the call: its number, or a list with one for each chain.

    Raises:
        SpecError: If there is a prompt that the pipeline does not read, or a class that it does not know.
    """
    kind, name = type(pipe).__name__, subject(type(pipe))
    if name == PROMPT:
        for one in prompt if isinstance(prompt, list | tuple) else [prompt]:
            if not isinstance(one, str):
                raise SpecError(f"the prompt {one!r} is no text; put it in quotes: prompt='...'")
        return prompt
    if prompt is not None:
        cure = (
            f"give a class instead of the prompt: {name}=207" if name else "leave out the prompt"
        )
        raise SpecError(f"{kind} reads no text; {cure}")
    if name is None:
        return None
    given = call.pop(name, None)
    number = pipe.transformer.config.num_embeds_ada_norm
    for one in given if isinstance(given, list | tuple) else [given]:
        whole = isinstance(one, int) and not isinstance(one, bool) and 0 <= one < number
        if not whole and not (isinstance(one, str) and one in pipe.labels):
            what = "needs a class" if one is None else f"knows no class {one!r}"
            raise SpecError(
                f"{kind} {what}; give {name}= a number from 0 to {number - 1}, a name of its model "
                "index, or a list with one for each chain"
            )
    if isinstance(given, list | tuple):
        return [pipe.labels.get(one, one) for one in given]
    return pipe.labels.get(given, given)


def read(
    prompt: Any, against: Any, *, silent: bool = False, own: Sequence[int] = (0,)
) -> tuple[Asked, ...]:
    """The prompts, each with what it is against: one text for all, or a list with one for each.

    Arguments:
        prompt: A text or a whole number, or a list of them.
        against: A text, a list with one for each prompt, or None.
        silent: Whether the pipeline reads neither a text nor a class.
        own: Which pictures each prompt has of its own; one number for all.

    Raises:
        SpecError: If a prompt is no text or empty, or holds a NUL, or there are not as many texts against.
    """
    if silent:
        prompts: Any = [None] * len(own)
    else:
        prompts = [prompt] if isinstance(prompt, str | int) else prompt
        _judge(prompts, prompt)
    several = isinstance(against, list | tuple)
    if several and len(against) != len(prompts):
        raise SpecError(
            f"there are {len(against)} texts as negative_prompt and {len(prompts)} prompts; give "
            "one for each, or one for all"
        )
    each = against if several else [against] * len(prompts)
    if any("\0" in text for text in (*prompts, *each) if isinstance(text, str)):
        raise SpecError("a prompt holds the character NUL, which is in no text; leave it out")
    places = own if len(own) == len(prompts) else [*own] * len(prompts)
    return tuple(map(Asked, prompts, each, places))


def _judge(prompts: Any, given: Any) -> None:
    """Looks whether prompts are texts that say something, or classes."""
    if not isinstance(prompts, list | tuple) or not all(isinstance(p, str | int) for p in prompts):
        raise SpecError(f"the prompt {given!r} is no text; put it in quotes: prompt='...'")
    if not prompts or not all(str(p).strip() for p in prompts):
        raise SpecError("the prompt is empty; say what the picture should show: prompt='...'")
