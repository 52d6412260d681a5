"""Sentences and faces in one space: the text-image model trained on captioned avatars.

The vocabulary is that of the caption grammar: "a person with sunglasses and a yellow hat", "a smiling person without
glasses", "someone with red hair and a beard". Words outside of it are named in a warning and passed over.

References:
    | Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021)
    | https://arxiv.org/abs/2103.00020
"""

import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.builtin.attributes import SIZES, guide
from latentzoo.builtin.captions import vocabulary, words
from latentzoo.builtin.networks.clip import LENGTH, Contrast
from latentzoo.errors import SpecError
from latentzoo.guides.preprocess import Crop, Preprocess, Resize
from latentzoo.guides.text_image import TextImage
from latentzoo.hub.fit import fit
from latentzoo.hub.read import read


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


class AvatarTextImage(TextImage):
    """Creates the trained model; :class:`latentzoo.energies.clip.Clip` makes an energy of it.

    Its cosines reach from -1 to 1, those of CLIP over a tenth of that, so less weight does.
    """

    usual = 150.0

    def __init__(self, network: Contrast) -> None:
        super().__init__(Preprocess(Resize(64, "bicubic"), Crop((64, 64))))
        self.guide = guide()
        self.network = network

    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "N d"]:
        """Embeds texts.

        Raises:
            SpecError: No word of a text is known.
        """
        device = next(self.network.parameters()).device
        return torch.cat([self.network.text(tokenize(text).to(device)) for text in texts])

    def encode_image(self, pixels: Float[Tensor, "B 3 64 64"]) -> Float[Tensor, "B d"]:
        """Embeds pictures."""
        return self.network.look(self.guide.features(pixels))


def load(path: str | Path) -> AvatarTextImage:
    """Reads the text-image model of a weight file; the attribute network through which it looks is shipped beside."""
    network = Contrast(len(vocabulary()) + 1, sum(SIZES.values()))
    return AvatarTextImage(fit(network, read(path).tensors, source=str(path)))
