r"""How far a picture is from a text, by a text-image model.

.. math:: E(x) = \frac{1}{R} \sum_{r=1}^{R} \bigl( 1 - \cos(I(a_r(x)), T(c)) \bigr)

:math:`a_r` are altered copies whose draws are fixed once per run, so that the energy is a function; without copies,
:math:`R = 1` and :math:`a_1` is the identity. The text is encoded once, when the energy is made.

References:
    | Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021)
    | https://arxiv.org/abs/2103.00020
"""

from collections.abc import Sequence
from copy import copy
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from latentzoo.energies import eager
from latentzoo.energies.augment import Draws, augment
from latentzoo.energies.base import Energy
from latentzoo.errors import SpecError
from latentzoo.guides import text_image
from latentzoo.guides.preprocess import at_least_single
from latentzoo.guides.text_image import TextImage
from latentzoo.options import Count, Natural

MODEL = "openai/clip-vit-base-patch32"


class Clip(Energy):
    """Creates the energy of a text.

    Arguments:
        text: What the picture should show; several are an ensemble, whose embeddings are averaged, or the texts of
            the chains.
        model: A text-image model, or its name: `avatar-clip`, a `transformers` repository or folder with CLIP or
            SigLIP, the file of an OpenAI archive, or `open_clip:NAME/PRETRAINED`.
        copies: The number R of altered copies; 0 takes the picture as it is. The paper takes 50.
        seed: The seed of the copies' draws.
        together: How many copies go through the network at once: the memory is that of so many, the result the same
            up to rounding.
        antialias: Whether pictures are smoothed when they are resized for the model.
        draws: The copies' draws themselves, instead of a seed.
        per_chain: Whether each text is that of one chain.

    Raises:
        SpecError: If there is no text.
    """

    target: Tensor

    def __init__(
        self,
        text: str | Sequence[str],
        model: str | TextImage = MODEL,
        *,
        copies: Natural = 0,
        seed: Natural = 0,
        together: Count = 1,
        antialias: bool = True,
        draws: Draws | None = None,
        per_chain: bool = False,
    ) -> None:
        super().__init__()
        texts = [text] if isinstance(text, str) else list(text)
        if not texts or not all(t.strip() for t in texts):
            raise SpecError("the text is empty; say what the picture should show")
        self.model = text_image.load(model) if isinstance(model, str) else model
        self.usual = self.model.usual
        self.copies, self.seed, self.antialias, self.draws = copies, seed, antialias, draws
        self.together = together
        self._fixed: dict[tuple[int, int], Draws] = {}
        with torch.no_grad():
            each = F.normalize(at_least_single(self.model.encode_text(texts)), dim=1)
            target = each if per_chain else F.normalize(each.mean(0), dim=0)
            self.register_buffer("target", target, persistent=False)

    def about(self, target: str) -> "Clip":
        return Clip(
            target,
            self.model,
            copies=self.copies,
            seed=self.seed,
            together=self.together,
            antialias=self.antialias,
            draws=self.draws,
        )

    @property
    def chains(self) -> int | None:
        return len(self.target) if self.target.ndim == 2 else None

    def select(self, index: Int64[Tensor, "b"]) -> Energy:
        if self.chains is None:
            return self
        chosen = copy(self)  # the same networks and draws, other texts
        chosen._buffers = {**self._buffers, "target": self.target[index.to(self.target.device)]}
        return chosen

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        if not self.copies and self.draws is None:
            return self.distance(image)
        parts = list(zip(*(each.split(self.together) for each in self._draws(image)), strict=True))
        share = len(parts) / sum(len(part[0]) for part in parts)
        terms = [partial(self._altered, draws=Draws(*part), share=share) for part in parts]
        return eager.mean(terms, image)

    def distance(self, image: Float[Tensor, "N 3 H W"], each: int = 1) -> Float[Tensor, "N"]:
        """One minus the cosine of pictures and text, without copies.

        Arguments:
            image: The pictures.
            each: How many pictures in a row are of one chain.

        Raises:
            SpecError: If each chain has its text, and there are not as many pictures.
        """
        if self.chains not in (None, len(image) // each):
            raise SpecError(
                f"there are texts for {self.chains} chains and {len(image)} pictures; give one picture per chain"
            )
        seen = self.model.embed(image, antialias=self.antialias)
        target = self.target.to(seen)
        if self.chains is None:
            return 1 - seen @ target
        return 1 - (seen * target.repeat_interleave(each, 0)).sum(1)

    def _altered(self, image: Tensor, draws: Draws, share: float) -> Tensor:
        """The sum over some copies of each picture, times what makes the mean of such sums the mean of copies."""
        count = len(draws.resize)
        copies = augment(image.repeat_interleave(count, 0), draws.repeat(len(image)))
        return self.distance(copies, count).unflatten(0, (-1, count)).sum(1) * share

    def _draws(self, image: Tensor) -> Draws:
        if self.draws is not None:
            return self.draws
        size = (image.shape[2], image.shape[3])
        if size not in self._fixed:
            self._fixed[size] = Draws.fixed(self.copies, size, seed=self.seed)
        return self._fixed[size]


class Directional(Energy):
    r"""Creates the energy of a change: the picture should move from a reference as one text moves to another.

    .. math:: E(x) = 1 - \cos\bigl(I(x) - I(x_0), \; T(c) - T(c_0)\bigr)

    Arguments:
        source: What the reference shows.
        target: What the picture should show.
        reference: The picture to start from, (1, 3, H, W) in [0, 1].
        model: A text-image model, or its name.

    References:
        | StyleGAN-NADA: CLIP-Guided Domain Adaptation of Image Generators (Gal et al., 2021)
        | https://arxiv.org/abs/2108.00946
    """

    direction: Tensor
    origin: Tensor

    def __init__(
        self,
        source: str,
        target: str,
        reference: Float[Tensor, "1 3 H W"],
        model: str | TextImage = MODEL,
    ) -> None:
        super().__init__()
        self.model = text_image.load(model) if isinstance(model, str) else model
        with torch.no_grad():
            each = at_least_single(self.model.encode_text([source, target]))
            before, after = F.normalize(each, dim=1)
            self.register_buffer("direction", F.normalize(after - before, dim=0), persistent=False)
            self.register_buffer("origin", self.model.embed(reference), persistent=False)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        seen = self.model.embed(image)
        return 1 - F.normalize(seen - self.origin.to(seen), dim=1) @ self.direction.to(seen)


def build(target: str, *, model: str | None = None, **options: Any) -> Clip:
    """Creates the energy of a text.

    Arguments:
        target: The text; with `per_chain`, the texts of the chains, "a baby | an old person".
        model: The text-image model's name; None takes OpenAI's ViT-B/32 from its repository.
        options: Further arguments of `Clip`.
    """
    texts = target.split("|") if options.get("per_chain") else [target]
    return Clip([text.strip() for text in texts], model or MODEL, **options)
