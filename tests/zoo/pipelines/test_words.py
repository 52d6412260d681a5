"""Which words of a prompt are lost: those of the user's text, not those of a pipeline's template around it."""

import pytest
import tiny
import tokens as K

import latentzoo as lz
from latentzoo.errors import SpecError
from latentzoo.zoo.pipelines.words import Reader

PROMPT = "a red cube"
WHOLE = f"Draw this:\n{PROMPT}<|im_end|>\n"


def read(*lengths, whole=WHOLE, texts=(PROMPT,)):
    """Lets tokenizers of one token a letter read a text up to some lengths, and judges."""
    reader = Reader(texts)
    for length in lengths:
        reader.hear(K.qwen_tokens(), whole, truncation=True, max_length=length)
    reader.judge("A pipeline")


def test_a_prompt_in_a_template_is_lost_from_its_own_end():
    read(21)  # the template's end is lost, and no word of the prompt
    with pytest.raises(SpecError, match=r"the text 'a red cube' .* 'cube' would be lost"):
        read(17)


def test_one_encoder_that_reads_all_is_enough():
    read(17, 21)
    with pytest.raises(SpecError, match="'be' would be lost"):
        read(17, 19)


def test_a_text_that_is_not_the_users_may_be_cut():
    read(3, whole="Draw this:\n<|im_end|>\n")


def test_a_text_in_small_letters_is_the_users():
    with pytest.raises(SpecError, match="'A RED CUBE'"):
        read(4, whole="a red cube", texts=["A RED CUBE "])


def test_a_template_that_leaves_no_room_is_told():
    with pytest.warns(
        UserWarning, match="A pipeline reads nothing of 'a red cube': its own templ"
    ):
        read(5)


def test_what_is_said_is_one_line():
    with pytest.raises(SpecError) as caught:
        read(6, whole="a\nred cube", texts=["a\nred cube"])
    assert "\n" not in str(caught.value)


def test_words_that_are_cut_behind_the_tokenizer_are_lost():
    """Qwen-Image's tokenizer reads 1024, and the pipeline throws away what is behind `max_sequence_length`."""
    about = tiny.MADE["QwenImagePipeline"]
    load = lambda n: lz.load(
        about(), prompt=tiny.PROMPT, **{**about.call, "max_sequence_length": n}
    )
    with pytest.raises(
        SpecError, match=r"'a red cube' is longer than .* 'cube' would be lost"
    ) as e:
        load(64)
    assert "\n" not in str(e.value)
    load(256)
