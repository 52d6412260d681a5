r"""Pictures rated by questions about them: the probability that a vision-language model gives the right answer.

.. math:: r_{product} = \sum_k \log p(a_k \mid x, q_k), \qquad r_{mean} = \frac1K \sum_k p(a_k \mid x, q_k), \qquad
    r_{geometric} = e^{r_{product} / K}

The probability of an answer is that of the first tokens with which it may be written. The product is a log likelihood,
so that its weight 1 is a posterior's, as long as the model's answers to the questions are independent. A text
without a question is asked for as a whole.

References:
    | Evaluating Text-to-Visual Generation with Image-to-Text Generation (Lin et al., 2024), https://arxiv.org/abs/2404.01291
    | GenEval 2: Addressing Benchmark Drift in Text-to-Image Evaluation (Kamath et al., 2025)
    | https://arxiv.org/abs/2512.16853
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import SpecError
from latentzoo.guides import vision_language
from latentzoo.guides.roles import RewardModel
from latentzoo.guides.vision_language import VisionLanguage

COMBINED = ("product", "mean", "geometric")
WHOLE = 'Does this figure show "{text}"? Please answer yes or no.'
ONE = "{question} Answer in one word."
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class Question(NamedTuple):
    """A question as it is asked, and the answer that is wanted."""

    text: str
    answer: str


def read(words: str) -> list[Question]:
    """Reads questions, "Is there a dog? | How many cats are there? two"; an answer that is left out is yes.

    Raises:
        SpecError: If there is a question beside words that are none.
    """
    if "?" not in words:
        return [Question(WHOLE.format(text=words.strip()), "yes")]
    found = []
    for part in words.split("|"):
        question, mark, answer = part.strip().rpartition("?")
        if not mark or not question.strip():
            raise SpecError(
                f"'{part.strip()}' is no question; write QUESTION? ANSWER, several with | between them"
            )
        found.append(Question(ONE.format(question=f"{question}?"), answer.strip() or "yes"))
    return found


def spellings(answer: str) -> list[str]:
    """How an answer may be written: small, with a capital, after a space; a number in digits too."""
    said = [answer.lower(), answer.capitalize()]
    if answer.lower() in NUMBERS:
        said.append(str(NUMBERS.index(answer.lower())))
    return [*said, *(f" {word}" for word in said)]


class Questions(RewardModel):
    """Creates the reward.

    Arguments:
        model: The model that is asked.
        combine: "product", "mean" or "geometric", see the top of this file.

    Raises:
        SpecError: If there is no such way to combine answers.
    """

    def __init__(self, model: VisionLanguage, combine: str = "product") -> None:
        super().__init__()
        if combine not in COMBINED:
            raise SpecError(
                f"answers are not combined by '{combine}'; give one of {', '.join(COMBINED)}"
            )
        self.model, self.combine = model, combine

    def understand(self, prompt: str) -> Tensor:
        """Each question a row: how many tokens it has, how many answers, then both."""
        rows = []
        for question in read(prompt):
            tokens = self.model.tokens(question.text).tolist()
            answers = self.answers(question.answer)
            rows.append([len(tokens), len(answers), *tokens, *answers])
        longest = max(map(len, rows))
        return torch.tensor([row + [0] * (longest - len(row)) for row in rows])

    def answers(self, answer: str) -> list[int]:
        """The tokens with which an answer may begin."""
        encode = lambda word: self.model.tokenizer(word, add_special_tokens=False)["input_ids"]
        return list(dict.fromkeys(encode(word)[0] for word in spellings(answer)))

    def rate(self, image: Float[Tensor, "B 3 H W"], understood: Tensor) -> Float[Tensor, "B"]:
        each = []
        for row in understood:
            length, count = row[:2].tolist()
            tokens, answers = row[2 : 2 + length], row[2 + length : 2 + length + count]
            states, _ = self.model(image, tokens)
            logits = self.model.network.lm_head(states[:, -1])
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            each.append(logits.log_softmax(1)[:, answers].logsumexp(1))
        log = torch.stack(each)
        if self.combine == "mean":
            return log.exp().mean(0)
        return log.sum(0) if self.combine == "product" else log.mean(0).exp()


def build(path: str, *, combine: str = "product") -> Questions:
    """Makes the reward of a model's repository or folder."""
    return Questions(vision_language.load(path), combine)
