r"""How far a face is from a sentence, by the model trained on captioned avatars.

.. math:: E(x) = 1 - \cos(I(x), T(c))

The text is encoded once, when the energy is made. The vocabulary is that of the caption grammar: "a person with
sunglasses and a yellow hat", "a smiling person without glasses", "someone with red hair and a beard".

References:
    | Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021)
    | https://arxiv.org/abs/2103.00020
"""

import warnings
from difflib import get_close_matches

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from latentzoo.builtin.captions import vocabulary, words
from latentzoo.builtin.networks.clip import LENGTH, Contrast
from latentzoo.builtin.weights import fill, tensors
from latentzoo.energies.base import Energy
from latentzoo.errors import EnergyError, SpecError


def tokenize(text: str) -> Tensor:
    """The word numbers of a text, `(1, L)`; words that the grammar does not have are passed over with a warning.

    Raises:
        SpecError: No word is known.
    """
    known = vocabulary()
    said = words(text)
    unknown = sorted({word for word in said if word not in known})
    numbers = [known.index(word) + 1 for word in said if word in known]
    near = {word: get_close_matches(word, known, n=2, cutoff=0.5) for word in unknown}
    hints = ", ".join(
        f"'{word}'" + (f" (near: {' or '.join(found)})" if found else "")
        for word, found in near.items()
    )
    if not numbers:
        raise SpecError(
            f"no word of the text '{text}' is in the vocabulary of the avatars: {hints or 'it is empty'}; "
            "try 'a person with sunglasses and a yellow hat'"
        )
    if unknown:
        warnings.warn(f"the avatars' vocabulary does not have {hints}; passed over", stacklevel=3)
    if len(numbers) > LENGTH:
        warnings.warn(
            f"the text has {len(numbers)} words, only the first {LENGTH} are read", stacklevel=3
        )
    return torch.tensor([numbers[:LENGTH]])


def contrast() -> Contrast:
    """The trained model."""
    return fill(Contrast(len(vocabulary()) + 1), tensors("avatar-clip"))


class AvatarClip(Energy):
    """Creates the energy of a text.

    Arguments:
        text: What the face should be, in the words of the caption grammar.

    Raises:
        SpecError: No word of the text is known.
    """

    target: Tensor

    def __init__(self, text: str) -> None:
        super().__init__()
        tokens = tokenize(text)
        model = contrast()
        self.image = model.image
        with torch.no_grad():
            self.register_buffer("target", model.text(tokens)[0], persistent=False)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        """The energy of pictures, in [0, 2].

        Raises:
            EnergyError: The pictures are not 64x64.
        """
        if image.shape[-2:] != (64, 64):
            raise EnergyError(
                f"the avatars' clip reads pictures of 64x64, not {image.shape[-2]}x{image.shape[-1]}; "
                "use it with the avatar generators, or another text energy"
            )
        return 1 - F.normalize(self.image(image), dim=1) @ self.target
