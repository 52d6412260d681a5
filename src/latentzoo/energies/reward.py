r"""How little people would like a picture, by a model of their preferences.

.. math:: E(x) = -r(x, c)

The prompt :math:`c` is understood once, when the energy is made. Rewards have units of their own (PickScore lies near
20, HPSv2 near 0.3, an aesthetic score in 1 to 10), so the weight is chosen by model.

References:
    | Pick-a-Pic: An Open Dataset of User Preferences for Text-to-Image Generation (Kirstain et al., 2023)
    | https://arxiv.org/abs/2305.01569
    | ReNO: Enhancing One-step Text-to-Image Models through Reward-based Noise Optimization (Eyring et al., 2024)
    | https://arxiv.org/abs/2406.04312
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.energies.base import Energy
from latentzoo.guides.reward import PICKSCORE, load
from latentzoo.guides.roles import RewardModel


class Reward(Energy):
    """Creates the energy of a reward.

    Arguments:
        prompt: What the picture is rated for; an aesthetic score does not read it.
        model: A reward model, its name (see `latentzoo.guides.reward`), or any differentiable function of pictures
            and a prompt, `(images, prompt) -> (B,)`, larger where better.

    Raises:
        CheckpointError: If the model cannot be had.
    """

    reward = True
    understood: Tensor

    def __init__(
        self, prompt: str, model: str | Callable[[Tensor, str], Tensor] = PICKSCORE
    ) -> None:
        super().__init__()
        self.prompt, self.model = prompt, load(model) if isinstance(model, str) else model
        understood = torch.empty(0)
        if isinstance(self.model, RewardModel):
            understood = self.model.understand(prompt)
        self.register_buffer("understood", understood, persistent=False)

    def about(self, target: str) -> "Reward":
        return Reward(target, self.model)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        if isinstance(self.model, RewardModel):
            return -self.model.rate(image, self.understood)
        return -self.model(image, self.prompt)


def build(
    target: str,
    *,
    model: str | None = None,
    texts: str | None = None,
    clip: str | None = None,
    template: str | None = None,
    combine: str | None = None,
) -> Reward:
    """Creates the energy of a reward.

    Arguments:
        target: The prompt; for `vqa:MODEL` also questions, "Is there a dog? | How many cats are there? two".
        model: The reward model's name; None takes PickScore from its repository.
        texts: The repository or folder of the model's tokenizer, where it is not the official one.
        clip: The text-image model whose embeddings an aesthetic head rates; None takes OpenAI's ViT-L/14.
        template: The file of HPSv3's instruction, with {text_prompt} in it.
        combine: How the answers to several questions count: product (of probabilities, as its logarithm), mean or
            geometric.
    """
    options = {"texts": texts, "model": clip, "template": template, "combine": combine}
    return Reward(target, load(model or PICKSCORE, **options))
