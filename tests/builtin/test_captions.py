"""What is said of an avatar is true, what is read back is what was said, and unknown words are named."""

import random

import pytest

from latentzoo.builtin.avatars import SUNGLASSES, draw, probability
from latentzoo.builtin.captions import NOTIONS, describe, parse, vocabulary, words


def test_captions_are_true_of_their_avatar():
    stream = random.Random(0)
    for index in range(1500):
        avatar = draw(21, index)
        text = describe(avatar, stream)
        assert avatar.satisfies(parse(text)), text


def test_captions_say_something_and_vary():
    stream = random.Random(0)
    texts = [describe(draw(22, index), stream) for index in range(400)]
    assert sum(bool(parse(text)) for text in texts) > 340
    assert len(set(texts)) > 380
    assert any(" without " in text or " no " in text for text in texts)


def test_every_word_said_is_in_the_vocabulary():
    stream = random.Random(1)
    said = {w for i in range(400) for w in words(describe(draw(23, i), stream))}
    assert said <= set(vocabulary())


def test_every_notion_is_possible_and_deniable():
    for notion in NOTIONS:
        assert 0 < probability(notion.where) < 1, notion
        if notion.absent is not None:
            assert 0 < probability(notion.absent) < 1, notion


@pytest.mark.parametrize(
    ("text", "predicate"),
    [
        ("a person with sunglasses", {"glasses": SUNGLASSES}),
        ("a person without glasses", {"glasses": {"none"}}),
        ("a bald person", {"hair": {"bald"}}),
        ("someone with no moustache or hat and with round glasses", {
            "facial_hair": {"none", "stubble", "beard", "long beard"},
            "hat": {"none", "turban", "hijab"},
            "glasses": {"round"},
        }),
        ("A Person, wearing a YELLOW turban!", {"hat": {"turban"}, "hat_color": {"yellow"}}),
        ("nothing of the kind", {}),
    ],
)  # fmt: skip
def test_texts_are_read(text, predicate):
    assert parse(text) == predicate


def test_the_text_of_the_acceptance_is_rare_but_there():
    p = probability(parse("a person with sunglasses and a yellow hat"))
    assert p == pytest.approx(0.24 * 0.36 * 0.14)
    assert probability(parse("a hijab and a beard")) == 0
