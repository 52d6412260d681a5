r"""HPSv3: a Qwen2-VL that reads an instruction and the prompt; a token of its own says how much a picture is liked.

.. math:: r(x, c) = \mu\big(h_{\langle Reward \rangle}(x, c)\big), \qquad (\mu, \sigma) = W_3\, \rho(W_2\, \rho(W_1 h))

The instruction is not in the weights' file; it is given as a file whose {text_prompt} is the prompt, and which says the
token once (`data_collator_qwen.py` of the official package has it).

References:
    | HPSv3: Towards Wide-Spectrum Human Preference Score (Ma et al., 2025), https://arxiv.org/abs/2508.03789
"""

from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.errors import CheckpointError, SpecError
from latentzoo.guides import pretrained, vision_language
from latentzoo.guides.roles import RewardModel
from latentzoo.guides.vision_language import VisionLanguage
from latentzoo.guides.words import require_plain
from latentzoo.hub.fit import fit
from latentzoo.hub.keys import Rule
from latentzoo.hub.read import read

QWEN = "Qwen/Qwen2-VL-7B-Instruct"
TOKEN = "<|Reward|>"
PIXELS = 256 * 28 * 28
"""Every picture is brought to so many pixels."""
HEAD = ("rm_head.0", "rm_head.3", "rm_head.5")
RULES = [
    Rule("rm_head.{name*}", "rm_head.{name}"),
    Rule("visual.{name*}", "network.model.visual.{name}"),
    Rule("model.visual.{name*}", "network.model.visual.{name}"),
    Rule("model.language_model.{name*}", "network.model.language_model.{name}"),
    Rule("model.{name*}", "network.model.language_model.{name}"),
    Rule("lm_head.weight", "network.lm_head.weight"),
]
"""Names of today's transformers, and of those before 4.52 with which the weights were saved."""


class HPSv3(RewardModel):
    """Creates the reward.

    Arguments:
        model: The vision-language model, its tokenizer with the token of the reward.
        head: From a state to mean and spread.
        instruction: What is said to the model, with {text_prompt} and the token of the reward.
    """

    def __init__(self, model: VisionLanguage, head: nn.Module, instruction: str) -> None:
        super().__init__()
        self.model, self.head, self.instruction = model, head, instruction
        self.token = int(model.tokenizer.convert_tokens_to_ids(TOKEN))

    def understand(self, prompt: str) -> Tensor:
        require_plain(self.model.tokenizer, prompt)
        return self.model.tokens(self.instruction.replace("{text_prompt}", prompt), own=[TOKEN])

    def rate(self, image: Float[Tensor, "B 3 H W"], understood: Tensor) -> Float[Tensor, "B"]:
        states, tokens = self.model(image, understood)
        return self.head(states[:, int((tokens == self.token).nonzero()[0])])[:, 0]


def build(path: str, *, texts: str | None = None, template: str | None = None) -> HPSv3:
    """Makes the reward of the official weights.

    Arguments:
        path: Their file.
        texts: The repository or folder of the Qwen2-VL with its settings and its tokenizer.
        template: The file with the instruction.

    Raises:
        SpecError: If the instruction is missing, or is not one.
        CheckpointError: If the file is another network's.
    """
    instruction = _instruction(template)
    source, tensors = texts or QWEN, read(path).tensors
    library = pretrained.package("transformers", "clip", "HPSv3")
    tokenizer = pretrained.load("AutoTokenizer", source)
    tokenizer.add_special_tokens({"additional_special_tokens": [TOKEN]})
    try:
        words = next(x for k, x in tensors.items() if k.endswith("embed_tokens.weight")).shape[0]
        sizes = [tuple(tensors[f"{name}.weight"].shape) for name in HEAD]
    except (KeyError, StopIteration) as error:
        raise CheckpointError(f"{path}: not HPSv3 ({error} is missing)") from error
    network = library.Qwen2VLForConditionalGeneration(pretrained.load("AutoConfig", source))
    network.resize_token_embeddings(words)
    (w1, w0), (w2, _), (w3, _) = sizes
    head = nn.Sequential(
        nn.Linear(w0, w1), nn.ReLU(), nn.Dropout(), nn.Linear(w1, w2), nn.ReLU(), nn.Linear(w2, w3)
    )
    whole = nn.ModuleDict({"network": network, "rm_head": head})
    fit(whole, {k: x.float() for k, x in tensors.items()}, RULES, source=path)
    model = vision_language.load(source, network=network, pixels=PIXELS)
    model.tokenizer = tokenizer
    return HPSv3(model, head, instruction)


def _instruction(template: str | None) -> str:
    if template is None:
        raise SpecError(
            "HPSv3 needs its instruction, which is not in its weights; give template=FILE with {text_prompt} and "
            f"{TOKEN} in it (data_collator_qwen.py of the package hpsv3 has it)"
        )
    text = Path(template).read_text(encoding="utf-8")
    if "{text_prompt}" not in text or text.count(TOKEN) != 1:
        raise SpecError(f"{template}: an instruction has {{text_prompt}} and {TOKEN} once in it")
    return text
