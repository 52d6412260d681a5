"""Texts to token numbers, and a warning that says which words a model does not read."""

import html
import re
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from latentzoo.errors import SpecError

CURLED = str.maketrans("\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f", "''''\"\"\"\"")
LIGATURES = (
    "\u0132\u0133\u0149\u01f1\u01f2\u01f3\u01c4\u01c5\u01c6\u01c7\u01c8\u01c9\u01ca\u01cb\u01cc"
)
UNSEEN = re.compile(
    "\x1b\\[[0-9;]*[a-zA-Z]|[\0-\x08\x0b\x0e-\x1f\x7f\ufeff\ufff9-\ufffc\u206a-\u206f]"
)

ENDS = ("bos_token", "eos_token", "sep_token", "cls_token")
"""The names of the marks by which a text begins or ends."""
HARMLESS = ("pad_token", "unk_token")
"""The names of those that say nothing."""


def tokens(tokenizer: Any, texts: Sequence[str], length: int | None) -> Any:
    """The token numbers of texts by a tokenizer of `transformers`, cut and padded to a length.

    What is cut, and what the vocabulary does not have, is named in a warning.

    Arguments:
        tokenizer: The tokenizer.
        texts: The texts.
        length: The longest text that the network reads; None takes the tokenizer's own limit.

    Raises:
        SpecError: If neither says how long a text may be, or a text has a mark of the tokenizer's own in it.
    """
    for text in texts:
        require_plain(tokenizer, text)
    longest = min(length or tokenizer.model_max_length, tokenizer.model_max_length)
    if longest > 1 << 20:
        raise SpecError(
            "neither network nor tokenizer says how long a text may be; give another model"
        )
    made = tokenizer(
        list(texts),
        padding="max_length",
        max_length=longest,
        truncation=True,
        return_tensors="pt",
    )
    for text, numbers in zip(texts, made["input_ids"].tolist(), strict=True):
        say(unread(tokenizer, text, numbers), text, stacklevel=3)
    return made


def require_plain(tokenizer: Any, text: str, *, own: Iterable[str] = ()) -> None:
    """Checks that a text has no mark in it that a tokenizer of `transformers` reads as more than its letters.

    A network stops reading there, looks at this place for the meaning of the whole, or takes what follows for a
    picture or another speaker. What fills a text up does no harm, and may be a plain "!".

    Arguments:
        tokenizer: The tokenizer.
        text: The text.
        own: Marks that stand in it on purpose.

    Raises:
        SpecError: If it has one.
    """
    named = {name: getattr(tokenizer, name, None) for name in (*ENDS, *HARMLESS)}
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    marks = {str(token) for token in added if token.special} | {*tokenizer.all_special_tokens}
    marks -= {named[name] for name in HARMLESS}
    marks |= {named[name] for name in ENDS}  # CLIP's end fills up too
    _refuse({mark for mark in marks if mark} - {*own}, text)


def _refuse(marks: Iterable[str], text: str) -> None:
    if mark := next((mark for mark in sorted(marks) if mark in text), None):
        raise SpecError(
            f"the text '{text[:80]}' has '{mark}' in it, which the model takes for a mark of its own, not for "
            "words; leave it out"
        )


def say(lost: str, text: str, *, stacklevel: int) -> None:
    """Warns of the words of a text that a model does not read, where there are any."""
    if lost:
        warnings.warn(f"the model does not read {lost} of '{text}'", stacklevel=stacklevel + 1)


def unread(tokenizer: Any, text: str, numbers: Sequence[int]) -> str:
    """The words of a text that are not among its token numbers, in quotes; empty if all are."""
    whole = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    ends = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    unknown = {tokenizer.unk_token_id} - ends - {None}  # CLIP's is its end token: it knows all
    marks = (
        set(tokenizer.all_special_ids) - unknown
    )  # one of them may stand in the text: a "!" that fills up
    kept, whole = sum(n not in marks for n in numbers), [n for n in whole if n not in marks]
    lost = [] if kept >= len(whole) else [tokenizer.decode(whole[kept:]).strip(" #")]
    lost += [word for word in text.split() if unknown and _unknown(tokenizer, word)]
    return " and ".join(f"'{words}'" for words in dict.fromkeys(lost) if words)


def unread_by_open_clip(tokenizer: Any, text: str, numbers: Sequence[int]) -> str:
    """As `unread`, for the tokenizers of open_clip: its own, or one of `transformers` inside.

    Raises:
        SpecError: If a mark of the tokenizer's own is in the text.
    """
    if (inner := getattr(tokenizer, "tokenizer", None)) is not None:
        clean = getattr(tokenizer, "clean_fn", str)
        require_plain(inner, clean(text))
        return unread(inner, clean(text), numbers)
    _refuse([tokenizer.decoder[n] for n in tokenizer.all_special_ids], text.lower())
    lost = tokenizer.decode(tokenizer.encode(text)[len(numbers) - 2 :]).strip()
    return f"'{lost}'" if lost else ""


def _unknown(tokenizer: Any, word: str) -> bool:
    return tokenizer.unk_token_id in tokenizer(word, add_special_tokens=False)["input_ids"]


def cleaned(text: str) -> str:
    """A text as OpenAI's tokenizer reads it: entities resolved, quotes straight, ligatures and wide letters apart.

    What is not seen (codes of terminals, the mark of byte order) is taken out.
    """
    text = UNSEEN.sub("", text)
    text = html.unescape(html.unescape(text)).translate(CURLED)
    return "".join(unicodedata.normalize("NFKC", c) if _compound(c) else c for c in text).strip()


def _compound(letter: str) -> bool:
    return letter in LIGATURES or "\ufb00" <= letter <= "\ufb06" or "\uff01" <= letter <= "\uff5e"
